-- update_thread: merge metadata key by key; $4: it lives $5 minutes from now on, by the strategy $6. By primary key.
UPDATE threads
   SET metadata = metadata || $3, updated_at = now(),
       ttl_minutes = CASE WHEN $4::bool THEN $5::float8 ELSE ttl_minutes END,
       ttl_strategy = CASE WHEN $4 THEN $6::text ELSE ttl_strategy END
 WHERE thread_id = $1 AND tenant = $2 AND doomed_at IS NULL
RETURNING thread_json(threads) AS row
