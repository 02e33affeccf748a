-- The columns of a record, in the order in which tasks.c reads them.
--: record
SELECT id, state, message, at, since_ns, group_name, result, cancelled_ns, failures, raw
FROM cronq_task WHERE queue = ?1 AND id = ?2
--: record_list
SELECT id, state, message, at, since_ns, group_name, result, cancelled_ns, iif(?5, failures, NULL),
iif(?5, raw, NULL)
FROM cronq_task WHERE queue = ?1 AND state = ?2 ORDER BY at LIMIT ?3 OFFSET ?4
--: record_group
SELECT id, state, message, at, since_ns, group_name, result, cancelled_ns, iif(?5, failures, NULL),
iif(?5, raw, NULL)
FROM cronq_task WHERE queue = ?1 AND group_name = ?2 AND state = 6 ORDER BY at LIMIT ?3 OFFSET ?4

-- Moving by hand.
--: act_find
SELECT n, state, unique_key FROM cronq_task WHERE queue = ?1 AND id = ?2
--: act_first
SELECT n, id, unique_key FROM cronq_task WHERE queue = ?1 AND state = ?2 ORDER BY at LIMIT ?3
--: act_first_group
SELECT n, id, unique_key FROM cronq_task WHERE queue = ?1 AND group_name = ?2 AND state = 6
ORDER BY at LIMIT ?3
--: act_run
UPDATE cronq_task SET state = 0, at = ?2, since_ns = ?3, result = NULL, cancelled_ns = NULL,
deaths = NULL WHERE n = ?1
--: act_archive
UPDATE cronq_task SET state = 4, at = ?2, cancelled_ns = NULL WHERE n = ?1

-- Changing in place.
--: amend_find
SELECT n, state, message, at, group_name, unique_key FROM cronq_task WHERE queue = ?1 AND id = ?2
--: amend_message
UPDATE cronq_task SET message = ?2 WHERE n = ?1
--: amend_place
UPDATE cronq_task SET state = ?2, at = ?3, since_ns = ?4, cancelled_ns = NULL WHERE n = ?1
--: lock_shift
UPDATE cronq_lock SET expires_ms = max(expires_ms + ?3, ?4) WHERE name = ?1 AND holder = ?2

--: cancel_mark
UPDATE cronq_task SET cancelled_ns = ?3 WHERE queue = ?1 AND id = ?2 AND state = 1
--: cancel_add
INSERT INTO cronq_cancel(task_id, at_ms) VALUES (?1, ?2)
--: is_cancelled
SELECT 1 FROM cronq_task WHERE queue = ?1 AND id = ?2 AND state = 1 AND fence = ?3
AND cancelled_ns IS NOT NULL

-- What an empty queue leaves.
--: queue_tasks
SELECT EXISTS (SELECT 1 FROM cronq_task WHERE queue = ?1 AND state = 1),
EXISTS (SELECT 1 FROM cronq_task WHERE queue = ?1)
--: queue_delete
DELETE FROM cronq_queue WHERE n = ?1
--: queue_delete_counts
DELETE FROM cronq_count WHERE queue = ?1
