-- lock_active_runs: a thread's runs that are not over, locked in the order of every lock. In a transaction that holds the
-- thread; runs_waiting, runs_one_running.
SELECT run_id, status, attempt, failures, cancel_action, assistant_id, graph_id, kwargs
  FROM runs
 WHERE thread_id = $1 AND status IN ('pending', 'running')
 ORDER BY run_id
   FOR UPDATE
