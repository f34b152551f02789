-- dispatch_next: it is the turn of a free thread's oldest due run: its ticket, if fewer than $3 lie unclaimed and nobody
-- is ready before it. No row: nothing to do; no outbox_id: it is ready now. For the scheduler; runs_waiting, runs_queued.
WITH thread AS MATERIALIZED (
    SELECT thread_id FROM threads WHERE thread_id = $1 AND current_run IS NULL FOR UPDATE
), room AS MATERIALIZED (
    SELECT NOT EXISTS (SELECT FROM runs WHERE ready_at IS NOT NULL)
           AND (SELECT count(*)
                  FROM (SELECT FROM runs WHERE status = 'pending' AND ticketed_at IS NOT NULL LIMIT $3::int) AS queued
               ) < $3 AS is_open
), head AS MATERIALIZED (
    SELECT runs.run_id
      FROM thread JOIN runs ON runs.thread_id = thread.thread_id
     WHERE runs.status = 'pending' AND runs.created_at <= now()
     ORDER BY runs.created_at, runs.position
     LIMIT 1
), turned AS (
    UPDATE runs
       SET ticket = runs.ticket + room.is_open::int,
           ticketed_at = CASE WHEN room.is_open THEN now() ELSE runs.ticketed_at END,
           ready_at = CASE WHEN NOT room.is_open THEN clock_timestamp() END
      FROM head CROSS JOIN room
     WHERE runs.run_id = head.run_id AND runs.status = 'pending'
 RETURNING runs.run_id, runs.thread_id, runs.ticket, room.is_open
), moved AS (
    UPDATE threads SET current_run = turned.run_id
      FROM turned
     WHERE threads.thread_id = turned.thread_id
), told AS (
    INSERT INTO outbox (msg_id, subject, body)
    SELECT turned.run_id || ':' || turned.ticket, $2::text,
           json_build_object('run_id', turned.run_id, 'thread_id', turned.thread_id,
                             'ticket', turned.ticket)
      FROM turned
     WHERE turned.is_open
 RETURNING outbox_id, msg_id, subject, body
)
SELECT told.outbox_id, told.msg_id, told.subject, told.body FROM turned LEFT JOIN told ON true
