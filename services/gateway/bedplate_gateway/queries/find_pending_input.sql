-- find_pending_input: what a thread waits for, and whether a run of it is under way, for commands. By primary key.
SELECT status, interrupts, current_run, runs_active > 0 AS is_busy,
       metadata ->> 'graph_id' AS graph_id, metadata ->> 'assistant_id' AS assistant_id
  FROM threads
 WHERE thread_id = $2 AND tenant = $1 AND doomed_at IS NULL
