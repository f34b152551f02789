-- search_threads: a page for clients, in the order they ask for. Indexes threads_by_update, threads_by_metadata. States, which may be
-- large, are read of the page alone, not of all that is sorted or skipped.
SELECT CASE WHEN $6::text[] IS NULL THEN thread_json(threads)
            ELSE (SELECT json_object_agg(part.key, part.value)
                    FROM (SELECT * FROM json_each(thread_json(threads))
                          UNION ALL SELECT 'ttl', thread_ttl_json(threads)) AS part
                   WHERE part.key = ANY($6)) END AS row,
       CASE WHEN $7::jsonb IS NOT NULL THEN (
           SELECT json_object_agg(wanted.alias, document #> wanted.path)
             FROM jsonb_to_recordset($7) AS wanted (alias text, path text[]),
                  jsonb_build_object('values', "values", 'metadata', metadata, 'config', config,
                                     'interrupts', interrupts) AS document) END AS extracted
  FROM threads
 WHERE thread_id IN (
       SELECT thread_id FROM threads
        WHERE tenant = $1 AND doomed_at IS NULL
          AND ($2::uuid[] IS NULL OR thread_id = ANY($2))
          AND ($3::jsonb IS NULL OR metadata @> $3)
          AND ($4::jsonb IS NULL OR "values" @> $4)
          AND ($5::text IS NULL OR status = $5)
          AND {access}
          AND {among}
        ORDER BY {order}
        LIMIT $8 OFFSET $9)
 ORDER BY {order}
