-- item_conditions: part of the searches, a condition on `store`: where to look ($1-$3), and what a value must be ($4-$6:
-- path, operator, operand; a missing value meets none of them, and what differs in type is not compared). $7: not those
-- that have expired. The place is the prefix $1, or the range $2 to $3 of what begins with it and a period, compared
-- byte by byte: so store_prefix_idx serves it in a plan made for any prefix.
(store.prefix = $1::text OR (store.prefix ~>=~ $2::text AND store.prefix ~<~ $3::text))
   AND (NOT $7::bool OR store.expires_at IS NULL OR store.expires_at > now())
   AND NOT EXISTS (
        SELECT
          FROM unnest($4::text[], $5::text[], $6::text[]) AS conditions (path, operator, operand)
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
