-- search_crons: a page for clients, in the order they ask for. Indexes crons_listed, _of_assistant, _of_thread, _by_metadata.
SELECT CASE WHEN $6::text[] IS NULL THEN cron_json(crons)
            ELSE (SELECT json_object_agg(part.key, part.value)
                    FROM (SELECT key, value FROM json_each(cron_json(crons))
                          UNION ALL SELECT 'now', to_json(now())) AS part
                   WHERE part.key = ANY($6)) END AS row
  FROM crons
 WHERE tenant = $1
   AND ($2::uuid IS NULL OR assistant_id = $2)
   AND ($3::uuid IS NULL OR thread_id = $3)
   AND ($4::bool IS NULL OR enabled = $4)
   AND ($5::jsonb IS NULL OR metadata @> $5)
   AND {access}
 ORDER BY {order}
 LIMIT $7 OFFSET $8
