-- list_checkpoints: a page of a thread's checkpoints, newest first, after ($6, $7). What only keeps others readable
-- (compacted) is not a step that anybody took. For a saver; by primary key.
SELECT found.thread_id, found.checkpoint_ns, found.checkpoint_id, found.parent_checkpoint_id,
       found.checkpoint::text AS checkpoint, found.metadata::text AS metadata,
       stored.blob_channels, stored.blob_versions, stored.blob_types, stored.blobs,
       pending.write_tasks, pending.write_idxs, pending.write_channels, pending.write_types, pending.write_blobs,
       pending.write_paths,
       (SELECT parent.metadata ? 'compacted' FROM checkpoints AS parent
         WHERE parent.thread_id = found.thread_id AND parent.checkpoint_ns = found.checkpoint_ns
           AND parent.checkpoint_id = found.parent_checkpoint_id) AS parent_is_compacted
  FROM (
    SELECT thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, checkpoint, metadata
      FROM checkpoints
     WHERE thread_id = $1 AND ($2::text IS NULL OR checkpoint_ns = $2)
       AND ($3::text IS NULL OR checkpoint_id = $3) AND ($4::jsonb IS NULL OR metadata @> $4)
       AND NOT EXISTS (SELECT FROM jsonb_each($4) AS wanted WHERE metadata -> wanted.key <> wanted.value)
       AND ($5::text IS NULL OR checkpoint_id < $5)
       AND ($6::text IS NULL OR (checkpoint_id, checkpoint_ns) < ($6, $7::text))
       AND NOT metadata ? 'compacted'
     ORDER BY checkpoint_id DESC, checkpoint_ns DESC
     LIMIT $8
  ) AS found
 CROSS JOIN LATERAL (
    SELECT array_agg(blobs.channel) AS blob_channels, array_agg(blobs.version) AS blob_versions,
           array_agg(blobs.type) AS blob_types, array_agg(blobs.blob) AS blobs
      FROM jsonb_each_text(found.checkpoint -> 'channel_versions') AS versions
     CROSS JOIN LATERAL (
        SELECT channel, version, type, blob
          FROM checkpoint_blobs
         WHERE thread_id = found.thread_id AND checkpoint_ns = found.checkpoint_ns
           AND channel = versions.key AND version = versions.value
         LIMIT 1
     ) AS blobs
  ) AS stored
 CROSS JOIN LATERAL (
    SELECT array_agg(writes.task_id) AS write_tasks, array_agg(writes.idx) AS write_idxs,
           array_agg(writes.channel) AS write_channels, array_agg(writes.type) AS write_types,
           array_agg(writes.blob) AS write_blobs, array_agg(writes.task_path) AS write_paths
      FROM checkpoint_writes AS writes
     WHERE writes.thread_id = found.thread_id AND writes.checkpoint_ns = found.checkpoint_ns
       AND writes.checkpoint_id = found.checkpoint_id
  ) AS pending
 ORDER BY found.checkpoint_id DESC, found.checkpoint_ns DESC
