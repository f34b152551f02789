-- Assistants and the graphs that executors have announced. Written only by bedplate_gateway.

CREATE TABLE graphs (
    tenant        text NOT NULL,
    graph_id      text NOT NULL,
    name          text NOT NULL,
    description   text,
    registered_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, graph_id)
);

CREATE TABLE assistants (
    tenant       text NOT NULL,
    -- random or the client's; of a graph's own assistant: made from the graph id, the same in every tenant
    assistant_id uuid NOT NULL,
    graph_id     text NOT NULL,
    name         text NOT NULL,
    description  text,
    config       jsonb NOT NULL DEFAULT '{}',
    context      jsonb NOT NULL DEFAULT '{}',
    metadata     jsonb NOT NULL DEFAULT '{}',
    version      int NOT NULL DEFAULT 1,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, assistant_id)
);

CREATE INDEX assistants_by_creation ON assistants (tenant, created_at DESC, assistant_id);
CREATE INDEX assistants_by_metadata ON assistants USING gin (metadata jsonb_path_ops);

-- The row as clients see it.
CREATE FUNCTION assistant_json(a assistants) RETURNS json LANGUAGE sql STABLE AS $$
    SELECT json_build_object(
        'assistant_id', a.assistant_id, 'graph_id', a.graph_id, 'name', a.name,
        'description', a.description, 'config', a.config, 'context', a.context,
        'metadata', a.metadata, 'version', a.version,
        'created_at', a.created_at, 'updated_at', a.updated_at)
$$;
