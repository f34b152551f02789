-- request_cancel: ask the executor that has, or will have, the run to stop. In lock_run's transaction.
UPDATE runs SET cancel_action = $2, updated_at = now() WHERE run_id = $1
