-- count_queued: tickets that nobody has claimed yet, as far as $1. Index runs_queued.
SELECT count(*) FROM (SELECT FROM runs WHERE status = 'pending' AND ticketed_at IS NOT NULL LIMIT $1::int) AS queued
