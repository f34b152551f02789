-- search_items: a page of the items at the prefix $1 or below it ($2, a pattern; '' means everywhere), newest first.
-- $3-$5 are conditions: path, operator, operand; a missing value meets none of them, and what differs in type is not
-- compared. $8: reading prolongs. $9: not those that have expired. $10, $11: as in get_items. By store_prefix_idx.
WITH found AS MATERIALIZED (
    SELECT store.prefix, store.key, store.value, store.created_at, store.updated_at
      FROM store
     WHERE ($1::text = '' OR store.prefix = $1 OR store.prefix LIKE $2::text ESCAPE '\')
       AND (NOT $9::bool OR store.expires_at IS NULL OR store.expires_at > now())
       AND NOT EXISTS (
            SELECT
              FROM unnest($3::text[], $4::text[], $5::text[]) AS conditions (path, operator, operand)
             CROSS JOIN LATERAL (
                SELECT store.value #> ARRAY(SELECT jsonb_array_elements_text(conditions.path::jsonb)) AS this,
                       conditions.operand::jsonb AS that
             ) AS pair
             WHERE NOT coalesce(
                CASE conditions.operator
                    WHEN '$eq' THEN pair.this = pair.that
                    WHEN '$ne' THEN pair.this <> pair.that
                    ELSE jsonb_typeof(pair.this) = jsonb_typeof(pair.that)
                         AND CASE conditions.operator
                                 WHEN '$gt' THEN pair.this > pair.that
                                 WHEN '$gte' THEN pair.this >= pair.that
                                 WHEN '$lt' THEN pair.this < pair.that
                                 WHEN '$lte' THEN pair.this <= pair.that
                             END
                END, false))
     ORDER BY store.updated_at DESC, store.prefix, store.key
     LIMIT $6 OFFSET $7
), prolonged AS (
    UPDATE store
       SET expires_at = now() + store.ttl_minutes * interval '1 minute'
      FROM found
     WHERE store.prefix = found.prefix AND store.key = found.key AND $8::bool
       AND store.ttl_minutes IS NOT NULL AND store.expires_at > now()
       AND ($10::uuid IS NULL
            OR EXISTS (SELECT FROM runs WHERE run_id = $10 AND attempt = $11::int AND status = 'running'))
)
SELECT prefix, key, value::text AS value, created_at, updated_at
  FROM found
 ORDER BY updated_at DESC, prefix, key
