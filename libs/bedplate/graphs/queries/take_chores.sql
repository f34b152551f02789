-- take_chores: at most $1 of them, oldest first, gone when the transaction commits. Not those that another worker is at.
DELETE FROM checkpoint_chores
 WHERE chore_id IN (SELECT chore_id FROM checkpoint_chores ORDER BY chore_id LIMIT $1 FOR UPDATE SKIP LOCKED)
RETURNING chore_id, thread_id, strategy
