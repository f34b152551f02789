-- delete_writes: remove the writes on checkpoints, and how to take them back. By primary keys.
WITH undo AS (
    DELETE FROM checkpoint_undo WHERE thread_id = $1 AND checkpoint_ns = $2 AND checkpoint_id = ANY($3::text[])
)
DELETE FROM checkpoint_writes WHERE thread_id = $1 AND checkpoint_ns = $2 AND checkpoint_id = ANY($3::text[])
