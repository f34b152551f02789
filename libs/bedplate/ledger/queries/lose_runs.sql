-- lose_runs: the attempts died under their runs: wait for the next attempt, or end in error after $3 failures.
-- $4: only where the lease has run out (the expiry loop); the keeper knows without. By primary key.
-- Nobody knows how many events the dead attempts wrote: the thread's next run goes on $7 per attempt further.
WITH threads_locked AS MATERIALIZED (
    SELECT threads.thread_id, threads.events_n
      FROM threads
     WHERE threads.thread_id IN (SELECT runs.thread_id FROM runs WHERE runs.run_id = ANY($1::uuid[]))
     ORDER BY threads.thread_id
       FOR UPDATE
), found AS MATERIALIZED (
    SELECT runs.run_id, runs.failures + 1 >= $3::int AS is_last, threads_locked.events_n
      FROM threads_locked
      JOIN runs ON runs.thread_id = threads_locked.thread_id
      JOIN unnest($1::uuid[], $2::int[]) AS mine (run_id, attempt)
        ON runs.run_id = mine.run_id AND runs.attempt = mine.attempt
     WHERE runs.status = 'running' AND (NOT $4::bool OR runs.lease_until < clock_timestamp())
     ORDER BY runs.run_id
       FOR UPDATE OF runs
), lost AS (
    UPDATE runs
       SET status = CASE WHEN found.is_last THEN 'error' ELSE 'pending' END,
           failures = runs.failures + 1, executor = NULL, lease_until = NULL, updated_at = now(),
           error = CASE WHEN found.is_last THEN $5::jsonb END,
           finished_at = CASE WHEN found.is_last THEN now() END,
           ticket = CASE WHEN found.is_last THEN runs.ticket ELSE runs.ticket + 1 END,
           ticketed_at = CASE WHEN found.is_last THEN runs.ticketed_at ELSE now() END
      FROM found
     WHERE runs.run_id = found.run_id AND runs.status = 'running'
 RETURNING runs.run_id, runs.thread_id, runs.tenant, runs.assistant_id, runs.graph_id, runs.attempt,
           runs.ticket, runs.finished_at, found.is_last, found.events_n,
           CASE WHEN found.is_last THEN runs.kwargs END AS kwargs
), settled AS (
    UPDATE threads
       SET error = $5::jsonb, settled_status = 'error',
           status = CASE WHEN threads.runs_active > 1 THEN 'busy' ELSE 'error' END,
           runs_active = threads.runs_active - 1, current_run = NULL,
           events_n = threads.events_n + $7::bigint * (lost.attempt + 1),
           updated_at = now(),
           doomed_at = CASE WHEN threads.deletes_with_run AND threads.runs_active = 1 THEN now() END
      FROM lost
     WHERE threads.thread_id = lost.thread_id AND lost.is_last
 RETURNING threads.thread_id, threads.runs_active
), told AS (
    INSERT INTO outbox (msg_id, subject, body)
    SELECT lost.run_id || ':' || lost.ticket, $6::text,
           json_build_object('run_id', lost.run_id, 'thread_id', lost.thread_id, 'ticket', lost.ticket)
      FROM lost
     WHERE NOT lost.is_last
 RETURNING outbox_id, msg_id, subject, body
)
SELECT lost.run_id, lost.thread_id, lost.tenant, lost.assistant_id, lost.graph_id, lost.attempt,
       lost.kwargs, lost.is_last, lost.finished_at, lost.events_n, coalesce(settled.runs_active, 1) > 0 AS has_next,
       told.outbox_id, told.msg_id, told.subject, told.body
  FROM lost
  LEFT JOIN settled ON settled.thread_id = lost.thread_id
  LEFT JOIN told ON told.msg_id = lost.run_id || ':' || lost.ticket
