-- delete_assistant: by primary key.
DELETE FROM assistants WHERE tenant = $1 AND assistant_id = $2 RETURNING assistant_id
