-- move_cron: when it is due next; its plan stays, and so does updated_at. By primary key.
UPDATE crons SET next_run_at = $2 WHERE cron_id = $1
