-- get_key: a key of the installation, by primary key. For workers and gateways, once at start.
SELECT value FROM keys WHERE name = $1
