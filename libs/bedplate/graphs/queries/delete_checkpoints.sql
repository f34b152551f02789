-- delete_checkpoints: remove checkpoints. By primary key.
DELETE FROM checkpoints WHERE thread_id = $1 AND checkpoint_ns = $2 AND checkpoint_id = ANY($3::text[])
