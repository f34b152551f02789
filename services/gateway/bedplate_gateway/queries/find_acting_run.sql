-- find_acting_run: the run of an attempt that is at work. By primary key.
SELECT run_id, thread_id
  FROM runs
 WHERE run_id = $1 AND attempt = $2 AND status = 'running'
