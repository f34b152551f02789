-- Threads, runs and the outbox. Written only by bedplate.ledger.
--
-- Lock order: thread, run, outbox. What decides about a thread's next run (runs_active, current_run) stands in the
-- thread's own row, because a row that was waited for is read anew, while other rows are seen as of the statement's start.

CREATE TABLE threads (
    thread_id        uuid PRIMARY KEY,
    tenant           text NOT NULL,
    -- busy: create_run; the others: finish_run, cancel_run, record_state, which also know when the last run has ended
    status           text NOT NULL DEFAULT 'idle'
                     CHECK (status IN ('idle', 'busy', 'interrupted', 'error')),
    -- what status becomes again when the last run of the thread has ended without saying anything new
    settled_status   text NOT NULL DEFAULT 'idle'
                     CHECK (settled_status IN ('idle', 'interrupted', 'error')),
    metadata         jsonb NOT NULL DEFAULT '{}',
    config           jsonb NOT NULL DEFAULT '{}',
    "values"         jsonb,
    interrupts       jsonb NOT NULL DEFAULT '{}',
    error            jsonb,
    -- number of the last event of the thread's finished runs: the next run's events go on from here
    events_n         bigint NOT NULL DEFAULT 0,
    -- pending and running runs
    runs_active      int NOT NULL DEFAULT 0 CHECK (runs_active >= 0),
    -- the run that holds a ticket or is running; no other run of the thread may be claimed
    current_run      uuid,
    is_temporary     boolean NOT NULL DEFAULT false,
    deletes_with_run boolean NOT NULL DEFAULT false,
    -- set when a temporary thread's run has ended: gone for every reader, swept a little later
    doomed_at        timestamptz,
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now(),
    state_updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX threads_by_update ON threads (tenant, updated_at DESC, thread_id) WHERE doomed_at IS NULL;
CREATE INDEX threads_by_metadata ON threads USING gin (metadata jsonb_path_ops);
-- the dispatch loop: threads with work and nobody at it (delayed runs, and what a crash left behind)
CREATE INDEX threads_undispatched ON threads (thread_id) WHERE current_run IS NULL AND runs_active > 0;
-- the sweep
CREATE INDEX threads_doomed ON threads (doomed_at) WHERE doomed_at IS NOT NULL;

CREATE TABLE runs (
    run_id             uuid PRIMARY KEY,
    thread_id          uuid NOT NULL REFERENCES threads ON DELETE CASCADE,
    tenant             text NOT NULL,
    assistant_id       uuid NOT NULL,
    graph_id           text NOT NULL,
    -- pending: create_run, release_runs, lose_runs; running: claim_runs; interrupted: finish_run, cancel_run;
    -- error: finish_run, lose_runs; success, timeout: finish_run
    status             text NOT NULL DEFAULT 'pending'
                       CHECK (status IN ('pending', 'running', 'success', 'error', 'interrupted', 'timeout')),
    multitask_strategy text NOT NULL
                       CHECK (multitask_strategy IN ('enqueue', 'reject', 'interrupt', 'rollback')),
    metadata           jsonb NOT NULL DEFAULT '{}',
    -- json, not jsonb: the input keeps the order of its keys and the precision of its numbers
    kwargs             json NOT NULL,
    attempt            int NOT NULL DEFAULT 0,
    failures           int NOT NULL DEFAULT 0,
    executor           text,
    lease_until        timestamptz,
    cancel_action      text CHECK (cancel_action IN ('interrupt', 'rollback')),
    ticket             int NOT NULL DEFAULT 0,
    ticketed_at        timestamptz,
    error              jsonb,
    created_at         timestamptz NOT NULL DEFAULT now(),
    updated_at         timestamptz NOT NULL DEFAULT now(),
    started_at         timestamptz,
    finished_at        timestamptz,
    position           bigint GENERATED ALWAYS AS IDENTITY
);

-- the promise of one running run per thread, not only in code
CREATE UNIQUE INDEX runs_one_running ON runs (thread_id) WHERE status = 'running';
CREATE INDEX runs_of_thread ON runs (thread_id, created_at DESC, position DESC);
CREATE INDEX runs_waiting ON runs (thread_id, created_at, position) WHERE status = 'pending';
-- lease_until is left out on purpose: a renewal must stay a HOT update
CREATE INDEX runs_running ON runs (run_id) WHERE status = 'running';

CREATE TABLE outbox (
    outbox_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    msg_id     text NOT NULL,
    subject    text NOT NULL,
    body       json NOT NULL,
    written_at timestamptz NOT NULL DEFAULT now()
);

-- Parcels: bodies of orders and replies too large for one message. Short-lived, swept.
CREATE TABLE parcels (
    parcel_id  uuid PRIMARY KEY,
    body       bytea NOT NULL,
    written_at timestamptz NOT NULL DEFAULT now()
);

-- The rows as clients see them. One place, so that an order's answer and a read agree.
CREATE FUNCTION thread_json(t threads) RETURNS json LANGUAGE sql STABLE AS $$
    SELECT json_build_object(
        'thread_id', t.thread_id, 'created_at', t.created_at, 'updated_at', t.updated_at,
        'state_updated_at', t.state_updated_at, 'metadata', t.metadata, 'status', t.status,
        'config', t.config, 'values', t."values", 'interrupts', t.interrupts, 'error', t.error)
$$;

CREATE FUNCTION run_json(r runs) RETURNS json LANGUAGE sql STABLE AS $$
    SELECT json_build_object(
        'run_id', r.run_id, 'thread_id', r.thread_id, 'assistant_id', r.assistant_id,
        'status', r.status, 'metadata', r.metadata, 'kwargs', r.kwargs,
        'multitask_strategy', r.multitask_strategy,
        'created_at', r.created_at, 'updated_at', r.updated_at)
$$;
