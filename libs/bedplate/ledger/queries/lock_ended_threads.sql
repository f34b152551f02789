-- lock_ended_threads: at most $2 threads whose time is over and that go by the strategy $1, longest over first, for the
-- sweep. Not those with a run in flight, nor those that somebody is at. Index threads_ending.
SELECT thread_id
  FROM threads
 WHERE ttl_minutes IS NOT NULL AND (pruned_at IS NULL OR pruned_at < updated_at)
   AND (updated_at AT TIME ZONE 'UTC') + ttl_minutes * interval '1 minute' < now() AT TIME ZONE 'UTC'
   AND ttl_strategy = $1 AND runs_active = 0 AND doomed_at IS NULL
 ORDER BY (updated_at AT TIME ZONE 'UTC') + ttl_minutes * interval '1 minute'
 LIMIT $2
   FOR UPDATE SKIP LOCKED
