-- copy_thread: the row under a new id, with what it shows, without runs. By primary key.
INSERT INTO threads (thread_id, tenant, status, settled_status, metadata, config, "values", interrupts, error)
SELECT $2::uuid, tenant, settled_status, settled_status, metadata, config, "values", interrupts, error
  FROM threads
 WHERE thread_id = $1 AND tenant = $3 AND doomed_at IS NULL
RETURNING thread_json(threads) AS row
