/* SPDX-License-Identifier: MIT */
/* broker/sqlite/transact.c - whose turn it is, transactions, and statements.
 *
 * Threads of one broker take turns in a lock of ours, other processes are waited for by
 * SQLite's, both until the deadline of the operation. A transaction is never left open
 * and the turn never kept when an operation returns. */
#include "broker/sqlite/sqlite.h"

#include "base/error.h"
#include "base/log.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#define CQ_SQL_TEXT(name) extern const char cq_sql_##name[];
CQ_SQL_MAP(CQ_SQL_TEXT)
#undef CQ_SQL_TEXT

static const char *const texts[CQ_SQL_COUNT] = {
#define CQ_SQL_ROW(name) cq_sql_##name,
    CQ_SQL_MAP(CQ_SQL_ROW)
#undef CQ_SQL_ROW
};

/* ---- failures ---- */

/* A full disk is told by writing, or by what was tried to make room for it. */
static bool is_full(const cq_sqlite *store, int code)
{
    int errnum;

    if ((code & 0xff) == SQLITE_FULL)
        return true;
    if ((code & 0xff) != SQLITE_IOERR || !store->db)
        return false;
    errnum = sqlite3_system_errno(store->db);
    return errnum == ENOSPC || errnum == EDQUOT;
}

void cq_sqlite_note(cq_sqlite *store, int code)
{
    if (store->code || code == SQLITE_OK || code == SQLITE_ROW || code == SQLITE_DONE)
        return;
    store->code = is_full(store, code) ? SQLITE_FULL : code;
    snprintf(store->text, sizeof store->text, "%s",
             store->db ? sqlite3_errmsg(store->db) : sqlite3_errstr(code));
}

cronq_status cq_sqlite_failure(cq_sqlite *store, cronq_error *err)
{
    switch (store->code & 0xff) {
    case SQLITE_NOMEM:
        return cq_fail_nomem(err);
    case SQLITE_FULL:
        return cq_fail(err, CRONQ_EFULL, "%s: no space is left for the database",
                       store->path);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return cq_fail(err, CRONQ_EIO,
                       "%s: another process has locked the database for %lld ms",
                       store->path, (long long)store->timeout_ms);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_ERROR:
        return cq_fail(err, CRONQ_EPROTO, "%s: %s", store->path, store->text);
    case SQLITE_TOOBIG:
        return cq_fail(err, CRONQ_ETOOBIG, "%s: %s", store->path, store->text);
    default:
        return cq_fail(err, CRONQ_EIO, "%s: %s", store->path, store->text);
    }
}

/* After these the connection is made anew. */
static bool breaks(int code)
{
    switch (code & 0xff) {
    case SQLITE_OK:
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_FULL:
    case SQLITE_TOOBIG:
    case SQLITE_CONSTRAINT:
        return false;
    default:
        return true;
    }
}

/* ---- turns ---- */

static cronq_status take_turn(cq_sqlite *store, cronq_error *err)
{
    int64_t now = cq_mono_ns(), deadline = INT64_MAX;
    pid_t connected_by = atomic_load(&store->connected_by);
    bool in_time = true;

    if (connected_by && connected_by != getpid())
        return cq_fail(err, CRONQ_ESTATE,
                       "%s was opened before this process was forked: open it anew",
                       store->path);
    if (store->timeout_ms >= 0)
        deadline = now + store->timeout_ms * CQ_NS_PER_MS;
    pthread_mutex_lock(&store->turn_lock);
    while (store->taken && in_time)
        in_time = cq_cond_wait_until(&store->turn_over, &store->turn_lock, deadline);
    in_time = !store->taken;
    if (in_time)
        store->taken = true;
    pthread_mutex_unlock(&store->turn_lock);
    if (!in_time)
        return cq_fail(err, CRONQ_EIO, "%s: the database was not free for %lld ms",
                       store->path, (long long)store->timeout_ms);
    store->deadline_mono_ns = deadline;
    return CRONQ_OK;
}

static void give_turn(cq_sqlite *store)
{
    pthread_mutex_lock(&store->turn_lock);
    store->taken = false;
    pthread_cond_signal(&store->turn_over);
    pthread_mutex_unlock(&store->turn_lock);
}

