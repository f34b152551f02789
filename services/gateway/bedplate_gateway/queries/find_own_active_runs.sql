-- find_own_active_runs: runs to cancel whose threads a caller may change, page by page. Indexes runs_running, runs_waiting.
SELECT runs.run_id, runs.thread_id
  FROM runs JOIN threads USING (thread_id)
 WHERE runs.tenant = $1 AND runs.status IN ('pending', 'running') AND runs.status = ANY($2::text[])
   AND runs.run_id > $3 AND {access}
 ORDER BY runs.run_id
 LIMIT $4
