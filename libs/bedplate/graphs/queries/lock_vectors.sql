-- lock_vectors: executors that start at once prepare store_vectors one after the other.
SELECT pg_advisory_xact_lock(hashtextextended('bedplate.store_vectors', 0))
