-- find_work: what waits for whom, for the scheduler's lookout: messages whose writer should have sent them by now ($1 seconds),
-- threads with a due run and nobody at it, runs without a ticket, and the next time a cron is due. Each by its own index.
SELECT EXISTS (SELECT FROM outbox WHERE written_at < now() - $1::float8 * interval '1 second') AS is_unsent,
       EXISTS (SELECT FROM threads
                WHERE threads.current_run IS NULL AND threads.runs_active > 0
                  AND EXISTS (SELECT FROM runs
                               WHERE runs.thread_id = threads.thread_id AND runs.status = 'pending'
                                 AND runs.created_at <= now())) AS is_undispatched,
       EXISTS (SELECT FROM runs WHERE ready_at IS NOT NULL) AS is_ready,
       (SELECT min(next_run_at) FROM crons WHERE next_run_at IS NOT NULL) AS cron_at
