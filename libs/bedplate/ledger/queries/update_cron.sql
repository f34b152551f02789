-- update_cron: another plan, if the cron still is what it was made of ($3). row IS NULL: it is not; no row: no such cron.
-- By primary key.
WITH found AS MATERIALIZED (
    SELECT cron_id, revision FROM crons WHERE cron_id = $1 AND tenant = $2 FOR UPDATE
), changed AS (
    UPDATE crons
       SET assistant_id = $4, on_run_completed = $5, user_id = $6, schedule = $7, timezone = $8, end_time = $9,
           enabled = $10, next_run_at = $11, metadata = $12, payload = $13, run_order = $14,
           revision = crons.revision + 1, updated_at = now()
      FROM found
     WHERE crons.cron_id = found.cron_id AND found.revision = $3::int
 RETURNING cron_json(crons) AS row
)
SELECT changed.row FROM found LEFT JOIN changed ON true
