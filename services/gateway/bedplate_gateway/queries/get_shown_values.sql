-- get_shown_values: what the thread shows, if this run is the last one that ended there. Index runs_of_thread.
SELECT threads."values" AS row
  FROM runs JOIN threads USING (thread_id)
 WHERE runs.run_id = $1
   AND NOT EXISTS (SELECT FROM runs AS later
                    WHERE later.thread_id = runs.thread_id AND later.finished_at > runs.finished_at)
