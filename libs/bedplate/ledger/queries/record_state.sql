-- record_state: the thread shows a state that was edited, unless a run is in flight. For the executor; by primary key.
UPDATE threads
   SET "values" = $2, interrupts = $3, status = $4, settled_status = $4, error = NULL,
       updated_at = now(), state_updated_at = now()
 WHERE thread_id = $1 AND runs_active = 0
RETURNING thread_id
