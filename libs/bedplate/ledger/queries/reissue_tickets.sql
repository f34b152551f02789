-- reissue_tickets: new tickets for runs whose ticket is older than $1 seconds, and than anything in the queue.
-- For the scheduler; the set is bounded by the threads that have a run in flight.
WITH lost AS MATERIALIZED (
    SELECT runs.run_id
      FROM threads JOIN runs ON runs.run_id = threads.current_run
     WHERE runs.status = 'pending' AND runs.ticketed_at < now() - $1::float8 * interval '1 second'
     ORDER BY runs.run_id
     LIMIT $3
       FOR UPDATE OF runs SKIP LOCKED
), ticketed AS (
    UPDATE runs SET ticket = runs.ticket + 1, ticketed_at = now()
      FROM lost
     WHERE runs.run_id = lost.run_id AND runs.status = 'pending'
 RETURNING runs.run_id, runs.thread_id, runs.ticket
)
INSERT INTO outbox (msg_id, subject, body)
SELECT ticketed.run_id || ':' || ticketed.ticket, $2::text,
       json_build_object('run_id', ticketed.run_id, 'thread_id', ticketed.thread_id,
                         'ticket', ticketed.ticket)
  FROM ticketed
RETURNING outbox_id, msg_id, subject, body
