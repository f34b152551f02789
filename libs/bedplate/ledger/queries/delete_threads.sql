-- delete_threads: the rows and, by cascade, their runs. By primary key.
DELETE FROM threads WHERE thread_id = ANY($1::uuid[])
