-- list_deliveries: newest first, for clients. Indexes deliveries_listed, deliveries_of_run.
SELECT delivery_json(deliveries) AS row
  FROM deliveries
 WHERE tenant = $1 AND ($2::text IS NULL OR status = $2) AND ($3::uuid IS NULL OR run_id = $3)
   AND ($4::uuid IS NULL OR thread_id = $4)
   AND {access}
 ORDER BY created_at DESC, delivery_id
 LIMIT $5 OFFSET $6
