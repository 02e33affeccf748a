/* SPDX-License-Identifier: MIT */
/* broker/sqlite/connect.c - opening the database file, its schema, and closing it. */
#include "broker/sqlite/sqlite.h"

#include "base/connected.h"
#include "base/error.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define CACHE_KIB 8000

extern const char cq_schema_schema_1[], cq_schema_schema_2[], cq_schema_schema_3[];

/* The step from version i to i + 1. */
static const char *const migrations[] = { cq_schema_schema_1, cq_schema_schema_2,
                                          cq_schema_schema_3 };

enum { VERSION = CQ_SQLITE_VERSION };

_Static_assert(sizeof migrations / sizeof *migrations == VERSION, "a step is missing");

/* Whoever has the lock has it for a millisecond, as a rule. */
static int be_busy(void *arg, int count)
{
    const cq_sqlite *store = arg;
    int64_t now = cq_mono_ns();
    int64_t pause_ns = (int64_t)50000 << (count < 5 ? count : 5);
    struct timespec pause;

    if (now >= store->deadline_mono_ns)
        return 0;
    pause_ns += now % (pause_ns / 2); /* so that those who wait do not march in step */
    pause = (struct timespec){ 0, (long)pause_ns };
    nanosleep(&pause, NULL);
    return 1;
}

static void execute(cq_sqlite *store, const char *text)
{
    if (!store->code)
        cq_sqlite_note(store, sqlite3_exec(store->db, text, NULL, NULL, NULL));
}

void cq_sqlite_set_durable(cq_sqlite *store, bool durable)
{
    durable = durable && !store->normal;
    if (durable == store->waits_for_disk)
        return;
    execute(store, durable ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL");
    store->waits_for_disk = durable;
}

/* ---- schema ---- */

static int64_t query(cq_sqlite *store, const char *text, int64_t otherwise)
{
    cq_sql sql = { store, NULL, 1 };
    int64_t value;

    if (store->code)
        return otherwise;
    cq_sqlite_note(store, sqlite3_prepare_v2(store->db, text, -1, &sql.stmt, NULL));
    if (!sql.stmt)
        return otherwise;
    {
        sqlite3_stmt *stmt = sql.stmt;

        value = cq_sql_value(&sql, otherwise);
        sqlite3_finalize(stmt);
    }
    return value;
}

/* 0: there are no tables yet; -1: there are, but nothing that cronq wrote as a version.
 */
static int64_t read_version(cq_sqlite *store)
{
    if (!query(store, "SELECT count(*) FROM sqlite_schema WHERE name = 'cronq_meta'", 0))
        return 0;
    return query(store,
                 "SELECT iif(typeof(value) = 'integer' AND value > 0, value, -1) "
                 "FROM cronq_meta WHERE name = 'version'",
                 -1);
}

static void migrate(cq_sqlite *store)
{
    int64_t version;

    execute(store, "BEGIN IMMEDIATE");
    version = read_version(store);
    if (version < 0)
        version = VERSION; /* someone broke it just now: whoever asked sees that */
    for (int64_t v = version; v < VERSION; v++)
        execute(store, migrations[v]);
    if (version < VERSION) {
        char text[128];

        snprintf(text, sizeof text,
                 "INSERT OR REPLACE INTO cronq_meta(name, value) VALUES ('version', %d)",
                 VERSION);
        execute(store, text);
    }
    execute(store, "COMMIT");
    if (store->code)
        sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
}

/* A file that holds nothing yet gets a write-ahead log; in a user's own database, the
 * journal mode is the user's. To set it needs the file alone for a moment. */
static void set_journal(cq_sqlite *store)
{
    for (int count = 0; !store->code; count++) {
        if (query(store, "SELECT count(*) FROM sqlite_schema", 0) > 0)
            return;
        execute(store, "PRAGMA journal_mode = WAL");
        if ((store->code & 0xff) != SQLITE_BUSY || !be_busy(store, count))
            return;
        store->code = SQLITE_OK;
    }
}

cronq_status cq_sqlite_schema(cq_sqlite *store, cronq_error *err)
{
    int64_t version;

    if (!store->in_memory)
        set_journal(store);
    version = read_version(store);
    if (!store->code && version >= 0 && version < VERSION) {
        migrate(store);
        version = read_version(store);
    }
    if (store->code)
        return cq_sqlite_failure(store, err);
    if (version < 0)
        return cq_fail(err, CRONQ_EPROTO,
                       "%s: cronq_meta does not tell the version of cronq's tables",
                       store->path);
    if (version > VERSION)
        return cq_fail(err, CRONQ_EUNSUPPORTED,
                       "%s has version %lld of the tables; this cronq knows up to %d",
                       store->path, (long long)version, VERSION);
    return CRONQ_OK;
}

/* ---- files beside the database ---- */

/* Who may write the database may ring and use the reserve: also when root made the file.
 * One that has another name too may be any file of the machine, and stays as it is. */
static void share(const cq_sqlite *store, int fd, const char *name)
{
    struct stat database, own;

    if (stat(store->path, &database) < 0 || fstat(fd, &own) < 0 || own.st_nlink != 1)
        return;
    if ((geteuid() == 0 && own.st_uid != database.st_uid &&
         fchown(fd, database.st_uid, database.st_gid) < 0) ||
        fchmod(fd, database.st_mode & 0666) < 0)
        CQ_DEBUG(&store->logger, "%s belongs to someone else", name);
}

static int open_beside(const cq_sqlite *store, const char *suffix)
{
    char name[4096 + 16];
    int fd;

    snprintf(name, sizeof name, "%s%s", store->path, suffix);
    fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd >= 0)
        share(store, fd, name);
    return fd;
}

