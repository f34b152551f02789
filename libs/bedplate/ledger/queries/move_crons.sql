-- move_crons: when each is due next; their plans stay, and so does updated_at. By primary key.
UPDATE crons SET next_run_at = moved.next_at
  FROM unnest($1::uuid[], $2::timestamptz[]) AS moved (cron_id, next_at)
 WHERE crons.cron_id = moved.cron_id
