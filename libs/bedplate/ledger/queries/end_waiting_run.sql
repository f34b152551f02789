-- end_waiting_run: a run that never started ends as interrupted; the thread is what it was. In lock_run's transaction.
WITH ended AS (
    UPDATE runs SET status = 'interrupted', updated_at = now(), finished_at = now()
     WHERE run_id = $1 AND status = 'pending'
 RETURNING run_id, thread_id
)
UPDATE threads
   SET runs_active = threads.runs_active - 1, updated_at = now(),
       status = CASE WHEN threads.runs_active > 1 THEN 'busy' ELSE threads.settled_status END,
       current_run = nullif(threads.current_run, ended.run_id),
       doomed_at = CASE WHEN threads.deletes_with_run AND threads.runs_active = 1 THEN now() END
  FROM ended
 WHERE threads.thread_id = ended.thread_id
RETURNING threads.runs_active
