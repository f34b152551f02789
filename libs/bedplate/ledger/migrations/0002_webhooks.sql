-- Webhooks: a run that asks for one leaves a delivery behind in the very transaction that ends it.
--
-- By triggers and not in the statements that end runs: there are many of those (finished, cancelled, rolled back, lost,
-- removed with its thread), several remove the run's row, and what is promised must not depend on each of them remembering
-- it. The conditions stand in WHEN, so a run without a webhook costs no function call.

ALTER TABLE runs ADD COLUMN webhook text;

CREATE TABLE deliveries (
    -- also the receiver's `webhook-id`: the same at every try
    delivery_id      uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant           text NOT NULL,
    -- not references: a delivery outlives the run and the thread it tells of
    run_id           uuid NOT NULL,
    thread_id        uuid NOT NULL,
    url              text NOT NULL,
    -- scheme, host and port, for the limit of deliveries at a time; '' for the server's own app
    destination      text NOT NULL,
    -- pending: the trigger, redeliver_delivery; delivered, dead: settle_delivery
    status           text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'delivered', 'dead')),
    -- grows with every claim and never shrinks: the fence of a try
    tries            int NOT NULL DEFAULT 0,
    -- tries before the last redelivery was asked for: delays are counted from there
    tries_before     int NOT NULL DEFAULT 0,
    -- while a dispatcher is at it: when its claim ends
    next_try_at      timestamptz NOT NULL DEFAULT now(),
    claimed_by       text,
    -- the retries' window begins here
    first_due_at     timestamptz NOT NULL DEFAULT now(),
    last_status_code int,
    last_error       text,
    created_at       timestamptz NOT NULL DEFAULT now(),
    settled_at       timestamptz,
    -- what is told: the run as it was when it ended. json, not jsonb: as it was stored, to the digit
    run              json NOT NULL,
    run_started_at   timestamptz,
    run_ended_at     timestamptz NOT NULL,
    "values"         json,
    error            text
);

-- the claim: destination by destination, oldest first
CREATE INDEX deliveries_due ON deliveries (destination, next_try_at) WHERE status = 'pending';
CREATE INDEX deliveries_listed ON deliveries (tenant, created_at DESC, delivery_id);
CREATE INDEX deliveries_of_run ON deliveries (run_id);
-- the sweep
CREATE INDEX deliveries_settled ON deliveries (settled_at) WHERE settled_at IS NOT NULL;

-- A delivery as clients see it, without what it tells.
CREATE FUNCTION delivery_json(d deliveries) RETURNS json LANGUAGE sql STABLE AS $$
    SELECT json_build_object(
        'delivery_id', d.delivery_id, 'run_id', d.run_id, 'thread_id', d.thread_id, 'url', d.url,
        'status', d.status, 'tries', d.tries,
        'next_try_at', CASE WHEN d.status = 'pending' THEN d.next_try_at END,
        'last_status_code', d.last_status_code, 'last_error', d.last_error,
        'created_at', d.created_at, 'settled_at', d.settled_at)
$$;

-- The webhook stands in kwargs, which may be megabytes: it is looked for once, when the run is made. `->>` fails on any
-- NUL in the whole text, so those are replaced by as many characters that PostgreSQL has.
CREATE FUNCTION note_webhook() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.webhook := nullif(replace(NEW.kwargs::text, '\u0000', '\ufffd')::json ->> 'webhook', '');
    RETURN NEW;
END
$$;

CREATE TRIGGER runs_with_webhook BEFORE INSERT ON runs FOR EACH ROW
    WHEN (strpos(NEW.kwargs::text, '"webhook":"') > 0 OR strpos(NEW.kwargs::text, '"webhook": "') > 0)
    EXECUTE FUNCTION note_webhook();

-- A row that is removed before it is over was rolled back; if its thread went with it, the run was only stopped.
CREATE FUNCTION record_delivery() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    ended  runs;
    thread record;
BEGIN
    SELECT threads."values", threads.is_temporary INTO thread FROM threads WHERE thread_id = OLD.thread_id;
    IF TG_OP = 'UPDATE' THEN
        ended := NEW;
    ELSE
        ended := OLD;
        ended.status := CASE WHEN FOUND THEN 'rollback' ELSE 'interrupted' END;
        ended.updated_at := now();
    END IF;
    INSERT INTO deliveries (tenant, run_id, thread_id, url, destination, run, run_started_at, run_ended_at, "values", error)
    VALUES (ended.tenant, ended.run_id, ended.thread_id, ended.webhook,
            coalesce(lower(substring(ended.webhook FROM '^[A-Za-z]+://[^/?#]*')), ''),
            run_json(ended), ended.started_at, coalesce(ended.finished_at, now()),
            CASE WHEN TG_OP = 'UPDATE' AND NOT thread.is_temporary THEN thread."values"::json END,
            CASE WHEN ended.status IN ('error', 'timeout') THEN ended.error ->> 'message' END);
    RETURN NULL;
END
$$;

CREATE TRIGGER runs_over AFTER UPDATE OF status ON runs FOR EACH ROW
    WHEN (NEW.webhook IS NOT NULL AND OLD.status IN ('pending', 'running') AND NEW.status NOT IN ('pending', 'running'))
    EXECUTE FUNCTION record_delivery();
CREATE TRIGGER runs_removed AFTER DELETE ON runs FOR EACH ROW
    WHEN (OLD.webhook IS NOT NULL AND OLD.status IN ('pending', 'running'))
    EXECUTE FUNCTION record_delivery();
