-- list_graphs: what executors have announced. By primary key.
SELECT graph_id FROM graphs WHERE tenant = $1 ORDER BY graph_id
