-- lock_run: thread and run, locked in this order, for a decision in this transaction. By primary key.
WITH thread AS MATERIALIZED (
    SELECT thread_id FROM threads WHERE thread_id = $2 AND tenant = $3 AND doomed_at IS NULL FOR UPDATE
)
SELECT runs.run_id, runs.status, runs.attempt, runs.failures, runs.cancel_action, runs.assistant_id, runs.graph_id,
       runs.kwargs
  FROM thread JOIN runs ON runs.thread_id = thread.thread_id
 WHERE runs.run_id = $1
   FOR UPDATE OF runs
