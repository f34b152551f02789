-- list_runs: a thread's runs, newest first, for clients; no row at all: no such thread. Index runs_of_thread.
SELECT CASE WHEN listed.run IS NULL THEN NULL
            WHEN $4::text[] IS NULL THEN run_json(listed.run)
            ELSE (SELECT json_object_agg(part.key, part.value)
                    FROM json_each(run_json(listed.run)) AS part
                   WHERE part.key = ANY($4)) END AS row
  FROM threads
  LEFT JOIN LATERAL (
       SELECT runs AS run, runs.created_at, runs.position FROM runs
        WHERE runs.thread_id = threads.thread_id AND ($3::text IS NULL OR runs.status = $3)
        ORDER BY runs.created_at DESC, runs.position DESC
        LIMIT $5 OFFSET $6) AS listed ON true
 WHERE threads.thread_id = $2 AND threads.tenant = $1 AND threads.doomed_at IS NULL
 ORDER BY listed.created_at DESC, listed.position DESC
