-- update_thread: merge metadata key by key. By primary key.
UPDATE threads SET metadata = metadata || $3, updated_at = now()
 WHERE thread_id = $1 AND tenant = $2 AND doomed_at IS NULL
RETURNING thread_json(threads) AS row
