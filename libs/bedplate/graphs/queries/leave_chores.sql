-- leave_chores: what an executor is to do to the checkpoints of the threads $1, with the change it belongs to.
INSERT INTO checkpoint_chores (thread_id, strategy) SELECT thread_id, $2 FROM unnest($1::text[]) AS threads (thread_id)
