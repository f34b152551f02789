-- patch_newest: merge $2 key by key into the metadata of a thread's newest checkpoint. No row: it has none. By primary key.
UPDATE checkpoints
   SET metadata = metadata || $2::jsonb
 WHERE thread_id = $1 AND checkpoint_ns = ''
   AND checkpoint_id = (SELECT max(checkpoint_id) FROM checkpoints
                         WHERE thread_id = $1 AND checkpoint_ns = '' AND NOT metadata ? 'compacted')
RETURNING checkpoint_id
