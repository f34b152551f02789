-- read_counters: per checkpoint of $3 the DeltaChannels that have changed since their last stored value, and whether
-- it reads its sends from its parent. For a compaction; by primary key.
SELECT checkpoint_id, (checkpoint ->> 'v')::int < 4 AS is_old,
       ARRAY(
           SELECT channel
             FROM jsonb_object_keys(metadata -> 'counters_since_delta_snapshot') AS channel
            WHERE checkpoint -> 'channel_versions' ? channel
       ) AS channels
  FROM checkpoints
 WHERE thread_id = $1 AND checkpoint_ns = $2 AND checkpoint_id = ANY($3::text[])
