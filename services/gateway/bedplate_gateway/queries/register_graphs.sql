-- register_graphs: graphs an executor can run, each with its own assistant; what a user set on that one stays.
WITH told AS (
    SELECT * FROM unnest($2::text[], $3::uuid[], $4::text[], $5::text[])
        AS told (graph_id, assistant_id, name, description)
), known AS (
    INSERT INTO graphs AS known (tenant, graph_id, name, description)
    SELECT $1, told.graph_id, told.name, told.description FROM told
        ON CONFLICT (tenant, graph_id) DO UPDATE
       SET name = excluded.name, description = excluded.description, registered_at = now()
), written AS (
    INSERT INTO assistants AS own (tenant, assistant_id, graph_id, name, description, metadata)
    SELECT $1, told.assistant_id, told.graph_id, told.name, told.description, '{"created_by": "system"}'
      FROM told
        ON CONFLICT (tenant, assistant_id) DO UPDATE
       SET name = excluded.name, description = excluded.description, updated_at = now()
     WHERE own.version_max = 1
       AND (own.name, own.description) IS DISTINCT FROM (excluded.name, excluded.description)
 RETURNING own AS made
)
INSERT INTO assistant_versions (tenant, assistant_id, version, graph_id, name, description, config, context, metadata)
SELECT (made).tenant, (made).assistant_id, (made).version, (made).graph_id, (made).name, (made).description,
       (made).config, (made).context, (made).metadata
  FROM written
    ON CONFLICT (tenant, assistant_id, version) DO UPDATE SET name = excluded.name, description = excluded.description
