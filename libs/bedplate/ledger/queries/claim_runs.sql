-- claim_runs: the next attempt of each of these runs begins, if it waits and is its thread's current one. What comes
-- back is all an executor needs; a run that does not come back was not won. For the keeper; by primary key.
WITH wanted AS MATERIALIZED (
    SELECT runs.run_id, runs.thread_id, runs.status
      FROM runs
     WHERE runs.run_id = ANY($1::uuid[])
     ORDER BY runs.run_id
       FOR UPDATE
), claimed AS (
    UPDATE runs
       SET status = 'running', attempt = runs.attempt + 1, executor = $2,
           lease_until = clock_timestamp() + $3::float8 * interval '1 second',
           started_at = coalesce(runs.started_at, now()), updated_at = now()
      FROM wanted JOIN threads ON threads.thread_id = wanted.thread_id
     WHERE runs.run_id = wanted.run_id AND wanted.status = 'pending'
       AND threads.current_run = wanted.run_id
 RETURNING runs.*, threads.events_n
)
SELECT run_id, thread_id, tenant, assistant_id, graph_id, kwargs, metadata, attempt, failures,
       cancel_action, events_n, auth_user, encryption_context,
       -- Only of a first attempt: what an earlier one was about to commit may not be seen here yet.
       attempt = 1 AND NOT EXISTS (SELECT FROM checkpoints
                                    WHERE checkpoints.thread_id = claimed.thread_id::text) AS is_blank,
       EXISTS (SELECT FROM runs WHERE ready_at IS NOT NULL) AS is_crowded
  FROM claimed
