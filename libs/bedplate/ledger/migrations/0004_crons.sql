-- Crons: requests for runs that come back at the times of a schedule.
--
-- Lock order: thread, cron, run, outbox. Whoever fires a cron holds its row until the run is written and the next time is
-- set, so a slot is fired once, however many schedulers look.

CREATE TABLE crons (
    cron_id          uuid PRIMARY KEY,
    tenant           text NOT NULL,
    -- not a reference: assistants are another component's. One that is gone takes its crons along, at the latest when due
    assistant_id     uuid NOT NULL,
    -- NULL: each run gets a thread of its own
    thread_id        uuid REFERENCES threads ON DELETE CASCADE,
    on_run_completed text CHECK (on_run_completed IN ('delete', 'keep')),
    user_id          text,
    schedule         text NOT NULL,
    timezone         text,
    end_time         timestamptz,
    enabled          boolean NOT NULL,
    -- NULL: it will not fire any more, or is switched off
    next_run_at      timestamptz,
    metadata         jsonb NOT NULL,
    -- json, not jsonb: the input keeps the order of its keys and the precision of its numbers
    payload          json NOT NULL,
    run_order        json NOT NULL,
    -- grows with every update: an update is made of the row it has read
    revision         int NOT NULL DEFAULT 1,
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now(),
    CHECK ((thread_id IS NULL) = (on_run_completed IS NOT NULL))
);

CREATE INDEX crons_due ON crons (next_run_at) WHERE next_run_at IS NOT NULL;
CREATE INDEX crons_listed ON crons (tenant, created_at DESC, cron_id);
CREATE INDEX crons_of_assistant ON crons (tenant, assistant_id);
CREATE INDEX crons_of_thread ON crons (thread_id) WHERE thread_id IS NOT NULL;
CREATE INDEX crons_by_metadata ON crons USING gin (metadata jsonb_path_ops);

-- The row as clients see it.
CREATE FUNCTION cron_json(c crons) RETURNS json LANGUAGE sql STABLE AS $$
    SELECT json_build_object(
        'cron_id', c.cron_id, 'assistant_id', c.assistant_id, 'thread_id', c.thread_id,
        'on_run_completed', c.on_run_completed, 'end_time', c.end_time, 'schedule', c.schedule,
        'timezone', c.timezone, 'created_at', c.created_at, 'updated_at', c.updated_at,
        'payload', c.payload, 'user_id', c.user_id, 'next_run_date', c.next_run_at,
        'metadata', c.metadata, 'enabled', c.enabled)
$$;
