-- read_sends: the pending sends of checkpoints, which checkpoints before format 4 read from their parent.
-- For a saver; by primary key.
SELECT checkpoint_ns, checkpoint_id, type, blob
  FROM checkpoint_writes
 WHERE thread_id = $1 AND checkpoint_id = ANY($2::text[]) AND channel = '__pregel_tasks'
 ORDER BY checkpoint_ns, checkpoint_id, task_path COLLATE "C", task_id COLLATE "C", idx
