-- get_assistant: as clients see it, by primary key.
SELECT assistant_json(assistants) AS row FROM assistants WHERE tenant = $1 AND assistant_id = $2
