-- get_cron: as clients see it, by primary key.
SELECT cron_json(crons) AS row FROM crons WHERE cron_id = $2 AND tenant = $1
