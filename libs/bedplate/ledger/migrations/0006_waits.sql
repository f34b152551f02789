-- How a run ended is told from its row when its end event is lost, also after later runs of its thread.

ALTER TABLE runs
    -- something was left to do in the thread (a question, a breakpoint); NULL: it ended before this column was there.
    -- finish_run
    ADD COLUMN waits boolean;
