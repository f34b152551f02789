-- update_assistant: the next version; NULL keeps what is there, metadata is merged key by key. By primary key.
-- A context alone is also written where it is mirrored.
UPDATE assistants
   SET graph_id = coalesce($3, graph_id), name = coalesce($4, name),
       description = CASE WHEN $5::bool THEN $6 ELSE description END,
       config = CASE WHEN $7::jsonb IS NOT NULL THEN $7
                     WHEN $8::jsonb IS NULL THEN config
                     WHEN $8 = '{}' THEN config - 'configurable'
                     ELSE config || jsonb_build_object('configurable', $8) END,
       context = coalesce($8, context), metadata = metadata || coalesce($9, '{}'::jsonb),
       version = version + 1, updated_at = now()
 WHERE tenant = $1 AND assistant_id = $2
RETURNING assistant_json(assistants) AS row
