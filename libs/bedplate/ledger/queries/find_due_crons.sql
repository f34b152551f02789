-- find_due_crons: who was due first comes first. For the scheduler's loop; index crons_due.
SELECT cron_id, tenant, thread_id, next_run_at FROM crons WHERE next_run_at <= $1 ORDER BY next_run_at, cron_id LIMIT $2
