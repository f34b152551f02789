-- dispatch_next: issue the ticket of a free thread's oldest due run. No row: nothing to do. For the scheduler; runs_waiting.
WITH thread AS MATERIALIZED (
    SELECT thread_id FROM threads WHERE thread_id = $1 AND current_run IS NULL FOR UPDATE
), head AS MATERIALIZED (
    SELECT runs.run_id
      FROM thread JOIN runs ON runs.thread_id = thread.thread_id
     WHERE runs.status = 'pending' AND runs.created_at <= now()
     ORDER BY runs.created_at, runs.position
     LIMIT 1
), ticketed AS (
    UPDATE runs SET ticket = runs.ticket + 1, ticketed_at = now()
      FROM head
     WHERE runs.run_id = head.run_id AND runs.status = 'pending'
 RETURNING runs.run_id, runs.thread_id, runs.ticket
), moved AS (
    UPDATE threads SET current_run = ticketed.run_id
      FROM ticketed
     WHERE threads.thread_id = ticketed.thread_id
), told AS (
    INSERT INTO outbox (msg_id, subject, body)
    SELECT ticketed.run_id || ':' || ticketed.ticket, $2::text,
           json_build_object('run_id', ticketed.run_id, 'thread_id', ticketed.thread_id,
                             'ticket', ticketed.ticket)
      FROM ticketed
 RETURNING outbox_id, msg_id, subject, body
)
SELECT outbox_id, msg_id, subject, body FROM told
