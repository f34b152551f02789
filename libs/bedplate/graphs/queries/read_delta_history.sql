-- read_delta_history: for each channel of $4 the writes on the ancestors of a checkpoint, back to the nearest stored
-- value, and that value. $3 NULL: the newest. For a saver, in one round trip; by primary keys.
WITH RECURSIVE target AS (
    SELECT parent_checkpoint_id
      FROM checkpoints
     WHERE thread_id = $1 AND checkpoint_ns = $2 AND ($3::text IS NULL OR checkpoint_id = $3)
     ORDER BY checkpoint_id DESC
     LIMIT 1
), walk AS (
    SELECT ancestors.checkpoint_id, ancestors.parent_checkpoint_id, 1 AS depth, $4::text[] AS wanted, ends.stored
      FROM target
      JOIN checkpoints AS ancestors
        ON ancestors.thread_id = $1 AND ancestors.checkpoint_ns = $2
       AND ancestors.checkpoint_id = target.parent_checkpoint_id
     CROSS JOIN LATERAL (
        SELECT ARRAY(
            SELECT channel FROM unnest($4::text[]) AS channel
             WHERE jsonb_typeof(ancestors.checkpoint -> 'channel_values' -> channel) <> 'null'
                OR EXISTS (
                    SELECT FROM checkpoint_blobs AS blobs
                     WHERE blobs.thread_id = $1 AND blobs.checkpoint_ns = $2 AND blobs.channel = channel.channel
                       AND blobs.version = ancestors.checkpoint -> 'channel_versions' ->> channel
                       AND blobs.type <> 'empty')
        ) AS stored
     ) AS ends
     UNION ALL
    SELECT ancestors.checkpoint_id, ancestors.parent_checkpoint_id, walk.depth + 1, remaining.wanted, ends.stored
      FROM walk
     CROSS JOIN LATERAL (
        SELECT ARRAY(
            SELECT channel FROM unnest(walk.wanted) AS channel WHERE channel <> ALL(walk.stored)
        ) AS wanted
     ) AS remaining
      JOIN checkpoints AS ancestors
        ON ancestors.thread_id = $1 AND ancestors.checkpoint_ns = $2
       AND ancestors.checkpoint_id = walk.parent_checkpoint_id
     CROSS JOIN LATERAL (
        SELECT ARRAY(
            SELECT channel FROM unnest(remaining.wanted) AS channel
             WHERE jsonb_typeof(ancestors.checkpoint -> 'channel_values' -> channel) <> 'null'
                OR EXISTS (
                    SELECT FROM checkpoint_blobs AS blobs
                     WHERE blobs.thread_id = $1 AND blobs.checkpoint_ns = $2 AND blobs.channel = channel.channel
                       AND blobs.version = ancestors.checkpoint -> 'channel_versions' ->> channel
                       AND blobs.type <> 'empty')
        ) AS stored
     ) AS ends
     WHERE cardinality(remaining.wanted) > 0
)
SELECT walk.depth, writes.channel, writes.type, writes.blob, writes.task_id, writes.task_path, writes.idx,
       NULL::text AS inline
  FROM walk
  JOIN checkpoint_writes AS writes
    ON writes.thread_id = $1 AND writes.checkpoint_ns = $2 AND writes.checkpoint_id = walk.checkpoint_id
   AND writes.channel = ANY(walk.wanted)
 UNION ALL
SELECT walk.depth, ended.channel, blobs.type, blobs.blob, NULL, NULL, NULL,
       (seeds.checkpoint -> 'channel_values' -> ended.channel)::text
  FROM walk
 CROSS JOIN unnest(walk.stored) AS ended (channel)
  JOIN checkpoints AS seeds
    ON seeds.thread_id = $1 AND seeds.checkpoint_ns = $2 AND seeds.checkpoint_id = walk.checkpoint_id
  LEFT JOIN checkpoint_blobs AS blobs
    ON blobs.thread_id = $1 AND blobs.checkpoint_ns = $2 AND blobs.channel = ended.channel
   AND blobs.version = seeds.checkpoint -> 'channel_versions' ->> ended.channel AND blobs.type <> 'empty'
