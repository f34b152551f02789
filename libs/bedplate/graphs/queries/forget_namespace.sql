-- forget_namespace: everything of namespaces of a thread. By primary keys.
WITH undo AS (
    DELETE FROM checkpoint_undo WHERE thread_id = $1 AND checkpoint_ns = ANY($2::text[])
), writes AS (
    DELETE FROM checkpoint_writes WHERE thread_id = $1 AND checkpoint_ns = ANY($2::text[])
), blobs AS (
    DELETE FROM checkpoint_blobs WHERE thread_id = $1 AND checkpoint_ns = ANY($2::text[])
)
DELETE FROM checkpoints WHERE thread_id = $1 AND checkpoint_ns = ANY($2::text[])
