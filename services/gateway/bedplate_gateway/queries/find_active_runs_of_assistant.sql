-- find_active_runs_of_assistant: for deleting an assistant. Indexes runs_running, runs_waiting.
SELECT run_id, thread_id
  FROM runs
 WHERE tenant = $1 AND assistant_id = $2 AND status IN ('pending', 'running')
 LIMIT $3
