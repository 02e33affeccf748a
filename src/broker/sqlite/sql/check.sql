--: check_tasks
SELECT n, id, state, at, group_name IS NOT NULL, message,
state = 7 AND NOT EXISTS (SELECT 1 FROM cronq_set WHERE cronq_set.n = set_n) FROM cronq_task
WHERE queue = ?1 AND id > ?2 ORDER BY id LIMIT ?3
--: check_quarantine
UPDATE cronq_task SET state = 4, at = ?2, fence = 1048576, raw = message, message = ?3,
since_ns = NULL, started = NULL, deaths = NULL, set_n = NULL
WHERE n = ?1
--: check_put_back
UPDATE cronq_task SET state = 0, at = ?2, fence = 1048576, since_ns = ?3, started = NULL,
set_n = NULL WHERE n = ?1
-- Its set is gone: back to its group.
--: check_regroup
UPDATE cronq_task SET state = 6, set_n = NULL WHERE n = ?1
--: check_end_lease
UPDATE cronq_task SET at = ?2 WHERE n = ?1
--: check_locks
SELECT name, holder FROM cronq_lock
WHERE name >= ?2 AND name < ?3 AND expires_ms > ?4
AND NOT EXISTS (SELECT 1 FROM cronq_task WHERE queue = ?1 AND id = holder) LIMIT ?5
--: check_file
PRAGMA quick_check(20)
