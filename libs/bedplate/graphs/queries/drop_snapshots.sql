-- drop_snapshots: the checkpoints $4 hold the value of channel $3 as version $5 no longer. By primary keys.
WITH unmarked AS (
    UPDATE checkpoints
       SET checkpoint = checkpoint #- ARRAY['channel_values', $3]
     WHERE thread_id = $1 AND checkpoint_ns = $2 AND checkpoint_id = ANY($4::text[])
)
DELETE FROM checkpoint_blobs
 WHERE thread_id = $1 AND checkpoint_ns = $2 AND channel = $3 AND version = ANY($5::text[])
