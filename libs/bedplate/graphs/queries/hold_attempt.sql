-- hold_attempt: no row: this attempt does not hold the run any more. Until the end of the transaction nobody takes it.
-- For a saver that removes or copies; by primary key.
SELECT run_id FROM runs WHERE run_id = $1 AND attempt = $2 AND status = 'running' FOR KEY SHARE
