-- delete_waiting_runs: runs of one thread that never started vanish; the thread is what it was. In a transaction that
-- holds thread and runs.
WITH removed AS (
    DELETE FROM runs WHERE run_id = ANY($1::uuid[]) AND status = 'pending' RETURNING run_id, thread_id
), counted AS (
    SELECT thread_id, count(*)::int AS runs, array_agg(run_id) AS run_ids FROM removed GROUP BY thread_id
)
UPDATE threads
   SET runs_active = threads.runs_active - counted.runs, updated_at = now(),
       status = CASE WHEN threads.runs_active > counted.runs THEN 'busy' ELSE threads.settled_status END,
       current_run = CASE WHEN threads.current_run <> ALL(counted.run_ids) THEN threads.current_run END,
       doomed_at = CASE WHEN threads.deletes_with_run AND threads.runs_active = counted.runs THEN now() END
  FROM counted
 WHERE threads.thread_id = counted.thread_id
RETURNING threads.runs_active
