-- write_items: remove the items $3, $4 and put $5-$8 (prefix, key, value, minutes to live) with the vectors $9-$12
-- (prefix, key, field, embedding), all of it or, when the attempt $1, $2 does not hold its run any more, none. An
-- overwritten item keeps its birthday, unless it had expired, and none of its old vectors. By primary keys.
WITH held AS MATERIALIZED (
    SELECT run_id FROM runs WHERE run_id = $1::uuid AND attempt = $2::int AND status = 'running' FOR KEY SHARE
), accepted AS MATERIALIZED (
    SELECT WHERE $1::uuid IS NULL OR EXISTS (SELECT FROM held)
), removed AS (
    DELETE FROM store
     USING unnest($3::text[], $4::text[]) AS gone (prefix, key), accepted
     WHERE store.prefix = gone.prefix AND store.key = gone.key
), put AS (
    INSERT INTO store (prefix, key, value, created_at, updated_at, expires_at, ttl_minutes)
    SELECT rows.prefix, rows.key, rows.value::jsonb, now(), now(),
           now() + rows.minutes * interval '1 minute', ceil(rows.minutes)::int
      FROM unnest($5::text[], $6::text[], $7::text[], $8::float8[]) AS rows (prefix, key, value, minutes), accepted
        ON CONFLICT (prefix, key) DO UPDATE
       SET value = EXCLUDED.value, updated_at = EXCLUDED.updated_at, expires_at = EXCLUDED.expires_at,
           ttl_minutes = EXCLUDED.ttl_minutes,
           created_at = CASE WHEN store.expires_at <= now() THEN EXCLUDED.created_at ELSE store.created_at END
), vectors AS (
    SELECT * FROM unnest($9::text[], $10::text[], $11::text[], $12::text[]) AS rows (prefix, key, field_name, embedding)
), stale AS (
    DELETE FROM store_vectors
     USING unnest($5::text[], $6::text[]) AS rows (prefix, key), accepted
     WHERE store_vectors.prefix = rows.prefix AND store_vectors.key = rows.key
       AND NOT EXISTS (SELECT FROM vectors
                        WHERE vectors.prefix = store_vectors.prefix AND vectors.key = store_vectors.key
                          AND vectors.field_name = store_vectors.field_name)
), placed AS (
    INSERT INTO store_vectors (prefix, key, field_name, embedding)
    SELECT vectors.prefix, vectors.key, vectors.field_name, vectors.embedding::real[] FROM vectors, accepted
        ON CONFLICT (prefix, key, field_name) DO UPDATE
       SET embedding = EXCLUDED.embedding, updated_at = now()
)
SELECT count(*) > 0 AS is_accepted FROM accepted
