-- read_pgvector: the version of pgvector that this server has, and the one that is installed in this database.
SELECT default_version, installed_version FROM pg_available_extensions WHERE name = 'vector'
