-- get_thread: as clients see it, by primary key.
SELECT thread_json(threads) AS row
  FROM threads
 WHERE thread_id = $2 AND tenant = $1 AND doomed_at IS NULL
