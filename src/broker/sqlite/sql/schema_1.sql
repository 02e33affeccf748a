-- Version 1. Times are Unix milliseconds unless a name says otherwise; "at" is a task's
-- place in its state: its order in pending, else a time (the end of its lease, when it is
-- due, when it was archived, until when it is kept).
CREATE TABLE cronq_meta (
    name TEXT PRIMARY KEY,
    value
) WITHOUT ROWID;

CREATE TABLE cronq_queue (
    n INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    paused_at_s INTEGER
);

-- state: see CQ_SQLITE_PENDING and its fellows.
CREATE TABLE cronq_task (
    n INTEGER PRIMARY KEY,
    queue INTEGER NOT NULL,
    state INTEGER NOT NULL,
    at INTEGER NOT NULL,
    fence INTEGER NOT NULL,
    since_ns INTEGER,
    id TEXT NOT NULL,
    message BLOB NOT NULL,
    group_name TEXT,
    unique_key TEXT,
    started INTEGER,
    deaths INTEGER,
    result BLOB,
    raw BLOB
);
CREATE UNIQUE INDEX cronq_task_id ON cronq_task(queue, id);
CREATE INDEX cronq_task_order ON cronq_task(queue, state, at);
CREATE INDEX cronq_task_group ON cronq_task(queue, group_name, state, at)
    WHERE group_name IS NOT NULL;

-- Unique locks, ticks of cron entries, and the last run of each.
CREATE TABLE cronq_lock (
    name TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    expires_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX cronq_lock_expiry ON cronq_lock(expires_ms);

-- day: days since 1970, or -1 for the total.
CREATE TABLE cronq_count (
    queue INTEGER NOT NULL,
    day INTEGER NOT NULL,
    processed INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    PRIMARY KEY (queue, day)
) WITHOUT ROWID;

CREATE TABLE cronq_server (
    host TEXT NOT NULL,
    pid INTEGER NOT NULL,
    server_id TEXT NOT NULL,
    info BLOB NOT NULL,
    expires_ms INTEGER NOT NULL,
    PRIMARY KEY (host, pid, server_id)
) WITHOUT ROWID;
CREATE TABLE cronq_worker (
    host TEXT NOT NULL,
    pid INTEGER NOT NULL,
    server_id TEXT NOT NULL,
    task_id TEXT NOT NULL,
    info BLOB NOT NULL,
    PRIMARY KEY (host, pid, server_id, task_id)
) WITHOUT ROWID;

CREATE TABLE cronq_entry (
    scheduler_id TEXT NOT NULL,
    position INTEGER NOT NULL,
    entry BLOB NOT NULL,
    expires_ms INTEGER NOT NULL,
    PRIMARY KEY (scheduler_id, position)
) WITHOUT ROWID;
CREATE TABLE cronq_event (
    n INTEGER PRIMARY KEY,
    entry_id TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    event BLOB NOT NULL
);
CREATE INDEX cronq_event_order ON cronq_event(entry_id, n);
CREATE TABLE cronq_phase (
    queue TEXT NOT NULL,
    entry_id TEXT NOT NULL,
    at_s INTEGER NOT NULL,
    PRIMARY KEY (queue, entry_id)
) WITHOUT ROWID;

CREATE TABLE cronq_cancel (
    n INTEGER PRIMARY KEY,
    task_id TEXT NOT NULL,
    at_ms INTEGER NOT NULL
);
