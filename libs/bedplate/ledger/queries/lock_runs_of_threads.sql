-- lock_runs_of_threads: runs about to be deleted with their threads, in the order of every lock; the cascade would take
-- them in its own, against a claim or renewal of many. Index runs_of_thread.
SELECT run_id FROM runs WHERE thread_id = ANY($1::uuid[]) ORDER BY run_id FOR UPDATE
