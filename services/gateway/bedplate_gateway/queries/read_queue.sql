-- read_queue: how many runs wait and run, and for how long they have waited, for /metrics. Indexes runs_waiting, _running.
SELECT count(*) FILTER (WHERE runs.status = 'pending') AS n_pending,
       count(*) FILTER (WHERE runs.status = 'running') AS n_running,
       coalesce(max(extract(epoch FROM now() - runs.created_at))
           FILTER (WHERE runs.status = 'pending'), 0)::float8 AS waited_s_max,
       coalesce(percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM now() - runs.created_at))
           FILTER (WHERE runs.status = 'pending'), 0)::float8 AS waited_s_median,
       coalesce(max(extract(epoch FROM now() - runs.created_at))
           FILTER (WHERE runs.status = 'pending' AND threads.current_run = runs.run_id), 0)::float8
           AS unblocked_s_max,
       coalesce(percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM now() - runs.created_at))
           FILTER (WHERE runs.status = 'pending' AND threads.current_run = runs.run_id), 0)::float8
           AS unblocked_s_median
  FROM runs JOIN threads USING (thread_id)
 WHERE runs.tenant = $1 AND runs.status IN ('pending', 'running')
   AND (runs.status = 'running' OR runs.created_at <= now())
