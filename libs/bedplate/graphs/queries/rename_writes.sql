-- rename_writes: the writes that were folded under the name $3 get the checkpoint's own, $4. By primary key.
UPDATE checkpoint_writes SET checkpoint_id = $4 WHERE thread_id = $1 AND checkpoint_ns = $2 AND checkpoint_id = $3
