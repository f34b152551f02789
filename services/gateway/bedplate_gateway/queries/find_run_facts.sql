-- find_run_facts: what the readers of a thread's events must know of a run, and what never changes. By primary key.
SELECT graph_id, kwargs ->> 'event_streaming' IS NOT NULL AS is_protocol,
       coalesce((kwargs ->> 'resumable')::bool, false) AS is_resumable
  FROM runs
 WHERE run_id = $2 AND tenant = $1
