-- find_threads_graphs: likewise for many; unknown ones do not come back. By primary key.
SELECT thread_id, metadata ->> 'graph_id' AS graph_id
  FROM threads
 WHERE thread_id = ANY($2::uuid[]) AND tenant = $1 AND doomed_at IS NULL
