-- count_tickets: those that nobody has claimed yet, as far as $1, and whether any run waits for one. For the feeder; indexes
-- runs_queued and runs_ready.
SELECT (SELECT count(*)
          FROM (SELECT FROM runs WHERE status = 'pending' AND ticketed_at IS NOT NULL LIMIT $1::int) AS queued) AS tickets,
       EXISTS (SELECT FROM runs WHERE ready_at IS NOT NULL) AS is_wanted
