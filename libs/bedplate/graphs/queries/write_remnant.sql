-- write_remnant: turn the checkpoint $3 into what is left of the path above it. $5: channel -> the checkpoint whose
-- stored value it takes over.
WITH seeds AS (
    SELECT seeds.key AS channel,
           checkpoints.checkpoint -> 'channel_versions' -> seeds.key AS version,
           checkpoints.checkpoint -> 'channel_values' -> seeds.key AS inline
      FROM jsonb_each_text($5::jsonb) AS seeds
      JOIN checkpoints
        ON checkpoints.thread_id = $1 AND checkpoints.checkpoint_ns = $2
       AND checkpoints.checkpoint_id = seeds.value
)
UPDATE checkpoints
   SET parent_checkpoint_id = $4,
       checkpoint = jsonb_build_object(
           'v', 4, 'id', checkpoint_id, 'ts', checkpoint -> 'ts', 'versions_seen', '{}'::jsonb,
           'updated_channels', NULL,
           'channel_versions',
           (SELECT coalesce(jsonb_object_agg(channel, version), '{}') FROM seeds),
           'channel_values',
           (SELECT coalesce(jsonb_object_agg(channel, inline) FILTER (WHERE inline IS NOT NULL), '{}') FROM seeds)),
       metadata = jsonb_build_object(
           'source', 'fork', 'step', coalesce(metadata -> 'step', '-2'), 'parents', '{}'::jsonb, 'compacted', true)
 WHERE thread_id = $1 AND checkpoint_ns = $2 AND checkpoint_id = $3
