-- find_undispatched: threads with a due run and nobody at it, for the dispatch loop. Index threads_undispatched.
SELECT threads.thread_id
  FROM threads
 WHERE threads.current_run IS NULL AND threads.runs_active > 0
   AND EXISTS (SELECT FROM runs
                WHERE runs.thread_id = threads.thread_id AND runs.status = 'pending'
                  AND runs.created_at <= now())
 LIMIT $1
