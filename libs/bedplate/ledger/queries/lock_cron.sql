-- lock_cron: a cron that is due, for firing it in this transaction. No row: another scheduler is at it, or it is not due
-- at that time any more. By primary key.
SELECT cron_id, assistant_id, thread_id, schedule, timezone, end_time, next_run_at, metadata, run_order
  FROM crons
 WHERE cron_id = $1 AND next_run_at = $2
   FOR UPDATE SKIP LOCKED
