-- forget_run: the row of a run that is over; its checkpoints are gone already. By primary key.
DELETE FROM runs WHERE run_id = $1 AND status NOT IN ('pending', 'running') RETURNING thread_id
