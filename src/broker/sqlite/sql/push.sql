--: task_add
INSERT INTO cronq_task(queue, state, at, fence, since_ns, id, message, group_name, unique_key)
VALUES (?1, ?2, ?3, 1048576, ?4, ?5, ?6, ?7, ?8)
ON CONFLICT DO NOTHING
--: task_message
SELECT message FROM cronq_task WHERE queue = ?1 AND id = ?2
--: task_state
SELECT state FROM cronq_task WHERE queue = ?1 AND id = ?2
