-- lock_threads: threads about to be deleted, in the order of every lock. By primary key.
SELECT thread_id, current_run FROM threads
 WHERE thread_id = ANY($1::uuid[]) AND tenant = $2 ORDER BY thread_id FOR UPDATE
