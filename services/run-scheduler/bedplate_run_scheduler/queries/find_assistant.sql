-- find_assistant: what a run takes of its assistant, for the crons that are due. By primary key.
SELECT graph_id, config, context, metadata FROM assistants WHERE tenant = $1 AND assistant_id = $2
