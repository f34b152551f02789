-- renew_leases: prolong what is still held; what does not come back is held by another. For the keeper; by primary key.
-- A lease that ran out while PostgreSQL was away is renewed too, as long as nobody took the run.
WITH held AS MATERIALIZED (
    SELECT runs.run_id
      FROM runs JOIN unnest($1::uuid[], $2::int[]) AS mine (run_id, attempt)
        ON runs.run_id = mine.run_id AND runs.attempt = mine.attempt
     WHERE runs.status = 'running'
     ORDER BY runs.run_id
       FOR NO KEY UPDATE OF runs
)
UPDATE runs SET lease_until = clock_timestamp() + $3::float8 * interval '1 second'
  FROM held, unnest($1::uuid[], $2::int[]) AS mine (run_id, attempt)
 WHERE runs.run_id = held.run_id AND mine.run_id = runs.run_id
   AND runs.attempt = mine.attempt AND runs.status = 'running'
RETURNING runs.run_id, runs.cancel_action
