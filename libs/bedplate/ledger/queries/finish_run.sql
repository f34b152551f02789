-- finish_run: end the run if this attempt still holds it. applied = false shows who does; no row: the run is gone.
-- For the executor; by primary key. $4 values, $5 interrupts: NULL keeps the thread's; $7 is its status once no run is left.
WITH thread AS MATERIALIZED (
    SELECT thread_id, runs_active FROM threads WHERE thread_id = $12::uuid FOR UPDATE
), found AS MATERIALIZED (
    SELECT runs.run_id, runs.thread_id, runs.status, runs.attempt, thread.runs_active
      FROM thread JOIN runs ON runs.thread_id = thread.thread_id
     WHERE runs.run_id = $1
       FOR UPDATE OF runs
), finished AS (
    UPDATE runs
       SET status = $3::text, error = $6::jsonb, waits = $7::text = 'interrupted', lease_until = NULL, updated_at = now(),
           finished_at = now()
      FROM found
     WHERE runs.run_id = found.run_id AND found.attempt = $2 AND found.status = 'running'
 RETURNING runs.run_id, runs.thread_id, runs.finished_at, found.runs_active
), settled AS (
    UPDATE threads
       SET "values" = coalesce($4::jsonb, threads."values"), interrupts = coalesce($5::jsonb, threads.interrupts), error = $6::jsonb,
           settled_status = $7::text,
           status = CASE WHEN finished.runs_active > 1 THEN 'busy' ELSE $7::text END,
           runs_active = threads.runs_active - 1, current_run = NULL,
           events_n = greatest(threads.events_n, $8::bigint),
           updated_at = now(), state_updated_at = now(),
           doomed_at = CASE WHEN threads.deletes_with_run AND threads.runs_active = 1 THEN now() END
      FROM finished
     WHERE threads.thread_id = finished.thread_id
), told AS (
    INSERT INTO outbox (msg_id, subject, body)
    SELECT $9::text, $10::text,
           jsonb_set($11::jsonb, '{data,has_next}', to_jsonb(finished.runs_active > 1))
      FROM finished
 RETURNING outbox_id, msg_id, subject, body
)
SELECT true AS applied, found.status, found.attempt, finished.finished_at,
       finished.runs_active > 1 AS has_next, EXISTS (SELECT FROM runs WHERE ready_at IS NOT NULL) AS is_crowded,
       told.outbox_id, told.msg_id, told.subject, told.body
  FROM found JOIN finished USING (run_id) CROSS JOIN told
UNION ALL
SELECT false, found.status, found.attempt, NULL, NULL, NULL, NULL, NULL, NULL, NULL
  FROM found
 WHERE NOT EXISTS (SELECT FROM finished)
