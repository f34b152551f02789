-- Flow control: a run whose turn it is on its thread gets a ticket at once while few tickets lie unclaimed; else it is
-- ready, and tickets are shared out among the ready runs by priority, fairness group and the limits that are set.

-- assigned once, at the thread's first run; NULL: not assigned yet
ALTER TABLE threads
    ADD COLUMN priority       smallint CHECK (priority BETWEEN -5 AND 5),
    ADD COLUMN fairness_group text;

ALTER TABLE runs
    -- copies of the thread's, so that ready runs are found in order by one index
    ADD COLUMN priority       smallint NOT NULL DEFAULT 0,
    ADD COLUMN fairness_group text NOT NULL DEFAULT 'default',
    -- whose limit of running runs this one counts for; NULL: nobody's
    ADD COLUMN user_key       text,
    -- since when it waits for a ticket: current on its thread, no ticket yet. create_run, dispatch_next; ticket_runs ends it
    ADD COLUMN ready_at       timestamptz;

-- the tickets that nobody has claimed yet
CREATE INDEX runs_queued ON runs (ticketed_at) WHERE status = 'pending' AND ticketed_at IS NOT NULL;
CREATE INDEX runs_ready ON runs (tenant, fairness_group, priority, ready_at, run_id) WHERE ready_at IS NOT NULL;
