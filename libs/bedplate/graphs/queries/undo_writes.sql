-- undo_writes: what the runs $2 wrote onto the checkpoints $3, $4 (namespace, id) goes, and what had stood there comes
-- back. What a later run wrote over it stays, and remembers the earlier one instead. On other checkpoints only the
-- memory goes. For a rollback; by primary key.
WITH undone AS (
    DELETE FROM checkpoint_undo WHERE thread_id = $1 AND run_id = ANY($2::text[])
 RETURNING checkpoint_ns, checkpoint_id, task_id, idx, n, before_channel, before_type, before_blob, before_task_path
), first AS (
    SELECT DISTINCT ON (undone.checkpoint_ns, undone.checkpoint_id, undone.task_id, undone.idx) undone.*,
           (SELECT min(later.n)
              FROM checkpoint_undo AS later
             WHERE later.thread_id = $1 AND later.checkpoint_ns = undone.checkpoint_ns
               AND later.checkpoint_id = undone.checkpoint_id AND later.task_id = undone.task_id
               AND later.idx = undone.idx AND later.run_id <> ALL($2::text[]) AND later.n > undone.n) AS later_n
      FROM undone
      JOIN unnest($3::text[], $4::text[]) AS places (checkpoint_ns, checkpoint_id)
        ON places.checkpoint_ns = undone.checkpoint_ns AND places.checkpoint_id = undone.checkpoint_id
     ORDER BY undone.checkpoint_ns, undone.checkpoint_id, undone.task_id, undone.idx, undone.n
), remembered AS (
    UPDATE checkpoint_undo AS later
       SET before_channel = first.before_channel, before_type = first.before_type,
           before_blob = first.before_blob, before_task_path = first.before_task_path
      FROM first
     WHERE later.thread_id = $1 AND later.checkpoint_ns = first.checkpoint_ns
       AND later.checkpoint_id = first.checkpoint_id AND later.task_id = first.task_id
       AND later.idx = first.idx AND later.n = first.later_n
), removed AS (
    DELETE FROM checkpoint_writes AS writes
     USING first
     WHERE writes.thread_id = $1 AND writes.checkpoint_ns = first.checkpoint_ns
       AND writes.checkpoint_id = first.checkpoint_id AND writes.task_id = first.task_id
       AND writes.idx = first.idx AND first.later_n IS NULL AND first.before_channel IS NULL
)
UPDATE checkpoint_writes AS writes
   SET channel = first.before_channel, type = first.before_type, blob = first.before_blob,
       task_path = first.before_task_path
  FROM first
 WHERE writes.thread_id = $1 AND writes.checkpoint_ns = first.checkpoint_ns
   AND writes.checkpoint_id = first.checkpoint_id AND writes.task_id = first.task_id
   AND writes.idx = first.idx AND first.later_n IS NULL AND first.before_channel IS NOT NULL
