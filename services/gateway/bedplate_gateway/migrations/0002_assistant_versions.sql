-- Every version of an assistant is kept, so that any of them can be the one in use.

-- the highest number that was given: kept in the row that an update locks, so that two updates never get the same one
ALTER TABLE assistants ADD COLUMN version_max int NOT NULL DEFAULT 1;
UPDATE assistants SET version_max = version;

CREATE TABLE assistant_versions (
    tenant       text NOT NULL,
    assistant_id uuid NOT NULL,
    version      int NOT NULL,
    graph_id     text NOT NULL,
    name         text NOT NULL,
    description  text,
    config       jsonb NOT NULL,
    context      jsonb NOT NULL,
    metadata     jsonb NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, assistant_id, version),
    FOREIGN KEY (tenant, assistant_id) REFERENCES assistants ON DELETE CASCADE
);

INSERT INTO assistant_versions (tenant, assistant_id, version, graph_id, name, description, config, context, metadata, created_at)
SELECT tenant, assistant_id, version, graph_id, name, description, config, context, metadata, updated_at FROM assistants;

-- A version as clients see it: the assistant as it was.
CREATE FUNCTION assistant_version_json(v assistant_versions) RETURNS json LANGUAGE sql STABLE AS $$
    SELECT json_build_object(
        'assistant_id', v.assistant_id, 'graph_id', v.graph_id, 'name', v.name,
        'description', v.description, 'config', v.config, 'context', v.context,
        'metadata', v.metadata, 'version', v.version,
        'created_at', v.created_at, 'updated_at', v.created_at)
$$;
