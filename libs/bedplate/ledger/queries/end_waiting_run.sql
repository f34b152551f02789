-- end_waiting_run: a run that never started ends as interrupted; the thread is what it was. In lock_run's transaction.
-- Its end gets the thread's next number, unless another run has the thread: that one numbers its own events (end_n 0).
WITH ended AS (
    UPDATE runs SET status = 'interrupted', updated_at = now(), finished_at = now()
     WHERE run_id = $1 AND status = 'pending'
 RETURNING run_id, thread_id, finished_at
)
UPDATE threads
   SET runs_active = threads.runs_active - 1, updated_at = now(),
       status = CASE WHEN threads.runs_active > 1 THEN 'busy' ELSE threads.settled_status END,
       current_run = nullif(threads.current_run, ended.run_id),
       events_n = threads.events_n + (coalesce(threads.current_run, ended.run_id) = ended.run_id)::int,
       doomed_at = CASE WHEN threads.deletes_with_run AND threads.runs_active = 1 THEN now() END
  FROM ended
 WHERE threads.thread_id = ended.thread_id
RETURNING threads.runs_active, ended.finished_at,
          CASE WHEN threads.current_run IS NULL THEN threads.events_n ELSE 0 END AS end_n
