-- lock_due_crons: of these crons ($1, due at $2) those that are still due then, for firing them in this transaction. Threads ($3)
-- before crons: a thread that is being deleted takes its crons along. Nobody is waited for, as several threads are held at once: left
-- out is what another scheduler, or anybody else, is at. By primary key.
WITH places AS MATERIALIZED (
    SELECT thread_id FROM threads WHERE thread_id = ANY($3::uuid[]) AND doomed_at IS NULL FOR UPDATE SKIP LOCKED
)
SELECT cron_id, tenant, assistant_id, thread_id, schedule, timezone, end_time, next_run_at, metadata, run_order
  FROM crons
 WHERE (cron_id, next_run_at) IN (SELECT * FROM unnest($1::uuid[], $2::timestamptz[]))
   AND (thread_id IS NULL OR thread_id IN (SELECT thread_id FROM places))
 ORDER BY next_run_at, cron_id
   FOR UPDATE SKIP LOCKED
