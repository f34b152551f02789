-- find_acting_run: the run of an attempt that is at work, and who it is for. By primary key.
SELECT run_id, thread_id, auth_user AS "user", encryption_context
  FROM runs
 WHERE run_id = $1 AND attempt = $2 AND tenant = $3 AND status = 'running'
