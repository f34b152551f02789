-- What is to be done to the checkpoints of threads where the project has a checkpointer of its own, which only executors
-- can reach: written with the change it belongs to, taken by any of their workers.

CREATE TABLE checkpoint_chores (
    chore_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    thread_id text NOT NULL,
    -- delete: everything of the thread; keep_latest: all but the newest checkpoint
    strategy  text NOT NULL CHECK (strategy IN ('delete', 'keep_latest'))
);
