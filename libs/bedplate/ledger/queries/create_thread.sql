-- create_thread: a thread, or the one that is there already (is_new = false). No row: it is another tenant's, or about to be swept.
WITH written AS (
    INSERT INTO threads (thread_id, tenant, metadata, ttl_minutes, ttl_strategy) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (thread_id) DO NOTHING
 RETURNING thread_json(threads) AS row
)
SELECT true AS is_new, row FROM written
UNION ALL
SELECT false, thread_json(threads)
  FROM threads
 WHERE thread_id = $1 AND tenant = $2 AND doomed_at IS NULL AND NOT EXISTS (SELECT FROM written)
