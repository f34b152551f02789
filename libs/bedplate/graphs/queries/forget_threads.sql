-- forget_threads: everything a thread has in our tables. By primary keys.
WITH undo AS (
    DELETE FROM checkpoint_undo WHERE thread_id = ANY($1::text[])
), writes AS (
    DELETE FROM checkpoint_writes WHERE thread_id = ANY($1::text[])
), blobs AS (
    DELETE FROM checkpoint_blobs WHERE thread_id = ANY($1::text[])
)
DELETE FROM checkpoints WHERE thread_id = ANY($1::text[])
