-- delete_blobs: remove the blobs of one channel that no checkpoint refers to. By primary key.
DELETE FROM checkpoint_blobs
 WHERE thread_id = $1 AND checkpoint_ns = $2 AND channel = $3 AND version = ANY($4::text[])
