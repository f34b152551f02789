-- read_storage: what a thread's checkpoints take, as they are stored: compressed, without indexes. For clients. By the
-- primary keys, which begin with the thread; no large value is fetched for it. No row: no such thread.
SELECT json_build_object(
           'thread_id', threads.thread_id,
           'total_bytes', kept.bytes + coalesce(held.bytes, 0) + pending.bytes,
           'checkpoints', json_build_object('count', kept.count, 'bytes', kept.bytes),
           'channel_values', json_build_object('count', coalesce(held.count, 0), 'bytes', coalesce(held.bytes, 0),
                                               'by_channel', coalesce(held.by_channel, '{}')),
           'pending_writes', json_build_object('count', pending.count, 'bytes', pending.bytes)) AS row
  FROM threads
 CROSS JOIN LATERAL (
    SELECT count(*), coalesce(sum(pg_column_size(checkpoint) + pg_column_size(metadata)), 0) AS bytes
      FROM checkpoints WHERE checkpoints.thread_id = threads.thread_id::text
 ) AS kept
 CROSS JOIN LATERAL (
    SELECT sum(channels.count)::bigint AS count, sum(channels.bytes)::bigint AS bytes,
           json_object_agg(channels.channel, channels.bytes ORDER BY channels.bytes DESC) AS by_channel
      FROM (SELECT channel, count(*), coalesce(sum(pg_column_size(blob)), 0)::bigint AS bytes
              FROM checkpoint_blobs WHERE checkpoint_blobs.thread_id = threads.thread_id::text
             GROUP BY channel) AS channels
 ) AS held
 CROSS JOIN LATERAL (
    SELECT count(*), coalesce(sum(pg_column_size(blob)), 0) AS bytes
      FROM checkpoint_writes WHERE checkpoint_writes.thread_id = threads.thread_id::text
 ) AS pending
 WHERE threads.thread_id = $2 AND threads.tenant = $1 AND threads.doomed_at IS NULL
