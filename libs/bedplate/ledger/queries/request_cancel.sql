-- request_cancel: ask the executors that have, or will have, these runs to stop. In a transaction that holds the runs.
UPDATE runs SET cancel_action = $2, updated_at = now() WHERE run_id = ANY($1::uuid[])
