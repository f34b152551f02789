-- find_active_runs: runs of a tenant that are not over, waiting ($2) or running ($3), for a cancel of many: after $4, at
-- most $5. Indexes runs_waiting, runs_running.
SELECT run_id, thread_id
  FROM runs
 WHERE tenant = $1 AND (($2::bool AND status = 'pending') OR ($3::bool AND status = 'running'))
   AND run_id > $4::uuid
 ORDER BY run_id
 LIMIT $5
