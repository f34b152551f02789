-- find_threads_of_runs: the threads in which runs left anything. Reads the whole table of checkpoints: for the
-- conformance kit and tools; the ledger knows the thread of a run.
SELECT thread_id FROM checkpoints WHERE metadata ->> 'run_id' = ANY($1::text[])
 UNION
SELECT thread_id FROM checkpoint_undo WHERE run_id = ANY($1::text[])
