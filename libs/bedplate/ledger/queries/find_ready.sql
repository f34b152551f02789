-- find_ready: the first $1 ready runs of each fairness group, without those of tenants ($2), assistants ($3) and users ($4)
-- that are at their limit. For the feeder; jumps from group to group in runs_ready.
WITH RECURSIVE groups AS (
    (SELECT tenant, fairness_group FROM runs
      WHERE ready_at IS NOT NULL
      ORDER BY tenant, fairness_group
      LIMIT 1)
     UNION ALL
    SELECT following.tenant, following.fairness_group
      FROM groups
     CROSS JOIN LATERAL (
           SELECT runs.tenant, runs.fairness_group FROM runs
            WHERE runs.ready_at IS NOT NULL
              AND (runs.tenant, runs.fairness_group) > (groups.tenant, groups.fairness_group)
            ORDER BY runs.tenant, runs.fairness_group
            LIMIT 1) AS following
)
SELECT first.run_id, first.tenant, first.fairness_group, first.priority, first.assistant_id, first.user_key,
       first.ready_at
  FROM groups
 CROSS JOIN LATERAL (
       SELECT * FROM runs
        WHERE runs.ready_at IS NOT NULL
          AND runs.tenant = groups.tenant AND runs.fairness_group = groups.fairness_group
          AND runs.assistant_id <> ALL($3::uuid[])
          AND (runs.user_key IS NULL OR runs.user_key <> ALL($4::text[]))
        ORDER BY runs.priority, runs.ready_at, runs.run_id
        LIMIT $1::int) AS first
 WHERE groups.tenant <> ALL($2::text[])
