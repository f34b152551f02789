-- How long a thread lives, counted from its last update: written by create_thread, update_thread, create_run_on_new_thread.

ALTER TABLE threads
    -- none: for ever
    ADD COLUMN ttl_minutes  float8 CHECK (ttl_minutes > 0),
    -- what becomes of it then: it goes, or its checkpoints but the newest
    ADD COLUMN ttl_strategy text NOT NULL DEFAULT 'delete' CHECK (ttl_strategy IN ('delete', 'keep_latest')),
    -- when a sweep has last left it its newest checkpoint: before its next update there is nothing more to take
    ADD COLUMN pruned_at    timestamptz;

-- In UTC without a zone, because adding to an instant depends on the session's zone, and an index must not.
CREATE FUNCTION thread_end(t threads) RETURNS timestamp LANGUAGE sql IMMUTABLE AS $$
    SELECT (t.updated_at AT TIME ZONE 'UTC') + t.ttl_minutes * interval '1 minute'
$$;

-- the sweep: threads whose time will come, in that order
CREATE INDEX threads_ending ON threads (((updated_at AT TIME ZONE 'UTC') + ttl_minutes * interval '1 minute'))
 WHERE ttl_minutes IS NOT NULL AND (pruned_at IS NULL OR pruned_at < updated_at);

-- as clients see it; null for one that never ends
CREATE FUNCTION thread_ttl_json(t threads) RETURNS json LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN t.ttl_minutes IS NOT NULL
                THEN json_build_object('strategy', t.ttl_strategy, 'ttl_minutes', t.ttl_minutes,
                                       'expires_at', thread_end(t) AT TIME ZONE 'UTC') END
$$;
