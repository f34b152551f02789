-- redeliver_delivery: due now, with a whole window of retries, unless a try is under way. No row: there is none.
-- For the dispatcher on behalf of clients; by primary key.
WITH found AS MATERIALIZED (
    SELECT delivery_id, status = 'pending' AND claimed_by IS NOT NULL AND next_try_at > now() AS is_under_way
      FROM deliveries
     WHERE delivery_id = $1 AND tenant = $2::text
       FOR UPDATE
), again AS (
    UPDATE deliveries
       SET status = 'pending', next_try_at = now(), first_due_at = now(), tries_before = deliveries.tries,
           claimed_by = NULL, settled_at = NULL
      FROM found
     WHERE deliveries.delivery_id = found.delivery_id AND NOT found.is_under_way
 RETURNING delivery_json(deliveries) AS row
)
SELECT found.is_under_way, again.row FROM found LEFT JOIN again ON true
