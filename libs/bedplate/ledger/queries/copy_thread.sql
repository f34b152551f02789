-- copy_thread: the row under a new id, with what it shows and as long to live, without runs. By primary key.
INSERT INTO threads (thread_id, tenant, status, settled_status, metadata, config, "values", interrupts, error,
                     ttl_minutes, ttl_strategy)
SELECT $2::uuid, tenant, settled_status, settled_status, metadata || $4::jsonb, config, "values", interrupts, error,
       ttl_minutes, ttl_strategy
  FROM threads
 WHERE thread_id = $1 AND tenant = $3 AND doomed_at IS NULL
RETURNING thread_json(threads) AS row
