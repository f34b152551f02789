-- lock_thread: a thread for a decision in this transaction. No row: no such thread. By primary key.
SELECT runs_active FROM threads WHERE thread_id = $1 AND tenant = $2 AND doomed_at IS NULL FOR UPDATE
