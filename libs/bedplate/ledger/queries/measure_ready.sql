-- measure_ready: how many runs wait for a ticket, and for how long the first has, by group: the $1 longest. For /metrics.
SELECT tenant, fairness_group, count(*) AS runs, extract(epoch FROM now() - min(ready_at))::float8 AS oldest_s
  FROM runs
 WHERE ready_at IS NOT NULL
 GROUP BY tenant, fairness_group
 ORDER BY runs DESC
 LIMIT $1
