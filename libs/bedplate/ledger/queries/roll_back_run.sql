-- roll_back_run: remove the run if this attempt still holds it; its checkpoints are gone already. Like finish_run, but
-- the thread goes on showing what it showed before the run.
WITH thread AS MATERIALIZED (
    SELECT thread_id, runs_active FROM threads WHERE thread_id = $6::uuid FOR UPDATE
), found AS MATERIALIZED (
    SELECT runs.run_id, runs.thread_id, runs.status, runs.attempt, thread.runs_active
      FROM thread JOIN runs ON runs.thread_id = thread.thread_id
     WHERE runs.run_id = $1
       FOR UPDATE OF runs
), removed AS (
    DELETE FROM runs USING found
     WHERE runs.run_id = found.run_id AND found.attempt = $2 AND found.status = 'running'
 RETURNING runs.run_id, runs.thread_id, found.runs_active
), settled AS (
    UPDATE threads
       SET status = CASE WHEN removed.runs_active > 1 THEN 'busy' ELSE threads.settled_status END,
           runs_active = threads.runs_active - 1, current_run = NULL,
           events_n = greatest(threads.events_n, $7::bigint),
           updated_at = now(),
           doomed_at = CASE WHEN threads.deletes_with_run AND threads.runs_active = 1 THEN now() END
      FROM removed
     WHERE threads.thread_id = removed.thread_id
), told AS (
    INSERT INTO outbox (msg_id, subject, body)
    SELECT $3::text, $4::text, jsonb_set($5::jsonb, '{data,has_next}', to_jsonb(removed.runs_active > 1))
      FROM removed
 RETURNING outbox_id, msg_id, subject, body
)
SELECT true AS applied, found.status, found.attempt, now() AS finished_at,
       removed.runs_active > 1 AS has_next, EXISTS (SELECT FROM runs WHERE ready_at IS NOT NULL) AS is_crowded,
       told.outbox_id, told.msg_id, told.subject, told.body
  FROM found JOIN removed USING (run_id) CROSS JOIN told
UNION ALL
SELECT false, found.status, found.attempt, NULL, NULL, NULL, NULL, NULL, NULL, NULL
  FROM found
 WHERE NOT EXISTS (SELECT FROM removed)
