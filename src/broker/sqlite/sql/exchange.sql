-- Outcomes, each only while the lease carries its fence.
--: done
DELETE FROM cronq_task WHERE queue = ?1 AND id = ?2 AND state = 1 AND fence = ?3
--: settle
UPDATE cronq_task SET state = ?4, at = ?5, fence = 1048576, message = ?6, since_ns = NULL,
started = NULL, deaths = NULL, cancelled_ns = NULL
WHERE queue = ?1 AND id = ?2 AND state = 1 AND fence = ?3 AND (?4 <> 3 OR cancelled_ns IS NULL)
--: failures
SELECT failures FROM cronq_task WHERE queue = ?1 AND id = ?2
--: failures_set
UPDATE cronq_task SET failures = ?3 WHERE queue = ?1 AND id = ?2
--: give_back
UPDATE cronq_task SET state = 0, at = ?4, fence = 1048576, started = NULL
WHERE queue = ?1 AND id = ?2 AND state = 1 AND fence = ?3 AND cancelled_ns IS NULL

--: take_list
SELECT n, id, message, since_ns FROM cronq_task WHERE queue = ?1 AND state = 0
ORDER BY at LIMIT ?2
--: take
UPDATE cronq_task SET state = 1, at = ?2, fence = ?3 WHERE n = ?1

-- The archive has a limit: the tasks in it beyond a number, and those before a time.
--: archive_count
SELECT count(*) FROM cronq_task WHERE queue = ?1 AND state = 4
--: archive_excess
SELECT n, id, unique_key FROM cronq_task WHERE queue = ?1 AND state = 4 ORDER BY at LIMIT ?2
--: archive_old
SELECT n, id, unique_key FROM cronq_task WHERE queue = ?1 AND state = 4 AND at <= ?2
ORDER BY at LIMIT ?3
--: task_delete
DELETE FROM cronq_task WHERE n = ?1
