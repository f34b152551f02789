-- use_assistant_version: the assistant as it was then. No row: no such version, or assistant. By primary key.
UPDATE assistants
   SET graph_id = kept.graph_id, name = kept.name, description = kept.description, config = kept.config,
       context = kept.context, metadata = kept.metadata, version = kept.version, updated_at = now()
  FROM assistant_versions AS kept
 WHERE assistants.tenant = $1 AND assistants.assistant_id = $2
   AND kept.tenant = assistants.tenant AND kept.assistant_id = assistants.assistant_id AND kept.version = $3
RETURNING assistant_json(assistants) AS row
