-- read_tree: every checkpoint of a thread, as a node. For a compaction; by primary key.
SELECT checkpoint_ns, checkpoint_id, parent_checkpoint_id, metadata ->> 'run_id' AS run_id,
       metadata ? 'compacted' AS is_compacted, metadata -> 'parents' ->> '' AS root
  FROM checkpoints
 WHERE thread_id = $1
