-- create_run: a run on a thread that exists, if the thread still is what the decision was made for ($12).
-- No row: no such thread. row IS NULL: the facts differ, is_occupied tells how. For the scheduler; by primary key.
-- Whose turn it is ($13) gets the ticket, which is the first message, if fewer than $18 lie unclaimed and nobody is ready.
-- The thread keeps the mark of its latest cron, and only a cron's own runs take it over.
WITH thread AS MATERIALIZED (
    SELECT thread_id, runs_active > 0 AS is_occupied, metadata,
           coalesce(priority, $19::smallint) AS priority, coalesce(fairness_group, $20::text) AS fairness_group
      FROM threads
     WHERE thread_id = $2::uuid AND tenant = $3::text AND doomed_at IS NULL
       FOR UPDATE
), room AS MATERIALIZED (
    SELECT $13::bool
           AND NOT EXISTS (SELECT FROM runs WHERE ready_at IS NOT NULL)
           AND (SELECT count(*)
                  FROM (SELECT FROM runs WHERE status = 'pending' AND ticketed_at IS NOT NULL LIMIT $18::int) AS queued
               ) < $18 AS is_open
), written AS (
    INSERT INTO runs (run_id, thread_id, tenant, assistant_id, graph_id, kwargs, metadata,
                      multitask_strategy, created_at, ticket, ticketed_at, ready_at,
                      priority, fairness_group, user_key, auth_user, encryption_context)
    SELECT $1::uuid, $2::uuid, $3::text, $4::uuid, $5::text, $6::json,
           $17::jsonb || (thread.metadata - 'cron_id') || $10::jsonb || $7::jsonb, $8::text,
           now() + $9::float8 * interval '1 second',
           room.is_open::int, CASE WHEN room.is_open THEN now() END,
           CASE WHEN $13 AND NOT room.is_open THEN clock_timestamp() END,
           coalesce(thread.priority, 0), coalesce(thread.fairness_group, 'default'), $21::text, $22::json, $23::json
      FROM thread CROSS JOIN room
     WHERE thread.is_occupied = $12::bool
        ON CONFLICT (run_id) DO NOTHING
 RETURNING runs.run_id, runs.thread_id, run_json(runs) AS row
), moved AS (
    UPDATE threads
       SET runs_active = threads.runs_active + 1, status = 'busy', updated_at = now(),
           current_run = CASE WHEN $13 THEN $1 ELSE threads.current_run END,
           metadata = threads.metadata || $10, config = $11::jsonb,
           priority = thread.priority, fairness_group = thread.fairness_group
      FROM written JOIN thread USING (thread_id)
     WHERE threads.thread_id = written.thread_id
 RETURNING threads.thread_id
), told AS (
    INSERT INTO outbox (msg_id, subject, body)
    SELECT rows.msg_id, rows.subject, rows.body
      FROM moved CROSS JOIN room
     CROSS JOIN unnest($14::text[], $15::text[], $16::json[]) WITH ORDINALITY AS rows (msg_id, subject, body, n)
     WHERE rows.n > 1 OR room.is_open OR NOT $13
 RETURNING outbox_id
)
SELECT thread.is_occupied, written.row, room.is_open AS has_ticket,
       ARRAY(SELECT outbox_id FROM told ORDER BY 1) AS outbox_ids
  FROM thread
 CROSS JOIN room
  LEFT JOIN written ON true
