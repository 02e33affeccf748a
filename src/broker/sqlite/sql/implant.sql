--: implant
INSERT INTO cronq_task(queue, state, at, fence, since_ns, id, message, group_name, unique_key,
result, failures, raw) VALUES (?1, ?2, ?3, 1048576, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) ON CONFLICT DO NOTHING
--: lock_until
SELECT expires_ms FROM cronq_lock WHERE name = ?1 AND holder = ?2
