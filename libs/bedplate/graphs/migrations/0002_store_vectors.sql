-- The vectors of store items, in the layout of langgraph's own store. The type of `embedding` is what PostgreSQL has:
-- real[] at first, vector(n) or halfvec(n) once an executor with a store.index finds pgvector (`bedplate.graphs.vectors`).

CREATE TABLE IF NOT EXISTS store_vectors (
    prefix     text NOT NULL,
    key        text NOT NULL,
    field_name text NOT NULL,
    embedding  real[],
    created_at timestamptz DEFAULT CURRENT_TIMESTAMP,
    updated_at timestamptz DEFAULT CURRENT_TIMESTAMP,
    PRIMARY KEY (prefix, key, field_name),
    FOREIGN KEY (prefix, key) REFERENCES store (prefix, key) ON DELETE CASCADE
);
CREATE INDEX IF NOT EXISTS store_vectors_prefix_idx ON store_vectors USING btree (prefix text_pattern_ops);
