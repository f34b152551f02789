-- sweep_deliveries: at most $3 that were delivered $1 or given up $2 seconds ago. For the dispatcher; deliveries_settled.
DELETE FROM deliveries
 WHERE delivery_id IN (
       SELECT delivery_id
         FROM deliveries
        WHERE settled_at < now() - least($1::float8, $2::float8) * interval '1 second'
          AND settled_at < now() - (CASE status WHEN 'dead' THEN $2 ELSE $1 END) * interval '1 second'
        LIMIT $3::int
          FOR UPDATE SKIP LOCKED)
