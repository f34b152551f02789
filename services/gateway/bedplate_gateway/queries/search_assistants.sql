-- search_assistants: a page for clients, in the order they ask for. Indexes assistants_by_creation, _by_metadata.
SELECT CASE WHEN $6::text[] IS NULL THEN assistant_json(assistants)
            ELSE (SELECT json_object_agg(part.key, part.value)
                    FROM json_each(assistant_json(assistants)) AS part
                   WHERE part.key = ANY($6)) END AS row
  FROM assistants
 WHERE tenant = $1
   AND ($2::jsonb IS NULL OR metadata @> $2)
   AND ($3::text IS NULL OR graph_id = $3)
   AND ($4::text IS NULL OR position(lower($4) IN lower(name)) > 0)
   AND {access}
 ORDER BY {order}
 LIMIT $5 OFFSET $7
