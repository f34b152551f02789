-- find_threads_of_known_runs: the threads of the runs that the ledger has. For a rollback; by primary key.
SELECT run_id::text AS run_id, thread_id::text AS thread_id FROM runs WHERE run_id = ANY($1::uuid[])
