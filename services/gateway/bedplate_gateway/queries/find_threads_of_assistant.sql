-- find_threads_of_assistant: for deleting an assistant with its threads, page by page. Index threads_by_metadata.
SELECT thread_id
  FROM threads
 WHERE tenant = $1 AND doomed_at IS NULL AND metadata @> jsonb_build_object('assistant_id', $2::text)
   AND thread_id > $3
 ORDER BY thread_id
 LIMIT $4
