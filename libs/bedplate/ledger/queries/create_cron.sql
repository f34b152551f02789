-- create_cron: a cron, or the one that this order made before. No row: its thread is not there. By primary key.
WITH place AS (
    SELECT FROM threads WHERE thread_id = $3::uuid AND tenant = $2::text AND doomed_at IS NULL
), written AS (
    INSERT INTO crons (cron_id, tenant, thread_id, assistant_id, on_run_completed, user_id, schedule,
                       timezone, end_time, enabled, next_run_at, metadata, payload, run_order)
    SELECT $1::uuid, $2, $3, $4::uuid, $5::text, $6::text, $7::text, $8::text, $9::timestamptz, $10::bool,
           $11::timestamptz, $12::jsonb, $13::json, $14::json
     WHERE $3 IS NULL OR EXISTS (SELECT FROM place)
        ON CONFLICT (cron_id) DO NOTHING
 RETURNING cron_json(crons) AS row
)
SELECT row FROM written
UNION ALL
SELECT cron_json(crons) FROM crons WHERE cron_id = $1 AND tenant = $2 AND NOT EXISTS (SELECT FROM written)
