-- Encryption: what a run keeps is encrypted in the context of the request that created it, whoever asks later.

ALTER TABLE runs
    -- for the project's encryption handlers, not secret; NULL: the request had none
    ADD COLUMN encryption_context json;
