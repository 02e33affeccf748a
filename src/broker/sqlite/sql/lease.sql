--: extend
UPDATE cronq_task SET at = ?4 WHERE queue = ?1 AND id = ?2 AND state = 1 AND fence = ?3
RETURNING cancelled_ns IS NOT NULL
--: mark_started
UPDATE cronq_task SET started = ?3 WHERE queue = ?1 AND id = ?2 AND state = 1 AND fence = ?3
--: count_deaths
UPDATE cronq_task SET deaths = ifnull(deaths, 0) + 1
WHERE queue = ?1 AND id = ?2 AND state = 1 AND fence = ?3 RETURNING deaths
--: write_result
UPDATE cronq_task SET result = ?4 WHERE queue = ?1 AND id = ?2 AND state = 1 AND fence = ?3
--: leased
SELECT id, at, message FROM cronq_task
WHERE queue = ?1 AND state = 1 AND fence = ?2 ORDER BY at LIMIT ?3

--: expired
SELECT id, at, fence, message, started, cancelled_ns FROM cronq_task
WHERE queue = ?1 AND state = 1 AND at <= ?2 ORDER BY at LIMIT ?3
-- A lease is known by its end and its fence.
--: recover
UPDATE cronq_task SET state = iif(?5 = 0 AND group_name IS NOT NULL, 6, ?5),
at = iif(?5 = 0 AND group_name IS NOT NULL, ?8 / 1000000, ?6),
fence = 1048576, message = ?7, since_ns = iif(?5 = 0, ?8, NULL), started = NULL,
deaths = iif(?5 = 0, deaths, NULL), cancelled_ns = NULL
WHERE queue = ?1 AND id = ?2 AND state = 1 AND fence = ?3 AND at = ?4
AND (?5 <> 0 OR cancelled_ns IS NULL)
--: put_back
UPDATE cronq_task SET state = 0, at = ?5, fence = 1048576, since_ns = ?6, started = NULL
WHERE queue = ?1 AND id = ?2 AND state = 1 AND fence = ?3 AND at = ?4 AND cancelled_ns IS NULL
--: quarantine
UPDATE cronq_task SET state = 4, at = ?5, fence = 1048576, raw = message, message = ?6,
since_ns = NULL, started = NULL, deaths = NULL
WHERE queue = ?1 AND id = ?2 AND state = 1 AND fence = ?3 AND at = ?4
