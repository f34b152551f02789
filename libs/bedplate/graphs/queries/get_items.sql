-- get_items: the items $1, $2 (prefix, key) of a store, by their position; $3: reading it prolongs its life. $4: not
-- those that have expired. $5, $6: the attempt that reads, whose takeover ends the prolonging. By primary key.
WITH wanted AS (
    SELECT * FROM unnest($1::text[], $2::text[], $3::bool[]) WITH ORDINALITY AS wanted (prefix, key, prolongs, position)
), prolonged AS (
    UPDATE store
       SET expires_at = now() + store.ttl_minutes * interval '1 minute'
      FROM wanted
     WHERE store.prefix = wanted.prefix AND store.key = wanted.key AND wanted.prolongs
       AND store.ttl_minutes IS NOT NULL AND store.expires_at > now()
       AND ($5::uuid IS NULL
            OR EXISTS (SELECT FROM runs WHERE run_id = $5 AND attempt = $6::int AND status = 'running'))
)
SELECT wanted.position, store.value::text AS value, store.created_at, store.updated_at
  FROM wanted
  JOIN store ON store.prefix = wanted.prefix AND store.key = wanted.key
 WHERE NOT $4::bool OR store.expires_at IS NULL OR store.expires_at > now()
