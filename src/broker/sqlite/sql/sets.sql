-- Groups that are due: ?2 most tasks, ?3 longest wait, ?4 now, ?5 grace.
--: due_groups
SELECT group_name FROM cronq_task
WHERE queue = ?1 AND group_name IS NOT NULL AND state = 6 GROUP BY group_name
HAVING (?2 > 0 AND count(*) >= ?2) OR (?3 > 0 AND ?4 - min(at) >= ?3) OR ?4 - max(at) >= ?5
LIMIT ?6
--: group_due
SELECT count(*) > 0 AND ((?2 > 0 AND count(*) >= ?2) OR (?3 > 0 AND ?4 - min(at) >= ?3)
OR ?4 - max(at) >= ?5) FROM cronq_task WHERE queue = ?1 AND group_name = ?6 AND state = 6
--: group_list
SELECT group_name, count(*) FROM cronq_task
WHERE queue = ?1 AND group_name IS NOT NULL AND state = 6 GROUP BY group_name LIMIT ?2

--: set_add
INSERT INTO cronq_set(queue, group_name, id, deadline_ms) VALUES (?1, ?2, ?3, ?4)
--: set_take
UPDATE cronq_task SET state = 7, set_n = ?3 WHERE n IN (SELECT n FROM cronq_task
WHERE queue = ?1 AND group_name = ?2 AND state = 6 ORDER BY at LIMIT ?4)
--: set_find
SELECT n FROM cronq_set WHERE queue = ?1 AND group_name = ?2 AND id = ?3
--: set_records
SELECT id, state, message, at, since_ns, group_name, result, cancelled_ns, NULL, NULL FROM cronq_task
WHERE queue = ?1 AND group_name = ?2 AND state = 7 AND set_n = ?3 ORDER BY at LIMIT ?4
--: set_extend
UPDATE cronq_set SET deadline_ms = ?2 WHERE n = ?1
--: set_misfit
UPDATE cronq_task SET state = 4, at = ?4, raw = message, message = ?5, set_n = NULL
WHERE queue = ?1 AND id = ?2 AND state = 7 AND set_n = ?3
--: set_free_locks
DELETE FROM cronq_lock WHERE name IN (SELECT unique_key FROM cronq_task WHERE queue = ?1
AND group_name = ?2 AND state = 7 AND set_n = ?3) AND (name, holder) IN (SELECT unique_key, id
FROM cronq_task WHERE queue = ?1 AND group_name = ?2 AND state = 7 AND set_n = ?3)
--: set_delete_tasks
DELETE FROM cronq_task WHERE queue = ?1 AND group_name = ?2 AND state = 7 AND set_n = ?3
--: set_delete
DELETE FROM cronq_set WHERE n = ?1
--: set_stale
SELECT n FROM cronq_set WHERE queue = ?1 AND deadline_ms <= ?2 ORDER BY deadline_ms LIMIT ?3
--: set_give_back
UPDATE cronq_task SET state = 6, set_n = NULL WHERE queue = ?1 AND state = 7 AND set_n = ?2
