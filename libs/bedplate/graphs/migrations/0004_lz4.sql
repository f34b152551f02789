-- Snapshots and values of long threads: lz4 is several times as fast as pglz and no worse, and either is read by any saver.
-- A server built without it goes on with pglz.

DO $$
BEGIN
    IF (SELECT 'lz4' = ANY (enumvals) FROM pg_settings WHERE name = 'default_toast_compression') THEN
        ALTER TABLE checkpoint_blobs ALTER COLUMN blob SET COMPRESSION lz4;
        ALTER TABLE checkpoint_writes ALTER COLUMN blob SET COMPRESSION lz4;
        ALTER TABLE store ALTER COLUMN value SET COMPRESSION lz4;
    END IF;
END $$;
