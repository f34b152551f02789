-- find_active_runs: which of the runs that clients follow here are still under way, for the watch. By primary key.
SELECT run_id FROM runs WHERE run_id = ANY($1::uuid[]) AND status IN ('pending', 'running')
