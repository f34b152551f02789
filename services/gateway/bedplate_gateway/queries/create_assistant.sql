-- create_assistant: an assistant, or the one that is there already (is_new = false). By primary key.
WITH written AS (
    INSERT INTO assistants (tenant, assistant_id, graph_id, name, description, config, context, metadata)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
        ON CONFLICT (tenant, assistant_id) DO NOTHING
 RETURNING assistant_json(assistants) AS row
)
SELECT true AS is_new, row FROM written
UNION ALL
SELECT false, assistant_json(assistants)
  FROM assistants
 WHERE tenant = $1 AND assistant_id = $2 AND NOT EXISTS (SELECT FROM written)
