-- get_thread_with_ttl: as clients see it when they ask how long it lives. By primary key.
SELECT thread_json(threads) AS row, thread_ttl_json(threads) AS ttl
  FROM threads
 WHERE thread_id = $2 AND tenant = $1 AND doomed_at IS NULL
