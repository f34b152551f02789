-- Keys that all services of the installation share. Made here, so that there is nothing to configure and nothing to forget.
CREATE TABLE keys (
    name  text PRIMARY KEY,
    value bytea NOT NULL
);

-- Version 4 UUIDs come from the server's strong random source, 122 bits each.
INSERT INTO keys (name, value)
VALUES ('run_credential', sha256(convert_to(gen_random_uuid()::text || gen_random_uuid() || gen_random_uuid(), 'UTF8')));
