-- get_run: as clients see it, by primary key.
SELECT run_json(runs) AS row
  FROM runs JOIN threads USING (thread_id)
 WHERE runs.run_id = $3 AND runs.thread_id = $2 AND runs.tenant = $1 AND threads.doomed_at IS NULL
