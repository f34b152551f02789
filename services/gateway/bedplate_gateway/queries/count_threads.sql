-- count_threads: for clients. Indexes threads_by_update, threads_by_metadata.
SELECT count(*)
  FROM threads
 WHERE tenant = $1 AND doomed_at IS NULL
   AND ($2::jsonb IS NULL OR metadata @> $2)
   AND ($3::jsonb IS NULL OR "values" @> $3)
   AND ($4::text IS NULL OR status = $4)
   AND {access}
