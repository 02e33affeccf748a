--: state_counts
SELECT state, count(*) FROM cronq_task WHERE queue = ?1 GROUP BY state
--: group_count
SELECT count(DISTINCT group_name) FROM cronq_task
WHERE queue = ?1 AND group_name IS NOT NULL AND state IN (2, 6)
--: count_get
SELECT processed, failed FROM cronq_count WHERE queue = ?1 AND day = ?2
--: oldest
SELECT since_ns FROM cronq_task WHERE queue = ?1 AND state = 0 ORDER BY at LIMIT 1
--: weigh
SELECT avg(length(id) + length(message) + ?2)
FROM (SELECT id, message FROM cronq_task WHERE queue = ?1 LIMIT 50)
--: pause
UPDATE cronq_queue SET paused_at_s = ?2 WHERE n = ?1 AND paused_at_s IS NULL
--: resume
UPDATE cronq_queue SET paused_at_s = NULL WHERE n = ?1 AND paused_at_s IS NOT NULL
