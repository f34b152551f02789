-- find_run: what a reader of a run must know: is it over, and may its events be read again. By primary key.
SELECT thread_id, status, attempt, error, graph_id, assistant_id,
       coalesce((kwargs ->> 'resumable')::bool, false) AS is_resumable
  FROM runs
 WHERE run_id = $2 AND tenant = $1
