-- Version 2: tasks that are cancelled while they run, and aggregation sets. A task in a
-- set has state 7; its "at" is still when it came to its group.
ALTER TABLE cronq_task ADD COLUMN cancelled_ns INTEGER;
ALTER TABLE cronq_task ADD COLUMN set_n INTEGER;
CREATE TABLE cronq_set (
    n INTEGER PRIMARY KEY,
    queue INTEGER NOT NULL,
    group_name TEXT NOT NULL,
    id TEXT NOT NULL,
    deadline_ms INTEGER NOT NULL,
    UNIQUE (queue, group_name, id)
);
CREATE INDEX cronq_set_deadline ON cronq_set(queue, deadline_ms);
