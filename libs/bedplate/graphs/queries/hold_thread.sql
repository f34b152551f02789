-- hold_thread: no row: no such thread. Until the end of the transaction no run is added to it.
-- For an edit of a thread's state; by primary key.
SELECT thread_id FROM threads WHERE thread_id = $1 FOR KEY SHARE
