-- delete_outbox: rows the broker has acknowledged. By primary key.
DELETE FROM outbox WHERE outbox_id = ANY($1::bigint[])
