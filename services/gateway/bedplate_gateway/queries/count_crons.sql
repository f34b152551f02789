-- count_crons: for clients. Indexes as in search_crons.
SELECT count(*)
  FROM crons
 WHERE tenant = $1
   AND ($2::uuid IS NULL OR assistant_id = $2)
   AND ($3::uuid IS NULL OR thread_id = $3)
   AND ($4::bool IS NULL OR enabled = $4)
   AND ($5::jsonb IS NULL OR metadata @> $5)
   AND {access}
