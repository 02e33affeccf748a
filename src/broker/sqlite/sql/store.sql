--: begin_write
BEGIN IMMEDIATE
--: begin_read
BEGIN
--: commit
COMMIT
--: rollback
ROLLBACK
--: data_version
PRAGMA data_version
--: ping
SELECT value FROM cronq_meta WHERE name = 'version'

--: queue_find
SELECT n, paused_at_s FROM cronq_queue WHERE name = ?1
--: queue_add
INSERT INTO cronq_queue(name) VALUES (?1)
--: queue_list
SELECT name FROM cronq_queue

-- The ends of pending.
--: pending_first
SELECT min(at) FROM cronq_task WHERE queue = ?1 AND state = 0
--: pending_last
SELECT max(at) FROM cronq_task WHERE queue = ?1 AND state = 0

--: lock_get
SELECT holder FROM cronq_lock WHERE name = ?1 AND expires_ms > ?2
--: lock_set
INSERT INTO cronq_lock(name, holder, expires_ms) VALUES (?1, ?2, ?3)
ON CONFLICT(name) DO UPDATE SET holder = excluded.holder, expires_ms = excluded.expires_ms
--: lock_free
DELETE FROM cronq_lock WHERE name = ?1 AND holder = ?2

-- A total restarts where it would pass the greatest integer.
--: count
INSERT INTO cronq_count(queue, day, processed, failed) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT(queue, day) DO UPDATE SET
processed = iif(processed > 9223372036854775807 - ?3, ?3, processed + ?3),
failed = iif(processed > 9223372036854775807 - ?3, ?4, failed + ?4)
