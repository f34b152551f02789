-- get_delivery: as clients see it, by primary key.
SELECT delivery_json(deliveries) AS row FROM deliveries WHERE delivery_id = $2 AND tenant = $1
