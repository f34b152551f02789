-- ticket_runs: tickets for these ready runs, in the order given: so they come into the queue. For the feeder; by primary key.
WITH found AS MATERIALIZED (
    SELECT run_id FROM runs
     WHERE run_id = ANY($1::uuid[]) AND ready_at IS NOT NULL AND status = 'pending'
     ORDER BY run_id
       FOR UPDATE
), ticketed AS (
    UPDATE runs SET ticket = runs.ticket + 1, ticketed_at = now(), ready_at = NULL
      FROM found
     WHERE runs.run_id = found.run_id AND runs.status = 'pending' AND runs.ready_at IS NOT NULL
 RETURNING runs.run_id, runs.thread_id, runs.ticket
)
INSERT INTO outbox (msg_id, subject, body)
SELECT ticketed.run_id || ':' || ticketed.ticket, $2::text,
       json_build_object('run_id', ticketed.run_id, 'thread_id', ticketed.thread_id,
                         'ticket', ticketed.ticket)
  FROM ticketed
 ORDER BY array_position($1, ticketed.run_id)
RETURNING outbox_id, msg_id, subject, body
