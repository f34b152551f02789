-- read_delta_history: for each channel of $4 the writes on the ancestors of a checkpoint, back to the nearest stored
-- value, and that value. $3 NULL: the newest. For a saver, in one round trip; by primary keys.
-- Each step looks up its one row by LIMIT or OFFSET, which keeps the planner from joining: without statistics it expects
-- one row of a thread, and would read all of them once for every ancestor.
WITH RECURSIVE walk AS (
    SELECT 0 AS depth, NULL::text AS checkpoint_id, target.parent_checkpoint_id, $4::text[] AS wanted,
           '{}'::text[] AS stored, NULL::jsonb AS channel_values, NULL::jsonb AS channel_versions
      FROM (
        SELECT parent_checkpoint_id
          FROM checkpoints
         WHERE thread_id = $1 AND checkpoint_ns = $2 AND ($3::text IS NULL OR checkpoint_id = $3)
         ORDER BY checkpoint_id DESC
         LIMIT 1
      ) AS target
     UNION ALL
    SELECT walk.depth + 1, ancestor.checkpoint_id, ancestor.parent_checkpoint_id, remaining.wanted,
           ends.stored, ancestor.channel_values, ancestor.channel_versions
      FROM walk
     CROSS JOIN LATERAL (
        SELECT ARRAY(
            SELECT channel FROM unnest(walk.wanted) AS channel WHERE channel <> ALL(walk.stored)
        ) AS wanted
     ) AS remaining
     CROSS JOIN LATERAL (
        SELECT checkpoint_id, parent_checkpoint_id,
               checkpoint -> 'channel_values' AS channel_values, checkpoint -> 'channel_versions' AS channel_versions
          FROM checkpoints
         WHERE thread_id = $1 AND checkpoint_ns = $2 AND checkpoint_id = walk.parent_checkpoint_id
         LIMIT 1
     ) AS ancestor
     CROSS JOIN LATERAL (
        SELECT ARRAY(
            SELECT channel FROM unnest(remaining.wanted) AS channel
             WHERE jsonb_typeof(ancestor.channel_values -> channel) <> 'null'
                OR (SELECT blobs.type <> 'empty'
                      FROM checkpoint_blobs AS blobs
                     WHERE blobs.thread_id = $1 AND blobs.checkpoint_ns = $2 AND blobs.channel = channel.channel
                       AND blobs.version = ancestor.channel_versions ->> channel.channel)
        ) AS stored
     ) AS ends
     WHERE cardinality(remaining.wanted) > 0
)
SELECT walk.depth, writes.channel, writes.type, writes.blob, writes.task_id, writes.task_path, writes.idx,
       NULL::text AS inline
  FROM walk
 CROSS JOIN LATERAL (
    SELECT channel, type, blob, task_id, task_path, idx
      FROM checkpoint_writes
     WHERE thread_id = $1 AND checkpoint_ns = $2 AND checkpoint_id = walk.checkpoint_id AND channel = ANY(walk.wanted)
    OFFSET 0
 ) AS writes
 UNION ALL
SELECT walk.depth, ended.channel, blobs.type, blobs.blob, NULL, NULL, NULL,
       (walk.channel_values -> ended.channel)::text
  FROM walk
 CROSS JOIN unnest(walk.stored) AS ended (channel)
  LEFT JOIN LATERAL (
    SELECT type, blob
      FROM checkpoint_blobs
     WHERE thread_id = $1 AND checkpoint_ns = $2 AND channel = ended.channel
       AND version = walk.channel_versions ->> ended.channel AND type <> 'empty'
     LIMIT 1
 ) AS blobs ON true
