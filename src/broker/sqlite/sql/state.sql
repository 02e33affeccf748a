--: server_set
INSERT INTO cronq_server(host, pid, server_id, info, expires_ms) VALUES (?1, ?2, ?3, ?4, ?5)
ON CONFLICT DO UPDATE SET info = excluded.info, expires_ms = excluded.expires_ms
--: server_delete
DELETE FROM cronq_server WHERE host = ?1 AND pid = ?2 AND server_id = ?3
--: worker_add
INSERT INTO cronq_worker(host, pid, server_id, task_id, info) VALUES (?1, ?2, ?3, ?4, ?5)
ON CONFLICT DO UPDATE SET info = excluded.info
--: worker_clear
DELETE FROM cronq_worker WHERE host = ?1 AND pid = ?2 AND server_id = ?3
-- What dead servers and schedulers left behind.
--: server_expire
DELETE FROM cronq_server WHERE expires_ms <= ?1
--: worker_expire
DELETE FROM cronq_worker WHERE NOT EXISTS (SELECT 1 FROM cronq_server s
WHERE s.host = cronq_worker.host AND s.pid = cronq_worker.pid AND s.server_id = cronq_worker.server_id)
--: entry_expire
DELETE FROM cronq_entry WHERE expires_ms <= ?1

--: entry_add
INSERT INTO cronq_entry(scheduler_id, position, entry, expires_ms) VALUES (?1, ?2, ?3, ?4)
--: entry_clear
DELETE FROM cronq_entry WHERE scheduler_id = ?1

--: event_add
INSERT INTO cronq_event(entry_id, at_ms, event) VALUES (?1, ?2, ?3)
--: event_trim
DELETE FROM cronq_event WHERE n IN (SELECT n FROM cronq_event WHERE entry_id = ?1
ORDER BY n DESC LIMIT 100 OFFSET ?2)

--: phase_add
INSERT INTO cronq_phase(queue, entry_id, at_s) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING
--: phase_get
SELECT at_s FROM cronq_phase WHERE queue = ?1 AND entry_id = ?2

-- Looking at what was told.
--: server_list
SELECT info FROM cronq_server WHERE expires_ms > ?1
--: worker_list
SELECT w.info FROM cronq_worker w JOIN cronq_server s USING (host, pid, server_id)
WHERE s.expires_ms > ?1
--: entry_list
SELECT entry FROM cronq_entry WHERE expires_ms > ?1 ORDER BY scheduler_id, position
--: event_list
SELECT event FROM cronq_event WHERE entry_id = ?1 ORDER BY n DESC LIMIT ?2 OFFSET ?3
