-- settle_delivery: how try $2 of a delivery went: delivered, dead, or pending again in $4 seconds. No row: the claim ran
-- out and another dispatcher is at it. For the dispatcher; by primary key.
UPDATE deliveries
   SET status = $3::text, claimed_by = NULL, last_status_code = $5::int, last_error = $6::text,
       next_try_at = now() + coalesce($4::float8, 0) * interval '1 second',
       settled_at = CASE WHEN $3 <> 'pending' THEN now() END
 WHERE delivery_id = $1 AND tries = $2 AND status = 'pending'
RETURNING delivery_id
