-- create_assistant: an assistant with its first version, or the one that is there already (is_new = false). By primary key.
WITH written AS (
    INSERT INTO assistants (tenant, assistant_id, graph_id, name, description, config, context, metadata)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
        ON CONFLICT (tenant, assistant_id) DO NOTHING
 RETURNING assistants AS made, assistant_json(assistants) AS row
), kept AS (
    INSERT INTO assistant_versions (tenant, assistant_id, version, graph_id, name, description, config, context, metadata)
    SELECT (made).tenant, (made).assistant_id, (made).version, (made).graph_id, (made).name, (made).description,
           (made).config, (made).context, (made).metadata
      FROM written
)
SELECT true AS is_new, row FROM written
UNION ALL
SELECT false, assistant_json(assistants)
  FROM assistants
 WHERE tenant = $1 AND assistant_id = $2 AND NOT EXISTS (SELECT FROM written)
