-- find_cron: what an update is made of. By primary key.
SELECT thread_id, user_id, payload, run_order, revision FROM crons WHERE cron_id = $2 AND tenant = $1
