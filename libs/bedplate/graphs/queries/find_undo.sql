-- find_undo: whether a run has written onto a checkpoint of an earlier run. For an attempt that is not its first; index
-- checkpoint_undo_by_run.
SELECT 1 AS found
  FROM checkpoint_undo
 WHERE run_id = $1
 LIMIT 1
