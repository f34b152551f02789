-- find_thread_metadata: whose thread it is, for authorization; also of one about to be swept. By primary key.
SELECT metadata FROM threads WHERE thread_id = $2 AND tenant = $1
