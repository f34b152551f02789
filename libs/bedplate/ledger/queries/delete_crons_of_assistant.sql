-- delete_crons_of_assistant: they go with it. Index crons_of_assistant.
DELETE FROM crons WHERE tenant = $1 AND assistant_id = $2
