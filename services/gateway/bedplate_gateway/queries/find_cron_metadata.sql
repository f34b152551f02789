-- find_cron_metadata: whose cron it is, for authorization. By primary key.
SELECT metadata FROM crons WHERE cron_id = $2 AND tenant = $1
