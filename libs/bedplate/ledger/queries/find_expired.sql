-- find_expired: running runs whose lease has run out, for the expiry loop. Index runs_running.
SELECT run_id, attempt
  FROM runs
 WHERE status = 'running' AND lease_until < clock_timestamp()
 ORDER BY lease_until
 LIMIT $1
