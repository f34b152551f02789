-- find_delivery_metadata: whose thread a delivery tells of, for authorization. By primary key.
SELECT metadata FROM deliveries WHERE delivery_id = $2 AND tenant = $1
