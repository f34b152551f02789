-- Where there is no lz4, a thread's values are not compressed at all: they are written anew at the end of every run, and pglz
-- takes longer for it than all the rest of the statement. They are a small part of what a long thread stores.

DO $$
BEGIN
    IF NOT (SELECT 'lz4' = ANY (enumvals) FROM pg_settings WHERE name = 'default_toast_compression') THEN
        ALTER TABLE threads ALTER COLUMN "values" SET STORAGE EXTERNAL;
    END IF;
END $$;
