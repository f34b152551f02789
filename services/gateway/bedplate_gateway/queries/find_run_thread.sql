-- find_run_thread: the thread a run is on, for authorization. By primary key.
SELECT thread_id FROM runs WHERE run_id = $2 AND tenant = $1
