-- write_outbox: rows that belong to a change of the same transaction.
INSERT INTO outbox (msg_id, subject, body)
SELECT rows.msg_id, rows.subject, rows.body
  FROM unnest($1::text[], $2::text[], $3::json[]) AS rows (msg_id, subject, body)
RETURNING outbox_id
