-- search_items: a page of the items that meet item_conditions ($1-$7), newest first. $8, $9: limit and offset. $10:
-- reading prolongs. $11, $12: the attempt that reads, as in get_items. By store_prefix_idx.
WITH found AS MATERIALIZED (
    SELECT store.prefix, store.key, store.value, store.created_at, store.updated_at
      FROM store
     WHERE {conditions}
     ORDER BY store.updated_at DESC, store.prefix, store.key
     LIMIT $8 OFFSET $9
), prolonged AS (
    UPDATE store
       SET expires_at = now() + store.ttl_minutes * interval '1 minute'
      FROM found
     WHERE store.prefix = found.prefix AND store.key = found.key AND $10::bool
       AND store.ttl_minutes IS NOT NULL AND store.expires_at > now()
       AND ($11::uuid IS NULL
            OR EXISTS (SELECT FROM runs WHERE run_id = $11 AND attempt = $12::int AND status = 'running'))
)
SELECT prefix, key, value::text AS value, created_at, updated_at
  FROM found
 ORDER BY updated_at DESC, prefix, key
