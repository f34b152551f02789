-- find_assistant_metadata: whose assistant it is, for authorization. By primary key.
SELECT metadata FROM assistants WHERE tenant = $1 AND assistant_id = $2
