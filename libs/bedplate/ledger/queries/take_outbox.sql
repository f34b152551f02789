-- take_outbox: the oldest rows their writer should have flushed by now ($1 seconds), for the relay, until it commits.
SELECT outbox_id, msg_id, subject, body
  FROM outbox
 WHERE written_at < now() - $1::float8 * interval '1 second'
 ORDER BY outbox_id
 LIMIT $2
   FOR UPDATE SKIP LOCKED
