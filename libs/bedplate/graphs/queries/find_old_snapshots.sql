-- find_old_snapshots: the stored values of a DeltaChannel $3 but for the newest two, with what says whether they are needed.
-- For an attempt that has stored $4 of them. By primary keys; reads back no further than $4 + 2 values reach.
WITH marked AS MATERIALIZED (
    SELECT checkpoint_id, parent_checkpoint_id, metadata, checkpoint -> 'channel_versions' ->> $3 AS version,
           row_number() OVER (ORDER BY checkpoint_id DESC) AS age
      FROM checkpoints
     WHERE thread_id = $1 AND checkpoint_ns = $2 AND checkpoint -> 'channel_values' -> $3 = 'true'
     ORDER BY checkpoint_id DESC
     LIMIT $4::int + 2
)
SELECT marked.checkpoint_id, marked.version, older.version AS older_version, writes.are_plain,
       marked.metadata ->> 'source' = 'loop' AND parent.metadata ->> 'source' IN ('loop', 'input')
       AND marked.metadata ->> 'run_id' = parent.metadata ->> 'run_id'
       AND marked.metadata -> 'run_attempt' IS NOT DISTINCT FROM parent.metadata -> 'run_attempt' AS is_within_attempt
  FROM marked
  JOIN checkpoints AS parent
    ON parent.thread_id = $1 AND parent.checkpoint_ns = $2 AND parent.checkpoint_id = marked.parent_checkpoint_id
 CROSS JOIN LATERAL (
    SELECT max(version) AS version
      FROM checkpoint_blobs
     WHERE thread_id = $1 AND checkpoint_ns = $2 AND channel = $3 AND version < marked.version AND type <> 'empty'
 ) AS older
 CROSS JOIN LATERAL (
    SELECT bool_and(type = 'msgpack' AND position('verwrite'::bytea IN blob) = 0) AS are_plain
      FROM checkpoint_writes
     WHERE thread_id = $1 AND checkpoint_ns = $2 AND checkpoint_id = marked.parent_checkpoint_id AND channel = $3
 ) AS writes
 WHERE marked.age > 2
   AND NOT EXISTS (
       SELECT FROM marked AS other
        WHERE other.version = marked.version AND other.checkpoint_id <> marked.checkpoint_id)