/* ---- transactions ---- */

static void run_plain(cq_sqlite *store, cq_sql_name name)
{
    cq_sql sql = cq_sql_of(store, name);

    cq_sql_run(&sql);
}

static void roll_back(cq_sqlite *store)
{
    int code = store->code;

    if (!store->db || sqlite3_get_autocommit(store->db))
        return;
    store->code = SQLITE_OK;
    run_plain(store, CQ_SQL_rollback);
    store->code = code;
}

/* One transaction from begin to end. */
static cronq_status attempt(cq_sqlite *store, cq_sqlite_kind kind, cq_sqlite_work *work,
                            void *arg, cronq_error *err)
{
    cronq_status status = CRONQ_OK;

    store->code = SQLITE_OK;
    store->ring = store->ring_cancel = store->committing = false;
    if (kind != CQ_SQLITE_READS)
        cq_sqlite_set_durable(store, kind != CQ_SQLITE_EXCHANGES);
    run_plain(store, kind == CQ_SQLITE_READS ? CQ_SQL_begin_read : CQ_SQL_begin_write);
    if (!store->code)
        status = work(store, arg, err);
    store->committing = !store->code && !status;
    if (store->committing)
        run_plain(store, CQ_SQL_commit);
    if (store->code || status)
        roll_back(store);
    return store->code ? CRONQ_EIO : status;
}

/* Pages of the log that are in the database already make room without a new block; the
 * reserve is the last that is left. */
static bool make_room(cq_sqlite *store)
{
    sqlite3_wal_checkpoint_v2(store->db, "main", SQLITE_CHECKPOINT_RESTART, NULL, NULL);
    return cq_sqlite_reserve_release(store);
}

/* Is the reserve there, as a push needs it? A log that has become large is given up for
 * it: more of its space comes back than the reserve takes. */
