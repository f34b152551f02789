-- find_ended_run: how a thread's last finished run ended, or run $3, and what the thread shows. For readers whose
-- events are lost or have passed retention. Indexes: primary keys, runs_of_thread.
SELECT threads.events_n, threads."values", threads.interrupts, threads.settled_status,
       ended.run_id, ended.status, ended.error, ended.graph_id, ended.finished_at,
       extract(epoch FROM clock_timestamp() - ended.finished_at)::float8 AS ended_s_ago, coalesce(ended.waits, false) AS waits
  FROM threads
  LEFT JOIN LATERAL (
       SELECT run_id, status, error, graph_id, finished_at, waits FROM runs
        WHERE runs.thread_id = threads.thread_id AND finished_at IS NOT NULL
          AND ($3::uuid IS NULL OR runs.run_id = $3)
        ORDER BY finished_at DESC
        LIMIT 1) AS ended ON true
 WHERE threads.tenant = $1 AND threads.doomed_at IS NULL
   AND threads.thread_id = coalesce($2::uuid, (SELECT thread_id FROM runs WHERE run_id = $3))
