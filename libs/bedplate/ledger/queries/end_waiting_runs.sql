-- end_waiting_runs: runs of one thread that never started end as interrupted; the thread is what it was. In a transaction
-- that holds thread and runs. Their ends get the thread's next numbers, unless another run has the thread: that one
-- numbers its own events (end_n 0).
WITH ended AS (
    UPDATE runs SET status = 'interrupted', ready_at = NULL, updated_at = now(), finished_at = now()
     WHERE run_id = ANY($1::uuid[]) AND status = 'pending'
 RETURNING run_id, thread_id, finished_at, created_at, position
), counted AS (
    SELECT thread_id, count(*)::int AS runs, array_agg(run_id) AS run_ids FROM ended GROUP BY thread_id
), moved AS (
    UPDATE threads
       SET runs_active = threads.runs_active - counted.runs, updated_at = now(),
           status = CASE WHEN threads.runs_active > counted.runs THEN 'busy' ELSE threads.settled_status END,
           current_run = CASE WHEN threads.current_run <> ALL(counted.run_ids) THEN threads.current_run END,
           events_n = threads.events_n
                      + CASE WHEN threads.current_run <> ALL(counted.run_ids) THEN 0 ELSE counted.runs END,
           doomed_at = CASE WHEN threads.deletes_with_run AND threads.runs_active = counted.runs THEN now() END
      FROM counted
     WHERE threads.thread_id = counted.thread_id
 RETURNING threads.thread_id, threads.runs_active, threads.current_run IS NULL AS is_free,
           threads.events_n - counted.runs AS base_n
)
SELECT ended.run_id, ended.finished_at, moved.runs_active,
       CASE WHEN moved.is_free
            THEN moved.base_n + row_number() OVER (ORDER BY ended.created_at, ended.position)
            ELSE 0 END AS end_n
  FROM ended JOIN moved USING (thread_id)
