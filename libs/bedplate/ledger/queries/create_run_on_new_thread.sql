-- create_run_on_new_thread: thread and run together. No row: the thread exists already. For the scheduler.
WITH thread AS (
    INSERT INTO threads (thread_id, tenant, status, metadata, config, runs_active, current_run,
                         is_temporary, deletes_with_run)
    VALUES ($2::uuid, $3::text, 'busy', $10::jsonb, $11::jsonb, 1, CASE WHEN $12::bool THEN $1::uuid END,
            $16::bool, $17::bool)
        ON CONFLICT (thread_id) DO NOTHING
 RETURNING thread_id
), written AS (
    INSERT INTO runs (run_id, thread_id, tenant, assistant_id, graph_id, kwargs, metadata,
                      multitask_strategy, created_at, ticket, ticketed_at)
    SELECT $1::uuid, $2::uuid, $3::text, $4::uuid, $5::text, $6::json,
           $18::jsonb || $10 || $7::jsonb, $8::text,
           now() + $9::float8 * interval '1 second',
           CASE WHEN $12 THEN 1 ELSE 0 END, CASE WHEN $12 THEN now() END
      FROM thread
 RETURNING run_json(runs) AS row
), told AS (
    INSERT INTO outbox (msg_id, subject, body)
    SELECT rows.msg_id, rows.subject, rows.body
      FROM written, unnest($13::text[], $14::text[], $15::json[]) AS rows (msg_id, subject, body)
 RETURNING outbox_id
)
SELECT written.row, ARRAY(SELECT outbox_id FROM told ORDER BY 1) AS outbox_ids FROM written
