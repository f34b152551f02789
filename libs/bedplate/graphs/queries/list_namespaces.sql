-- list_namespaces: the namespaces that have items and match all patterns of $3, cut to $1 labels. $2: not where all
-- items have expired. Within $6, or the range $7 to $8 of what begins with it, as in item_conditions: by store_prefix_idx.
SELECT DISTINCT array_to_string((string_to_array(prefix, '.'))[1:coalesce($1::int, 2147483647)], '.') AS namespace
  FROM store
 WHERE (NOT $2::bool OR expires_at IS NULL OR expires_at > now()) AND prefix ~ ALL($3::text[])
   AND (prefix = $6::text OR (prefix ~>=~ $7::text AND prefix ~<~ $8::text))
 ORDER BY 1
 LIMIT $4 OFFSET $5