static cronq_status open_neighbours(cq_sqlite *store, cronq_error *err)
{
    store->bell_fd = open_beside(store, "-bell");
    if (store->bell_fd < 0)
        return cq_fail_errno(err, CRONQ_EIO, errno, "%s-bell can not be opened",
                             store->path);
    store->reserve_fd = open_beside(store, "-reserve");
    if (store->reserve_fd < 0)
        return cq_fail_errno(err, CRONQ_EIO, errno, "%s-reserve can not be opened",
                             store->path);
    cq_sqlite_reserve_hold(store); /* a push that can not will say so */
    return CRONQ_OK;
}

/* ---- the connection ---- */

/* SQLite follows links, and keeps its files beside where they lead to: to a network file
 * system, for example. */
static cronq_status follow_links(cq_sqlite *store, cronq_error *err)
{
    const char *real = sqlite3_db_filename(store->db, "main");
    char *path;

    if (!real || !*real || strcmp(real, store->path) == 0)
        return CRONQ_OK;
    path = strdup(real);
    if (!path)
        return cq_fail_nomem(err);
    free(store->path);
    store->path = path;
    return cq_sqlite_check_place(path, err);
}

/* Also when its directory is not there. */
static cronq_status check_there(const cq_sqlite *store, cronq_error *err)
{
    struct stat st;

    if (!store->must_exist || stat(store->path, &st) == 0 ||
        (errno != ENOENT && errno != ENOTDIR))
        return CRONQ_OK;
    return cq_fail(err, CRONQ_ENOENT, "there is no database %s", store->path);
}

static cronq_status open_database(cq_sqlite *store, cronq_error *err)
{
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
    char text[256];

    flags |= store->in_memory ? SQLITE_OPEN_URI : 0;
    flags |= store->was_open || store->must_exist ? 0 : SQLITE_OPEN_CREATE;
    cq_sqlite_note(store, sqlite3_open_v2(store->path, &store->db, flags, store->vfs));
    if (store->code)
        return cq_sqlite_failure(store, err);
    atomic_fetch_add(&store->broker.opened_count, 1);
    sqlite3_busy_handler(store->db, be_busy, store);
    snprintf(text, sizeof text,
             "PRAGMA synchronous = FULL; PRAGMA secure_delete = OFF; "
             "PRAGMA cache_size = -%d; PRAGMA temp_store = MEMORY",
             CACHE_KIB);
    execute(store, text);
    store->waits_for_disk = true;
    return store->code ? cq_sqlite_failure(store, err) : CRONQ_OK;
}

static cronq_status connect_new(cq_sqlite *store, cronq_error *err)
{
    cronq_status status = CRONQ_OK;

    if (!store->in_memory)
        status = check_there(store, err);
    if (!status && !store->in_memory)
        status = cq_sqlite_check_place(store->path, err);
    if (!status)
        status = open_database(store, err);
    if (!status && !store->in_memory)
        status = follow_links(store, err);
    if (!status)
        status = cq_sqlite_schema(store, err);
    if (!status && !store->in_memory)
        status = open_neighbours(store, err);
    if (!status)
        status = cq_sqlite_check_files(store, err);
    return status;
}

cronq_status cq_sqlite_connect(cq_sqlite *store, cronq_error *err)
{
    cronq_status status;

    memset(store->files, 0, sizeof store->files);
    status = connect_new(store, err);
    if (status) {
        cq_sqlite_disconnect(store, true);
        return status;
    }
    atomic_store(&store->connected_by, getpid());
    store->was_open = !store->in_memory;
    store->counted = true;
    cq_connected_add(1);
    atomic_fetch_add(&store->connection, 1);
    return CRONQ_OK;
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

void cq_sqlite_disconnect(cq_sqlite *store, bool broken)
{
    for (int i = 0; i < CQ_SQL_COUNT; i++) {
        sqlite3_finalize(store->statements[i]);
        store->statements[i] = NULL;
    }
    if (store->db && broken)
        sqlite3_db_config(store->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    sqlite3_close(store->db);
    store->db = NULL;
    atomic_store(&store->connected_by, 0);
    if (store->counted)
        cq_connected_add(-1);
    store->counted = false;
    close_fd(&store->bell_fd);
    close_fd(&store->reserve_fd);
}
