-- find_doomed: temporary threads whose run ended $1 seconds ago, for the sweep. Index threads_doomed.
SELECT thread_id, tenant FROM threads WHERE doomed_at < now() - $1::float8 * interval '1 second' LIMIT $2
