-- measure_ready: how many runs wait for an executor, with a ticket or without, and for how long the first has, by group: the
-- $1 longest. For /metrics; indexes runs_queued and runs_ready.
SELECT tenant, fairness_group, count(*) AS runs, extract(epoch FROM now() - min(since))::float8 AS oldest_s
  FROM (SELECT tenant, fairness_group, ready_at AS since FROM runs WHERE ready_at IS NOT NULL
         UNION ALL
        SELECT tenant, fairness_group, ticketed_at
          FROM runs
         WHERE status = 'pending' AND ticketed_at IS NOT NULL AND ready_at IS NULL) AS waiting
 GROUP BY tenant, fairness_group
 ORDER BY runs DESC
 LIMIT $1
