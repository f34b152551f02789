-- find_followed_threads: how far these threads have come, for the watch over those who follow them. By primary key.
SELECT thread_id, events_n, runs_active > 0 AS is_active
  FROM threads
 WHERE thread_id = ANY($1::uuid[]) AND doomed_at IS NULL
