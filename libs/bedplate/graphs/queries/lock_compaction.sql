-- lock_compaction: one compaction of a thread at a time; until the end of the transaction.
SELECT pg_advisory_xact_lock(hashtextextended('bedplate.compaction:' || $1::text, 0))
