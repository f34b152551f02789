-- Pages of threads that wait, failed or are at work, newest first (an inbox, a dashboard). The idle ones are most of all:
-- threads_by_update finds them as fast, and they need no entry here.

CREATE INDEX threads_by_status ON threads (tenant, status, updated_at DESC, thread_id)
 WHERE doomed_at IS NULL AND status <> 'idle';
