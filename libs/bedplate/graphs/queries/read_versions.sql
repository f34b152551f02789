-- read_versions: the blobs that checkpoints refer to: of $3, or of all in the namespace. By primary key.
SELECT DISTINCT versions.key AS channel, versions.value AS version
  FROM checkpoints
 CROSS JOIN LATERAL jsonb_each_text(checkpoints.checkpoint -> 'channel_versions') AS versions
 WHERE checkpoints.thread_id = $1 AND checkpoints.checkpoint_ns = $2
   AND ($3::text[] IS NULL OR checkpoints.checkpoint_id = ANY($3::text[]))
