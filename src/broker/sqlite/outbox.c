/* SPDX-License-Identifier: MIT */
/* broker/sqlite/outbox.c - pushing in a transaction of the caller's.
 *
 * The caller's connection is used through a guest: a broker of one call that has neither
 * files nor a turn of its own. The turn of the client's broker is not taken: who has it
 * may be waiting for the very transaction that is open here. */
#include "broker/sqlite/sqlite.h"

#include "base/error.h"
#include "base/log.h"
#include "base/quote.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct outbox {
    cq_sqlite *store; /* the client's, of which nothing is used that has a turn */
    cq_sqlite guest;  /* on the caller's connection */
    cq_push *item;
    int64_t now_ns;
} outbox;

/* The first column of the first row, or otherwise. Failures are noted. */
static int64_t ask(cq_sqlite *guest, const char *text, int64_t otherwise)
{
    sqlite3_stmt *stmt = NULL;
    cq_sql sql = { guest, NULL, 1 };
    int64_t value;

    if (!guest->code)
        cq_sqlite_note(guest, sqlite3_prepare_v2(guest->db, text, -1, &stmt, NULL));
    sql.stmt = stmt;
    value = cq_sql_value(&sql, otherwise);
    sqlite3_finalize(stmt);
    return value;
}

/* ---- is it the client's file? ---- */

static bool is_file(const char *name, const struct stat *file)
{
    struct stat st;

    return name && *name && stat(name, &st) == 0 && st.st_dev == file->st_dev &&
           st.st_ino == file->st_ino;
}

/* A hard link is the same file with another log beside it. */
static bool has_other_name(const char *name, const char *given, const struct stat *file)
{
    char one[PATH_MAX], other[PATH_MAX];
    struct stat folder;
    char *slash, *base;

    if (file->st_nlink < 2)
        return false;
    if (!realpath(name, one) || !realpath(given, other))
        return true;
    slash = strrchr(one, '/');
    base = strrchr(other, '/');
    if (strcmp(slash, base) != 0)
        return true;
    slash[1] = base[1] = '\0';
    return stat(other, &folder) < 0 || !is_file(one, &folder);
}

/* The name under which the file is attached, copied; or NULL. */
static char *find_attached(outbox *box, const struct stat *file)
{
    sqlite3_stmt *stmt = NULL;
    char *name = NULL;

    cq_sqlite_note(&box->guest, sqlite3_prepare_v2(box->guest.db, "PRAGMA database_list",
                                                   -1, &stmt, NULL));
    while (stmt && !name && sqlite3_step(stmt) == SQLITE_ROW)
        if (is_file((const char *)sqlite3_column_text(stmt, 2), file))
            name = strdup((const char *)sqlite3_column_text(stmt, 1));
    sqlite3_finalize(stmt);
    return name;
}

static cronq_status refuse_file(outbox *box, const struct stat *file, cronq_error *err)
{
    char *name = find_attached(box, file);
    char room[CQ_QUOTED_ROOM];

    if (name)
        cq_fail(err, CRONQ_EINVAL,
                "%s is attached as %s: a transaction over several files is not atomic "
                "with write-ahead logs; open it as the main database",
                box->store->given, cq_quoted(cq_str_of(name), room));
    else
        cq_fail(err, CRONQ_EINVAL,
                "the main database of the connection is not the client's file %s",
                box->store->given);
    free(name);
    return CRONQ_EINVAL;
}

static cronq_status check_file(outbox *box, cronq_error *err)
{
    const char *name = sqlite3_db_filename(box->guest.db, "main");
    struct stat file;
    int moved = 0;

    if (stat(box->store->given, &file) < 0)
        return cq_fail(err, CRONQ_ESTATE, "%s is not there: cronq_client_ping makes it",
                       box->store->given);
    if (!is_file(name, &file))
        return refuse_file(box, &file, err);
    if (has_other_name(name, box->store->given, &file))
        return cq_fail(err, CRONQ_EINVAL,
                       "the connection has opened %s by another name (a hard link), "
                       "which has a write-ahead log of its own",
                       box->store->given);
    if (sqlite3_file_control(box->guest.db, "main", SQLITE_FCNTL_HAS_MOVED, &moved) ==
            SQLITE_OK &&
        moved)
        return cq_fail(err, CRONQ_EIO, "%s was deleted or replaced", box->store->given);
    return CRONQ_OK;
}

/* ---- is it fit? ---- */

/* A table of the caller's that hides one of ours would be written in its place. */
static cronq_status check_tables(outbox *box, cronq_error *err)
{
    cq_sqlite *guest = &box->guest;
    int64_t version = 0;

    if (ask(guest, "SELECT count(*) FROM main.sqlite_schema WHERE name = 'cronq_meta'",
            0))
        version =
            ask(guest, "SELECT value FROM main.cronq_meta WHERE name = 'version'", 0);
    if (!guest->code && version != CQ_SQLITE_VERSION)
        return cq_fail(err, CRONQ_ESTATE,
                       "%s has version %lld of the tables, not %d: call "
                       "cronq_client_ping before the transaction",
                       box->store->given, (long long)version, CQ_SQLITE_VERSION);
    if (ask(guest,
            "SELECT count(*) FROM temp.sqlite_master WHERE name LIKE 'cronq\\_%' "
            "ESCAPE '\\'",
            0))
        return cq_fail(err, CRONQ_ESTATE,
                       "the connection has temporary tables named cronq_…");
    return CRONQ_OK;
}

