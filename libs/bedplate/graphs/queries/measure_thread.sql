-- measure_thread: the bytes of a thread's rows in our tables. By primary keys.
SELECT (SELECT coalesce(sum(pg_column_size(rows.*)), 0) FROM checkpoints AS rows WHERE thread_id = $1)
     + (SELECT coalesce(sum(pg_column_size(rows.*)), 0) FROM checkpoint_blobs AS rows WHERE thread_id = $1)
     + (SELECT coalesce(sum(pg_column_size(rows.*)), 0) FROM checkpoint_writes AS rows WHERE thread_id = $1)
     + (SELECT coalesce(sum(pg_column_size(rows.*)), 0) FROM checkpoint_undo AS rows WHERE thread_id = $1)
