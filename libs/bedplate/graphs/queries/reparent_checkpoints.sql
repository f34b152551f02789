-- reparent_checkpoints: checkpoints whose parent has gone get the next one that stays. By primary key.
UPDATE checkpoints
   SET parent_checkpoint_id = moves.parent
  FROM unnest($3::text[], $4::text[]) AS moves (checkpoint_id, parent)
 WHERE checkpoints.thread_id = $1 AND checkpoints.checkpoint_ns = $2
   AND checkpoints.checkpoint_id = moves.checkpoint_id
