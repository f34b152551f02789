-- read_written: which of the checkpoints $3 have writes for which of the channels $4. For a compaction; by primary key.
SELECT DISTINCT checkpoint_id, channel
  FROM checkpoint_writes
 WHERE thread_id = $1 AND checkpoint_ns = $2 AND checkpoint_id = ANY($3::text[]) AND channel = ANY($4::text[])
