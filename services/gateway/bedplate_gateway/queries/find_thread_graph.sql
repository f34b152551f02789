-- find_thread_graph: which graph a thread belongs to, for what only an executor can answer. By primary key.
SELECT metadata ->> 'graph_id' AS graph_id, metadata ->> 'assistant_id' AS assistant_id, config
  FROM threads
 WHERE thread_id = $2 AND tenant = $1 AND doomed_at IS NULL
