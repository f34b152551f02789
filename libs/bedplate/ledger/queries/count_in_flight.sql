-- count_in_flight: the runs that have a ticket or are running, by all that limits and shares look at. For the feeder;
-- indexes runs_running and runs_queued.
SELECT tenant, fairness_group, assistant_id, user_key, count(*) AS runs
  FROM (SELECT tenant, fairness_group, assistant_id, user_key FROM runs WHERE status = 'running'
         UNION ALL
        SELECT tenant, fairness_group, assistant_id, user_key
          FROM runs
         WHERE status = 'pending' AND ticketed_at IS NOT NULL) AS in_flight
 GROUP BY tenant, fairness_group, assistant_id, user_key
