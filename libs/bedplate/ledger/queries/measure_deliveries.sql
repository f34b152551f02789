-- measure_deliveries: how many wait, are overdue, and were given up. For the dispatcher's gauges; every few seconds.
SELECT count(*) FILTER (WHERE status = 'pending') AS pending,
       count(*) FILTER (WHERE status = 'pending' AND next_try_at <= now()) AS due,
       count(*) FILTER (WHERE status = 'dead') AS dead
  FROM deliveries
 WHERE status <> 'delivered'
