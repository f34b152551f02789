-- update_assistant: the next version; NULL keeps what is there, metadata is merged key by key. By primary key.
-- A context alone is also written where it is mirrored.
WITH changed AS (
    UPDATE assistants
       SET graph_id = coalesce($3, graph_id), name = coalesce($4, name),
           description = CASE WHEN $5::bool THEN $6 ELSE description END,
           config = CASE WHEN $7::jsonb IS NOT NULL THEN $7
                         WHEN $8::jsonb IS NULL THEN config
                         WHEN $8 = '{}' THEN config - 'configurable'
                         ELSE config || jsonb_build_object('configurable', $8) END,
           context = coalesce($8, context), metadata = metadata || coalesce($9, '{}'::jsonb),
           version = version_max + 1, version_max = version_max + 1, updated_at = now()
     WHERE tenant = $1 AND assistant_id = $2
 RETURNING assistants AS made, assistant_json(assistants) AS row
), kept AS (
    INSERT INTO assistant_versions (tenant, assistant_id, version, graph_id, name, description, config, context, metadata)
    SELECT (made).tenant, (made).assistant_id, (made).version, (made).graph_id, (made).name, (made).description,
           (made).config, (made).context, (made).metadata
      FROM changed
)
SELECT row FROM changed
