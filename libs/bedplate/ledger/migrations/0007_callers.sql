-- Callers: who a run is for, and whose thread a delivery tells of.

ALTER TABLE runs
    -- what authentication told of them, for the graph alone: it may hold tokens, so no answer shows it. NULL: nobody was
    -- asked who they are
    ADD COLUMN auth_user json;

ALTER TABLE deliveries
    -- the thread's when the run ended, for authorization: the thread may be gone when somebody asks
    ADD COLUMN metadata jsonb NOT NULL DEFAULT '{}';

CREATE OR REPLACE FUNCTION record_delivery() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    ended  runs;
    thread record;
BEGIN
    SELECT threads."values", threads.is_temporary, threads.metadata INTO thread
      FROM threads WHERE thread_id = OLD.thread_id;
    IF TG_OP = 'UPDATE' THEN
        ended := NEW;
    ELSE
        ended := OLD;
        ended.status := CASE WHEN FOUND THEN 'rollback' ELSE 'interrupted' END;
        ended.updated_at := now();
    END IF;
    INSERT INTO deliveries (tenant, run_id, thread_id, url, destination, run, run_started_at, run_ended_at, "values", error,
                            metadata)
    VALUES (ended.tenant, ended.run_id, ended.thread_id, ended.webhook,
            coalesce(lower(substring(ended.webhook FROM '^[A-Za-z]+://[^/?#]*')), ''),
            run_json(ended), ended.started_at, coalesce(ended.finished_at, now()),
            CASE WHEN TG_OP = 'UPDATE' AND NOT thread.is_temporary THEN thread."values"::json END,
            CASE WHEN ended.status IN ('error', 'timeout') THEN ended.error ->> 'message' END,
            -- a run's metadata begins with its thread's
            coalesce(thread.metadata, ended.metadata));
    RETURN NULL;
END
$$;
