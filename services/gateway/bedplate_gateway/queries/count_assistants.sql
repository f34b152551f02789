-- count_assistants: for clients. Index assistants_by_metadata.
SELECT count(*)
  FROM assistants
 WHERE tenant = $1
   AND ($2::jsonb IS NULL OR metadata @> $2)
   AND ($3::text IS NULL OR graph_id = $3)
   AND ($4::text IS NULL OR position(lower($4) IN lower(name)) > 0)
   AND {access}
