-- The tables of langgraph-checkpoint-postgres 3.2 and its store, column for column, so that its saver and store can go
-- on where ours stopped and ours where they did. Written only by bedplate.graphs.
--
-- Its three indexes by thread_id are left out: the primary keys begin with thread_id, and each would cost every write.

CREATE TABLE IF NOT EXISTS checkpoint_migrations (
    v integer PRIMARY KEY
);

CREATE TABLE IF NOT EXISTS checkpoints (
    thread_id            text NOT NULL,
    checkpoint_ns        text NOT NULL DEFAULT '',
    checkpoint_id        text NOT NULL,
    parent_checkpoint_id text,
    type                 text,
    checkpoint           jsonb NOT NULL,
    metadata             jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (thread_id, checkpoint_ns, checkpoint_id)
);

CREATE TABLE IF NOT EXISTS checkpoint_blobs (
    thread_id     text NOT NULL,
    checkpoint_ns text NOT NULL DEFAULT '',
    channel       text NOT NULL,
    version       text NOT NULL,
    type          text NOT NULL,
    blob          bytea,
    PRIMARY KEY (thread_id, checkpoint_ns, channel, version)
);

CREATE TABLE IF NOT EXISTS checkpoint_writes (
    thread_id     text NOT NULL,
    checkpoint_ns text NOT NULL DEFAULT '',
    checkpoint_id text NOT NULL,
    task_id       text NOT NULL,
    idx           integer NOT NULL,
    channel       text NOT NULL,
    type          text,
    blob          bytea NOT NULL,
    task_path     text NOT NULL DEFAULT '',
    PRIMARY KEY (thread_id, checkpoint_ns, checkpoint_id, task_id, idx)
);

-- A database that an older release of that saver has made is brought to the same form.
ALTER TABLE checkpoint_blobs ALTER COLUMN blob DROP NOT NULL;
ALTER TABLE checkpoint_writes ADD COLUMN IF NOT EXISTS task_path text NOT NULL DEFAULT '';

-- Its setup() then finds nothing to do.
INSERT INTO checkpoint_migrations (v) SELECT generate_series(0, 9) ON CONFLICT DO NOTHING;

-- What a run wrote onto a checkpoint of an earlier run (its input, the answers to interrupts, the results of tasks it
-- resumed), and what had stood there: rolling the run back has to give the earlier checkpoint its writes back.
CREATE TABLE IF NOT EXISTS checkpoint_undo (
    run_id           text NOT NULL,
    thread_id        text NOT NULL,
    checkpoint_ns    text NOT NULL,
    checkpoint_id    text NOT NULL,
    task_id          text NOT NULL,
    idx              integer NOT NULL,
    -- NULL: nothing had stood there
    before_channel   text,
    before_type      text,
    before_blob      bytea,
    before_task_path text,
    n                bigint GENERATED ALWAYS AS IDENTITY,
    PRIMARY KEY (thread_id, checkpoint_ns, checkpoint_id, task_id, idx, run_id)
);
CREATE INDEX IF NOT EXISTS checkpoint_undo_by_run ON checkpoint_undo (run_id);

CREATE TABLE IF NOT EXISTS store_migrations (
    v integer PRIMARY KEY
);

CREATE TABLE IF NOT EXISTS store (
    prefix      text NOT NULL,
    key         text NOT NULL,
    value       jsonb NOT NULL,
    created_at  timestamptz DEFAULT CURRENT_TIMESTAMP,
    updated_at  timestamptz DEFAULT CURRENT_TIMESTAMP,
    PRIMARY KEY (prefix, key)
);
ALTER TABLE store
    ADD COLUMN IF NOT EXISTS expires_at timestamptz,
    ADD COLUMN IF NOT EXISTS ttl_minutes int;
CREATE INDEX IF NOT EXISTS store_prefix_idx ON store USING btree (prefix text_pattern_ops);
CREATE INDEX IF NOT EXISTS idx_store_expires_at ON store (expires_at) WHERE expires_at IS NOT NULL;

INSERT INTO store_migrations (v) SELECT generate_series(0, 3) ON CONFLICT DO NOTHING;
