--: due_list
SELECT n, group_name IS NOT NULL FROM cronq_task
WHERE queue = ?1 AND state = ?2 AND at <= ?3 ORDER BY at LIMIT ?4
--: due_move
UPDATE cronq_task SET state = ?2, at = ?3, since_ns = ?4 WHERE n = ?1
--: purge_completed
DELETE FROM cronq_task WHERE n IN (SELECT n FROM cronq_task
WHERE queue = ?1 AND state = 5 AND at <= ?2 ORDER BY at LIMIT ?3)
--: purge_locks
DELETE FROM cronq_lock WHERE name IN (SELECT name FROM cronq_lock
WHERE expires_ms <= ?1 ORDER BY expires_ms LIMIT ?2)
--: purge_counts
DELETE FROM cronq_count WHERE queue = ?1 AND day >= 0 AND day < ?2
-- The newest stays, so that numbers are never used again.
--: purge_cancels
DELETE FROM cronq_cancel WHERE at_ms < ?1 AND n < (SELECT max(n) FROM cronq_cancel)

-- What a waiting worker looks for.
--: look
SELECT EXISTS (SELECT 1 FROM cronq_task WHERE queue = q.n AND state = 0) AND paused_at_s IS NULL,
(SELECT min(at) FROM cronq_task WHERE queue = q.n AND state = 2),
(SELECT min(at) FROM cronq_task WHERE queue = q.n AND state = 3)
FROM cronq_queue q WHERE name = ?1
--: cancel_last
SELECT max(n) FROM cronq_cancel
--: cancel_list
SELECT n, task_id FROM cronq_cancel WHERE n > ?1 ORDER BY n LIMIT ?2
