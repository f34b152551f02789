-- hold_runs_of_thread: the runs that are not over; until the end of the transaction no one of them starts.
-- A statement of its own, after hold_thread: a run that started while that waited must be seen. By runs_of_thread.
SELECT status FROM runs
 WHERE thread_id = $1 AND status IN ('pending', 'running')
 ORDER BY run_id
   FOR KEY SHARE