/* Said once: the caller may have good reasons. */
static void warn_of_weaker(outbox *box)
{
    cq_sqlite *store = box->store;
    int64_t wanted = store->normal ? 1 : 2,
            level = ask(&box->guest, "PRAGMA main.synchronous", wanted);

    if (level >= wanted || atomic_exchange(&store->warned, true))
        return;
    CQ_WARN(&store->logger,
            "%s: tasks are pushed in a transaction with synchronous = %lld, weaker than "
            "%lld of the store: a power cut may lose them",
            store->given, (long long)level, (long long)wanted);
}

static cronq_status check(outbox *box, cronq_error *err)
{
    cronq_status status;

    if (box->store->in_memory)
        return cq_fail(err, CRONQ_EUNSUPPORTED,
                       "a database in memory has no transactions of others");
    if (sqlite3_get_autocommit(box->guest.db))
        return cq_fail(err, CRONQ_ESTATE, "no transaction is open: BEGIN IMMEDIATE");
    status = check_file(box, err);
    if (!status)
        status = check_tables(box, err);
    if (!status)
        warn_of_weaker(box);
    return status;
}

/* ---- pushing ---- */

/* Held through a descriptor of its own: the store's belongs to whoever has the turn. Its
 * log can not be cut while the caller's transaction is open. */
static void hold_reserve(outbox *box)
{
    cq_sqlite *guest = &box->guest;
    char name[PATH_MAX + 16];

    snprintf(name, sizeof name, "%s-reserve", sqlite3_db_filename(guest->db, "main"));
    guest->reserve_fd = open(name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (!cq_sqlite_reserve_hold(guest))
        guest->code = SQLITE_FULL;
}

static void execute(cq_sqlite *guest, const char *text)
{
    if (!guest->code)
        cq_sqlite_note(guest, sqlite3_exec(guest->db, text, NULL, NULL, NULL));
}

/* All or nothing of it, and nothing of it when it is refused. */
static void push_or_undo(outbox *box)
{
    cq_sqlite *guest = &box->guest;
    int64_t last_rowid = sqlite3_last_insert_rowid(guest->db);
    int code;

    execute(guest, "SAVEPOINT cronq_push");
    if (guest->code)
        return;
    cq_sqlite_push_in(guest, box->item, box->now_ns);
    code = guest->code;
    guest->code = SQLITE_OK;
    if ((code || box->item->status) && !sqlite3_get_autocommit(guest->db))
        execute(guest, "ROLLBACK TO cronq_push");
    if (!sqlite3_get_autocommit(guest->db))
        execute(guest, "RELEASE cronq_push");
    guest->code = code ? code : guest->code;
    sqlite3_set_last_insert_rowid(guest->db, last_rowid);
}

/* Of the caller's: one that was stepped to a row and not to its end, or one from within
 * which this is called. */
static bool is_still_writing(sqlite3 *db)
{
    for (sqlite3_stmt *at = sqlite3_next_stmt(db, NULL); at;
         at = sqlite3_next_stmt(db, at))
        if (sqlite3_stmt_busy(at) && !sqlite3_stmt_readonly(at))
            return true;
    return false;
}

static cronq_status say_failure(outbox *box, cronq_error *err)
{
    int code = box->guest.code & 0xff;

    if (code == SQLITE_BUSY && is_still_writing(box->guest.db))
        return cq_fail(err, CRONQ_ESTATE,
                       "a statement of the connection that writes is not at its end: "
                       "sqlite3_reset it before");
    if (code == SQLITE_BUSY || code == SQLITE_LOCKED)
        return cq_fail(err, CRONQ_EIO,
                       "%s is written by someone else: BEGIN IMMEDIATE waits for it, by "
                       "the connection's busy timeout",
                       box->store->given);
    return cq_sqlite_failure(&box->guest, err);
}

static void end(outbox *box)
{
    for (int i = 0; i < CQ_SQL_COUNT; i++)
        sqlite3_finalize(box->guest.statements[i]);
    if (box->guest.reserve_fd >= 0)
        close(box->guest.reserve_fd);
    free(box);
}

cronq_status cq_sqlite_push_tx(cq_broker *broker, void *db, cq_library_fn *sourceid,
                               cq_push *item, int64_t now_ns, cronq_error *err)
{
    cronq_status status;
    outbox *box;

    if (sourceid != sqlite3_sourceid)
        return cq_fail(err, CRONQ_EUNSUPPORTED,
                       "the program uses another copy of SQLite than cronq: their locks "
                       "would not hold");
    if (!db)
        return cq_fail(err, CRONQ_EINVAL, "db is NULL");
    box = calloc(1, sizeof *box);
    if (!box)
        return cq_fail_nomem(err);
    box->store = cq_sqlite_of(broker);
    box->guest = (cq_sqlite){ .db = db, .path = box->store->given, .reserve_fd = -1 };
    box->item = item;
    box->now_ns = now_ns;
    status = check(box, err);
    if (!status && !box->guest.code)
        hold_reserve(box);
    if (!status && !box->guest.code)
        push_or_undo(box);
    if (!status && box->guest.code)
        status = say_failure(box, err);
    end(box);
    return status;
}

static cronq_status ring_work(cq_sqlite *store, void *arg, cronq_error *err)
{
    (void)arg;
    (void)err;
    store->ring = true;
    return CRONQ_OK;
}

cronq_status cq_sqlite_notify(cq_broker *broker, cronq_error *err)
{
    return cq_sqlite_do(cq_sqlite_of(broker), CQ_SQLITE_READS, ring_work, NULL, err);
}
