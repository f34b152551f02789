-- create_run_on_new_thread: thread and run together. No row: the thread exists already. For the scheduler.
-- The ticket, which is the first message, goes out as in create_run.
WITH room AS MATERIALIZED (
    SELECT $12::bool
           AND NOT EXISTS (SELECT FROM runs WHERE ready_at IS NOT NULL)
           AND (SELECT count(*)
                  FROM (SELECT FROM runs WHERE status = 'pending' AND ticketed_at IS NOT NULL LIMIT $19::int) AS queued
               ) < $19 AS is_open
), thread AS (
    INSERT INTO threads (thread_id, tenant, status, metadata, config, runs_active, current_run,
                         is_temporary, deletes_with_run, priority, fairness_group, ttl_minutes, ttl_strategy)
    VALUES ($2::uuid, $3::text, 'busy', $10::jsonb, $11::jsonb, 1, CASE WHEN $12 THEN $1::uuid END,
            $16::bool, $17::bool, $20::smallint, $21::text,
            -- one that goes with its run needs no other end
            CASE WHEN NOT $17 THEN $24::float8 END, $25::text)
        ON CONFLICT (thread_id) DO NOTHING
 RETURNING thread_id
), written AS (
    INSERT INTO runs (run_id, thread_id, tenant, assistant_id, graph_id, kwargs, metadata,
                      multitask_strategy, created_at, ticket, ticketed_at, ready_at,
                      priority, fairness_group, user_key, auth_user, encryption_context)
    SELECT $1::uuid, $2::uuid, $3::text, $4::uuid, $5::text, $6::json,
           $18::jsonb || $10 || $7::jsonb, $8::text,
           now() + $9::float8 * interval '1 second',
           room.is_open::int, CASE WHEN room.is_open THEN now() END,
           CASE WHEN $12 AND NOT room.is_open THEN clock_timestamp() END,
           coalesce($20, 0), coalesce($21, 'default'), $22::text, $23::json, $26::json
      FROM thread CROSS JOIN room
 RETURNING run_json(runs) AS row
), told AS (
    INSERT INTO outbox (msg_id, subject, body)
    SELECT rows.msg_id, rows.subject, rows.body
      FROM written CROSS JOIN room
     CROSS JOIN unnest($13::text[], $14::text[], $15::json[]) WITH ORDINALITY AS rows (msg_id, subject, body, n)
     WHERE rows.n > 1 OR room.is_open OR NOT $12
 RETURNING outbox_id
)
SELECT written.row, room.is_open AS has_ticket, ARRAY(SELECT outbox_id FROM told ORDER BY 1) AS outbox_ids
  FROM written CROSS JOIN room
