-- claim_deliveries: at most $1 due deliveries, $2 per destination unless $3/$4 say otherwise, are this dispatcher's for $6
-- seconds. A claim that ran out is due again. For the dispatcher; index deliveries_due, one probe per destination.
WITH RECURSIVE destinations AS (
    (SELECT deliveries.destination
       FROM deliveries
      WHERE deliveries.status = 'pending'
      ORDER BY deliveries.destination
      LIMIT 1)
    UNION ALL
    SELECT (SELECT deliveries.destination
              FROM deliveries
             WHERE deliveries.status = 'pending' AND deliveries.destination > destinations.destination
             ORDER BY deliveries.destination
             LIMIT 1)
      FROM destinations
     WHERE destinations.destination IS NOT NULL
), due AS MATERIALIZED (
    SELECT candidates.delivery_id
      FROM destinations
      LEFT JOIN unnest($3::text[], $4::int[]) AS rooms (destination, room)
             ON rooms.destination = destinations.destination
     CROSS JOIN LATERAL (
           SELECT deliveries.delivery_id, deliveries.next_try_at
             FROM deliveries
            WHERE deliveries.status = 'pending' AND deliveries.destination = destinations.destination
              AND deliveries.next_try_at <= now()
            ORDER BY deliveries.next_try_at
            LIMIT coalesce(rooms.room, $2::int)
              FOR UPDATE SKIP LOCKED) AS candidates
     ORDER BY candidates.next_try_at
     LIMIT $1::int
)
UPDATE deliveries
   SET tries = deliveries.tries + 1, claimed_by = $5::text,
       next_try_at = now() + $6::float8 * interval '1 second'
  FROM due
 WHERE deliveries.delivery_id = due.delivery_id
RETURNING deliveries.delivery_id, deliveries.tenant, deliveries.run_id, deliveries.url, deliveries.destination,
          deliveries.tries, deliveries.tries - deliveries.tries_before AS tries_of_round,
          extract(epoch FROM now() - deliveries.first_due_at)::float8 AS age_s,
          deliveries.run, deliveries.run_started_at, deliveries.run_ended_at, deliveries."values", deliveries.error
