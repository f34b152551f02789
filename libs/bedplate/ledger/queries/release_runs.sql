-- release_runs: give running runs back unharmed; each gets a new ticket at once. For the keeper; by primary key.
WITH found AS MATERIALIZED (
    SELECT runs.run_id
      FROM runs JOIN unnest($1::uuid[], $2::int[]) AS mine (run_id, attempt)
        ON runs.run_id = mine.run_id AND runs.attempt = mine.attempt
     WHERE runs.status = 'running'
     ORDER BY runs.run_id
       FOR UPDATE OF runs
), released AS (
    UPDATE runs
       SET status = 'pending', executor = NULL, lease_until = NULL, updated_at = now(),
           ticket = runs.ticket + 1, ticketed_at = now()
      FROM found, unnest($1::uuid[], $2::int[]) AS mine (run_id, attempt)
     WHERE runs.run_id = found.run_id AND mine.run_id = runs.run_id
       AND runs.attempt = mine.attempt AND runs.status = 'running'
 RETURNING runs.run_id, runs.thread_id, runs.ticket
)
INSERT INTO outbox (msg_id, subject, body)
SELECT released.run_id || ':' || released.ticket, $3::text,
       json_build_object('run_id', released.run_id, 'thread_id', released.thread_id,
                         'ticket', released.ticket)
  FROM released
RETURNING outbox_id, msg_id, subject, body
