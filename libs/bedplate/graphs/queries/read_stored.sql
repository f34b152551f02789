-- read_stored: which of the checkpoints $3 have a value of their own for which of the channels $4, in the same sense
-- as read_delta_history. For a compaction; by primary keys.
SELECT checkpoints.checkpoint_id, channels.channel
  FROM checkpoints
 CROSS JOIN unnest($4::text[]) AS channels (channel)
 WHERE checkpoints.thread_id = $1 AND checkpoints.checkpoint_ns = $2 AND checkpoints.checkpoint_id = ANY($3::text[])
   AND (jsonb_typeof(checkpoints.checkpoint -> 'channel_values' -> channels.channel) <> 'null'
        OR EXISTS (
            SELECT FROM checkpoint_blobs AS blobs
             WHERE blobs.thread_id = $1 AND blobs.checkpoint_ns = $2 AND blobs.channel = channels.channel
               AND blobs.version = checkpoints.checkpoint -> 'channel_versions' ->> channels.channel
               AND blobs.type <> 'empty'))
