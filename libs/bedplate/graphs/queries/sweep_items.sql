-- sweep_items: remove at most $1 expired items, the longest expired first. By idx_store_expires_at.
WITH expired AS (
    SELECT prefix, key FROM store
     WHERE expires_at IS NOT NULL AND expires_at < now()
     ORDER BY expires_at
     LIMIT $1
       FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM store USING expired
     WHERE store.prefix = expired.prefix AND store.key = expired.key
 RETURNING 1
)
SELECT count(*) FROM gone
