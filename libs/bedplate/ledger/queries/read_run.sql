-- read_run: one run as clients see it, for an order that was sent twice. By primary key.
SELECT run_json(runs) AS row FROM runs WHERE run_id = $1 AND thread_id = $2 AND tenant = $3
