-- find_thread_priority: what the project's priority handler is told of a thread, and whether it has settings already.
-- By primary key.
SELECT metadata, priority IS NOT NULL AND fairness_group IS NOT NULL AS is_assigned
  FROM threads
 WHERE thread_id = $2 AND tenant = $1 AND doomed_at IS NULL
