-- create_run: a run on a thread that exists, if the thread still is what the decision was made for ($12).
-- No row: no such thread. row IS NULL: the facts differ, is_occupied tells how. For the scheduler; by primary key.
WITH thread AS MATERIALIZED (
    SELECT thread_id, runs_active > 0 AS is_occupied, metadata
      FROM threads
     WHERE thread_id = $2::uuid AND tenant = $3::text AND doomed_at IS NULL
       FOR UPDATE
), written AS (
    INSERT INTO runs (run_id, thread_id, tenant, assistant_id, graph_id, kwargs, metadata,
                      multitask_strategy, created_at, ticket, ticketed_at)
    SELECT $1::uuid, $2::uuid, $3::text, $4::uuid, $5::text, $6::json,
           $17::jsonb || thread.metadata || $10::jsonb || $7::jsonb, $8::text,
           now() + $9::float8 * interval '1 second',
           CASE WHEN $13::bool THEN 1 ELSE 0 END, CASE WHEN $13 THEN now() END
      FROM thread
     WHERE thread.is_occupied = $12::bool
        ON CONFLICT (run_id) DO NOTHING
 RETURNING runs.run_id, runs.thread_id, run_json(runs) AS row
), moved AS (
    UPDATE threads
       SET runs_active = threads.runs_active + 1, status = 'busy', updated_at = now(),
           current_run = CASE WHEN $13 THEN $1 ELSE threads.current_run END,
           metadata = threads.metadata || $10, config = $11::jsonb
      FROM written
     WHERE threads.thread_id = written.thread_id
 RETURNING threads.thread_id
), told AS (
    INSERT INTO outbox (msg_id, subject, body)
    SELECT rows.msg_id, rows.subject, rows.body
      FROM moved, unnest($14::text[], $15::text[], $16::json[]) AS rows (msg_id, subject, body)
 RETURNING outbox_id
)
SELECT thread.is_occupied, written.row, ARRAY(SELECT outbox_id FROM told ORDER BY 1) AS outbox_ids
  FROM thread
  LEFT JOIN written ON true
