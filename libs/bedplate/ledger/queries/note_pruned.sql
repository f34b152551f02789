-- note_pruned: a sweep has left these threads their newest checkpoints; they are not updated by that. By primary key.
UPDATE threads SET pruned_at = now() WHERE thread_id = ANY($1::uuid[])
