-- fold_writes: copy the writes of a path onto its remnant, which is called $3 until the path is gone. $4, $5, $6:
-- checkpoint, channel, and the checkpoint's place in the path, oldest first. Their order is in the task path alone,
-- behind every real one, as LangGraph itself does for the writes of durability "exit".
INSERT INTO checkpoint_writes (thread_id, checkpoint_ns, checkpoint_id, task_id, idx, channel, type, blob, task_path)
SELECT $1, $2, $3, gen_random_uuid()::text, 0, folded.channel, folded.type, folded.blob,
       '~~' || lpad(folded.place::text, 10, '0')
  FROM (
    SELECT writes.channel, writes.type, writes.blob,
           row_number() OVER (ORDER BY sources.place, writes.task_path COLLATE "C", writes.task_id COLLATE "C",
                                       writes.idx) AS place
      FROM unnest($4::text[], $5::text[], $6::int[]) AS sources (checkpoint_id, channel, place)
      JOIN checkpoint_writes AS writes
        ON writes.thread_id = $1 AND writes.checkpoint_ns = $2
       AND writes.checkpoint_id = sources.checkpoint_id AND writes.channel = sources.channel
  ) AS folded
