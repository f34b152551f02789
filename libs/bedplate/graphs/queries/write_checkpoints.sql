-- write_checkpoints: what several attempts have to store, in one commit. For the committer; by primary key.
-- $1-$3 are the attempts: a number, the run, the attempt. Every row carries such a number; 0 is guarded by nothing.
-- The numbers that come back were held: their rows are stored; the rows of the others are not.
-- $30: nobody waits for them, so the commit does not wait for the disk. What waits for the disk later, the end of the run
-- at the latest, takes them along; a server that crashes before loses both, and the run goes on from what it has.
WITH held AS MATERIALIZED (
    -- A takeover takes the same row FOR UPDATE: it happens after this commit, or this finds it done.
    SELECT runs.run_id, runs.attempt
      FROM runs
     WHERE runs.run_id = ANY($2::uuid[]) AND runs.status = 'running'
     ORDER BY runs.run_id
       FOR KEY SHARE
), accepted AS MATERIALIZED (
    SELECT fences.number
      FROM unnest($1::int[], $2::uuid[], $3::int[]) AS fences (number, run_id, attempt)
      JOIN held ON held.run_id = fences.run_id AND held.attempt = fences.attempt
     UNION ALL
    SELECT 0
), put AS (
    INSERT INTO checkpoints (thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, checkpoint, metadata)
    SELECT rows.thread_id, rows.checkpoint_ns, rows.checkpoint_id, rows.parent_checkpoint_id,
           rows.checkpoint::jsonb, rows.metadata::jsonb
      FROM unnest($4::int[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[])
           AS rows (number, thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, checkpoint, metadata)
      JOIN accepted ON accepted.number = rows.number
        ON CONFLICT (thread_id, checkpoint_ns, checkpoint_id)
        DO UPDATE SET checkpoint = EXCLUDED.checkpoint, metadata = EXCLUDED.metadata
), put_blobs AS (
    INSERT INTO checkpoint_blobs (thread_id, checkpoint_ns, channel, version, type, blob)
    SELECT rows.thread_id, rows.checkpoint_ns, rows.channel, rows.version, rows.type, rows.blob
      FROM unnest($11::int[], $12::text[], $13::text[], $14::text[], $15::text[], $16::text[], $17::bytea[])
           AS rows (number, thread_id, checkpoint_ns, channel, version, type, blob)
      JOIN accepted ON accepted.number = rows.number
        ON CONFLICT (thread_id, checkpoint_ns, channel, version) DO NOTHING
), writes AS MATERIALIZED (
    SELECT rows.*
      FROM unnest($18::int[], $19::text[], $20::text[], $21::text[], $22::text[], $23::int[], $24::text[],
                  $25::text[], $26::bytea[], $27::text[], $28::bool[], $29::text[])
           AS rows (number, thread_id, checkpoint_ns, checkpoint_id, task_id, idx, channel,
                    type, blob, task_path, overwrites, undo_run)
      JOIN accepted ON accepted.number = rows.number
), put_undo AS (
    INSERT INTO checkpoint_undo (run_id, thread_id, checkpoint_ns, checkpoint_id, task_id, idx,
                                 before_channel, before_type, before_blob, before_task_path)
    SELECT writes.undo_run, writes.thread_id, writes.checkpoint_ns, writes.checkpoint_id, writes.task_id, writes.idx,
           earlier.channel, earlier.type, earlier.blob, earlier.task_path
      FROM writes
      LEFT JOIN checkpoint_writes AS earlier
        ON earlier.thread_id = writes.thread_id AND earlier.checkpoint_ns = writes.checkpoint_ns
       AND earlier.checkpoint_id = writes.checkpoint_id AND earlier.task_id = writes.task_id
       AND earlier.idx = writes.idx
     WHERE writes.undo_run IS NOT NULL AND (writes.overwrites OR earlier.task_id IS NULL)
        ON CONFLICT (thread_id, checkpoint_ns, checkpoint_id, task_id, idx, run_id) DO NOTHING
), put_writes AS (
    INSERT INTO checkpoint_writes (thread_id, checkpoint_ns, checkpoint_id, task_id, idx, channel, type, blob, task_path)
    SELECT thread_id, checkpoint_ns, checkpoint_id, task_id, idx, channel, type, blob, task_path
      FROM writes
     WHERE NOT overwrites
        ON CONFLICT (thread_id, checkpoint_ns, checkpoint_id, task_id, idx) DO NOTHING
), put_overwrites AS (
    INSERT INTO checkpoint_writes (thread_id, checkpoint_ns, checkpoint_id, task_id, idx, channel, type, blob, task_path)
    SELECT thread_id, checkpoint_ns, checkpoint_id, task_id, idx, channel, type, blob, task_path
      FROM writes
     WHERE overwrites
        ON CONFLICT (thread_id, checkpoint_ns, checkpoint_id, task_id, idx)
        DO UPDATE SET channel = EXCLUDED.channel, type = EXCLUDED.type, blob = EXCLUDED.blob
)
SELECT number, CASE WHEN $30::bool THEN set_config('synchronous_commit', 'off', true) END
  FROM accepted
 WHERE number > 0
