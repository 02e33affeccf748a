/* SPDX-License-Identifier: MIT */
/* sqlite.c - the embedded store as the measurements see it: a file of SQL tables. */
#include "base/error.h"
#include "bench/bench.h"

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#define SCHEME "sqlite:"

/* As the store sets them for its exchanges. */
static const char pragmas[] = "PRAGMA synchronous = NORMAL; PRAGMA secure_delete = OFF; "
                              "PRAGMA cache_size = -8000; PRAGMA busy_timeout = 5000";

bool cq_bench_is_sqlite(const char *uri)
{
    return strncmp(uri, SCHEME, strlen(SCHEME)) == 0;
}

cronq_status cq_bench_sqlite_open(const char *uri, sqlite3 **out, cronq_error *err)
{
    const char *text = uri + strlen(SCHEME);
    char path[4096];
    cronq_status status = CRONQ_OK;

    snprintf(path, sizeof path, "%.*s", (int)strcspn(text, "?"), text);
    if (sqlite3_open_v2(path, out, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) ||
        sqlite3_exec(*out, pragmas, NULL, NULL, NULL)) {
        status = cq_fail(err, CRONQ_EIO, "%s: %s", path, sqlite3_errmsg(*out));
        sqlite3_close(*out);
        *out = NULL;
    }
    return status;
}

cronq_status cq_bench_sqlite_empty(const char *uri, const char *queue, cronq_error *err)
{
    char text[512];
    sqlite3 *db;
    cronq_status status = cq_bench_sqlite_open(uri, &db, err);

    if (status)
        return status;
    snprintf(text, sizeof text,
             "BEGIN IMMEDIATE; CREATE TEMP TABLE bench AS SELECT n FROM cronq_queue "
             "WHERE name = '%s'; DELETE FROM cronq_task WHERE queue IN bench; "
             "DELETE FROM cronq_count WHERE queue IN bench; "
             "DELETE FROM cronq_queue WHERE n IN bench; COMMIT",
             queue);
    if (sqlite3_exec(db, text, NULL, NULL, NULL))
        status = cq_fail(err, CRONQ_EIO, "%s", sqlite3_errmsg(db));
    sqlite3_close(db);
    return status;
}
