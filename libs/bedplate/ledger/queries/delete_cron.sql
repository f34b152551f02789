-- delete_cron: by primary key.
DELETE FROM crons WHERE cron_id = $1 AND tenant = $2 RETURNING cron_id