static bool hold_reserve(cq_sqlite *store)
{
    if (cq_sqlite_reserve_hold(store))
        return true;
    if (!cq_sqlite_log_is_large(store))
        return false;
    sqlite3_wal_checkpoint_v2(store->db, "main", SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    return cq_sqlite_reserve_hold(store);
}

static cronq_status transact(cq_sqlite *store, cq_sqlite_kind kind, cq_sqlite_work *work,
                             void *arg, cronq_error *err)
{
    cronq_status status;

    if (kind == CQ_SQLITE_ADDS && !hold_reserve(store)) {
        store->code = SQLITE_FULL;
        return cq_sqlite_failure(store, err);
    }
    status = attempt(store, kind, work, arg, err);
    if (store->code == SQLITE_FULL && kind >= CQ_SQLITE_DRAINS) {
        if (make_room(store))
            CQ_WARN(&store->logger, "%s: no space is left; using the reserve",
                    store->path);
        status = attempt(store, kind, work, arg, err);
    }
    if (!store->code)
        return status;
    status = cq_sqlite_failure(store, err);
    return status == CRONQ_EFULL && kind != CQ_SQLITE_ADDS ? CRONQ_EIO : status;
}

cronq_status cq_sqlite_try(cq_sqlite *store, cq_sqlite_kind kind, cq_sqlite_work *work,
                           void *arg, bool *doubtful, cronq_error *err)
{
    cronq_status status = take_turn(store, err);

    *doubtful = false;
    if (status)
        return status;
    store->code = SQLITE_OK;
    store->committing = false;
    if (store->db)
        status = cq_sqlite_check_files(store, err);
    else
        status = cq_sqlite_connect(store, err);
    if (!status)
        status = transact(store, kind, work, arg, err);
    if (breaks(store->code))
        cq_sqlite_disconnect(store, true);
    *doubtful = status && store->committing;
    if (!status && (store->ring || store->ring_cancel))
        cq_sqlite_ring(store, store->ring, store->ring_cancel);
    give_turn(store);
    return status;
}

cronq_status cq_sqlite_do(cq_sqlite *store, cq_sqlite_kind kind, cq_sqlite_work *work,
                          void *arg, cronq_error *err)
{
    bool doubtful;

    return cq_sqlite_try(store, kind, work, arg, &doubtful, err);
}

/* ---- statements ---- */

cq_sql cq_sql_of(cq_sqlite *store, cq_sql_name name)
{
    cq_sql sql = { store, NULL, 1 };

    if (store->code)
        return sql;
    if (!store->statements[name])
        cq_sqlite_note(store, sqlite3_prepare_v3(store->db, texts[name], -1,
                                                 SQLITE_PREPARE_PERSISTENT,
                                                 &store->statements[name], NULL));
    sql.stmt = store->statements[name];
    return sql;
}

void cq_sql_int(cq_sql *sql, int64_t value)
{
    if (sql->stmt)
        cq_sqlite_note(sql->store, sqlite3_bind_int64(sql->stmt, sql->at++, value));
}

void cq_sql_null(cq_sql *sql)
{
    if (sql->stmt)
        cq_sqlite_note(sql->store, sqlite3_bind_null(sql->stmt, sql->at++));
}

void cq_sql_str(cq_sql *sql, cq_str value)
{
    if (sql->stmt)
        cq_sqlite_note(sql->store, sqlite3_bind_text64(
                                       sql->stmt, sql->at++, value.len ? value.data : "",
                                       value.len, SQLITE_STATIC, SQLITE_UTF8));
}

void cq_sql_str_or_null(cq_sql *sql, cq_str value)
{
    if (value.len)
        cq_sql_str(sql, value);
    else
        cq_sql_null(sql);
}

void cq_sql_bytes(cq_sql *sql, cronq_bytes value)
{
    if (sql->stmt)
        cq_sqlite_note(sql->store, sqlite3_bind_blob64(sql->stmt, sql->at++,
                                                       value.len ? value.data : "",
                                                       value.len, SQLITE_STATIC));
}

void cq_sql_end(cq_sql *sql)
{
    if (sql->stmt)
        sqlite3_reset(sql->stmt);
    sql->stmt = NULL;
}

bool cq_sql_step(cq_sql *sql)
{
    int code;

    if (!sql->stmt)
        return false;
    if (sql->store->code) {
        cq_sql_end(sql);
        return false;
    }
    code = sqlite3_step(sql->stmt);
    if (code == SQLITE_ROW)
        return true;
    cq_sqlite_note(sql->store, code);
    cq_sql_end(sql);
    return false;
}

int64_t cq_sql_run(cq_sql *sql)
{
    while (cq_sql_step(sql))
        ;
    return sql->store->code ? 0 : sqlite3_changes64(sql->store->db);
}

int64_t cq_sql_value(cq_sql *sql, int64_t otherwise)
{
    int64_t value = otherwise;

    if (!cq_sql_step(sql))
        return otherwise;
    if (!cq_sql_is_null(sql, 0))
        value = cq_sql_get_int(sql, 0);
    cq_sql_end(sql);
    return value;
}

bool cq_sql_is_null(const cq_sql *sql, int column)
{
    return sqlite3_column_type(sql->stmt, column) == SQLITE_NULL;
}

int64_t cq_sql_get_int(const cq_sql *sql, int column)
{
    return sqlite3_column_int64(sql->stmt, column);
}

cq_str cq_sql_get_str(const cq_sql *sql, int column)
{
    const void *text = sqlite3_column_text(sql->stmt, column);

    return (cq_str){ text ? text : "", (size_t)sqlite3_column_bytes(sql->stmt, column) };
}

cronq_bytes cq_sql_get_bytes(const cq_sql *sql, int column)
{
    const void *data = sqlite3_column_blob(sql->stmt, column);

    return (cronq_bytes){ data ? data : "",
                          (size_t)sqlite3_column_bytes(sql->stmt, column) };
}

cq_str cq_sql_copy_str(const cq_sql *sql, int column, cq_arena *arena)
{
    cq_str text = cq_sql_get_str(sql, column);

    return (cq_str){ cq_arena_dup(arena, text.data, text.len), text.len };
}

cronq_bytes cq_sql_copy_bytes(const cq_sql *sql, int column, cq_arena *arena)
{
    cronq_bytes bytes = cq_sql_get_bytes(sql, column);

    return (cronq_bytes){ cq_arena_dup(arena, bytes.data, bytes.len), bytes.len };
}
