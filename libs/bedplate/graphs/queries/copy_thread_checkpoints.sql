-- copy_thread_checkpoints: all that thread $1 has, under the name $2, also where its metadata says the name.
-- By primary keys; twice is harmless.
WITH undo AS (
    INSERT INTO checkpoint_undo (run_id, thread_id, checkpoint_ns, checkpoint_id, task_id, idx,
                                 before_channel, before_type, before_blob, before_task_path)
    SELECT run_id, $2, checkpoint_ns, checkpoint_id, task_id, idx,
           before_channel, before_type, before_blob, before_task_path
      FROM checkpoint_undo
     WHERE thread_id = $1
     ORDER BY n
        ON CONFLICT DO NOTHING
), writes AS (
    INSERT INTO checkpoint_writes (thread_id, checkpoint_ns, checkpoint_id, task_id, idx, channel, type, blob, task_path)
    SELECT $2, checkpoint_ns, checkpoint_id, task_id, idx, channel, type, blob, task_path
      FROM checkpoint_writes
     WHERE thread_id = $1
        ON CONFLICT DO NOTHING
), blobs AS (
    INSERT INTO checkpoint_blobs (thread_id, checkpoint_ns, channel, version, type, blob)
    SELECT $2, checkpoint_ns, channel, version, type, blob
      FROM checkpoint_blobs
     WHERE thread_id = $1
        ON CONFLICT DO NOTHING
)
INSERT INTO checkpoints (thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata)
SELECT $2, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint,
       CASE WHEN metadata ? 'thread_id' THEN jsonb_set(metadata, '{thread_id}', to_jsonb($2::text)) ELSE metadata END
  FROM checkpoints
 WHERE thread_id = $1
    ON CONFLICT DO NOTHING
