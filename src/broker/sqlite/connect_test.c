/* SPDX-License-Identifier: MIT */
/* broker/sqlite/connect_test.c - files that are there already: a user's database, tables
 * of other versions, the owner of what is made beside them. */
#include "broker/sqlite/sqlite.h"

#include "support/scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static cq_broker *open_it(const char *uri)
{
    cq_broker_options options = { .uri = uri };
    cronq_error err = { 0 };
    cq_broker *broker;

    if (cq_sqlite_open(&options, &broker, &err))
        fail_msg("%s", err.text);
    return broker;
}

/* ---- a user's own database ---- */

static int64_t number_of(sqlite3 *db, const char *text)
{
    sqlite3_stmt *stmt;
    int64_t value;

    assert_int_equal(sqlite3_prepare_v2(db, text, -1, &stmt, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    value = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    return value;
}

static void a_users_database_keeps_its_own_settings(void **state)
{
    char folder[SCRATCH_ROOM], path[128], uri[192];
    cq_broker *broker;
    sqlite3_stmt *stmt;
    sqlite3 *db;

    (void)state;
    snprintf(path, sizeof path, "%s/mine.db", scratch_new(folder));
    snprintf(uri, sizeof uri, "sqlite:%s", path);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(
        sqlite3_exec(db,
                     "PRAGMA user_version = 17; PRAGMA application_id = 4711;"
                     "CREATE TABLE mine(a); INSERT INTO mine VALUES (1)",
                     NULL, NULL, NULL),
        SQLITE_OK);
    broker = open_it(uri);
    assert_int_equal(broker->ops->ping(broker, NULL), CRONQ_OK);
    broker->ops->free(broker);
    assert_int_equal(number_of(db, "PRAGMA user_version"), 17);
    assert_int_equal(number_of(db, "PRAGMA application_id"), 4711);
    assert_int_equal(number_of(db, "SELECT count(*) FROM mine"), 1);
    assert_int_equal(number_of(db, "SELECT count(*) FROM sqlite_schema WHERE "
                                   "tbl_name NOT LIKE 'cronq\\_%' ESCAPE '\\'"),
                     1);
    assert_int_equal(sqlite3_prepare_v2(db, "PRAGMA journal_mode", -1, &stmt, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    assert_string_equal(sqlite3_column_text(stmt, 0), "delete");
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    scratch_remove(folder);
}

/* ---- versions ---- */

/* What a ping says of a new file whose tables were changed by text. */
static cronq_status ping_after(const char *text, cronq_error *err)
{
    char folder[SCRATCH_ROOM], path[128], uri[192];
    cronq_status status;
    cq_broker *broker;
    sqlite3 *db;

    snprintf(path, sizeof path, "%s/cronq.db", scratch_new(folder));
    snprintf(uri, sizeof uri, "sqlite:%s", path);
    broker = open_it(uri);
    assert_int_equal(broker->ops->ping(broker, NULL), CRONQ_OK);
    broker->ops->free(broker);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    broker = open_it(uri);
    status = broker->ops->ping(broker, err);
    broker->ops->free(broker);
    scratch_remove(folder);
    return status;
}

static void a_version_that_is_none_is_refused(void **state)
{
    static const char *const texts[] = {
        "UPDATE cronq_meta SET value = -5",
        "UPDATE cronq_meta SET value = 0",
        "UPDATE cronq_meta SET value = 'x'",
        "UPDATE cronq_meta SET value = NULL",
        "DELETE FROM cronq_meta",
    };

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        cronq_error err = { 0 };

        assert_int_equal(ping_after(texts[i], &err), CRONQ_EPROTO);
        if (!strstr(err.text, "version of cronq's tables"))
            fail_msg("%s: %s", texts[i], err.text);
    }
}

extern const char cq_schema_schema_1[], cq_schema_schema_2[];

/* A file as an older cronq left it, with a task in it. */
static void make_older(const char *path, int version)
{
    static const char insert[] =
        "INSERT INTO cronq_meta VALUES ('version', %d);"
        "INSERT INTO cronq_queue(n, name) VALUES (1, 'q');"
        "INSERT INTO cronq_task(queue, state, at, fence, id, message)"
        "VALUES (1, 0, 1, 1048576, 'old', x'01')";
    char text[512];
    sqlite3 *db;

    snprintf(text, sizeof text, insert, version);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, cq_schema_schema_1, NULL, NULL, NULL), SQLITE_OK);
    if (version > 1)
        assert_int_equal(sqlite3_exec(db, cq_schema_schema_2, NULL, NULL, NULL),
                         SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static void tables_of_an_older_version_are_brought_to_ours(void **state)
{
    (void)state;
    for (int version = 1; version < CQ_SQLITE_VERSION; version++) {
        char folder[SCRATCH_ROOM], path[128], uri[192];
        cq_record record = { .state = 0 };
        cronq_error err = { 0 };
        cq_broker *broker;
        cq_arena arena;
        sqlite3 *db;

        snprintf(path, sizeof path, "%s/cronq.db", scratch_new(folder));
        snprintf(uri, sizeof uri, "sqlite:%s", path);
        make_older(path, version);
        broker = open_it(uri);
        cq_arena_init(&arena, (size_t)1 << 20);
        if (broker->inspect->task(broker, CQ_STR("q"), CQ_STR("old"), &arena, &record,
                                  &err))
            fail_msg("from version %d: %s", version, err.text);
        assert_int_equal(record.state, CRONQ_STATE_PENDING);
        assert_int_equal(record.message.len, 1);
        cq_arena_release(&arena);
        broker->ops->free(broker);
        assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
        assert_int_equal(number_of(db, "SELECT value FROM cronq_meta"),
                         CQ_SQLITE_VERSION);
        sqlite3_close(db);
        scratch_remove(folder);
    }
}

static void tables_of_a_newer_version_are_refused(void **state)
{
    cronq_error err = { 0 };

    (void)state;
    assert_int_equal(ping_after("UPDATE cronq_meta SET value = 99", &err),
                     CRONQ_EUNSUPPORTED);
    assert_non_null(strstr(err.text, "version 99"));
}

/* ---- files beside it ---- */

/* What root makes beside someone's database must not lock them out of it. */
static void what_root_makes_belongs_to_the_databases_owner(void **state)
{
    static const char *const suffixes[] = { "-bell", "-reserve" };
    char folder[SCRATCH_ROOM], path[128], uri[192];
    cq_broker *broker;
    uid_t owner = geteuid() ? geteuid() : 65534;
    sqlite3 *db;

    (void)state;
    snprintf(path, sizeof path, "%s/cronq.db", scratch_new(folder));
    snprintf(uri, sizeof uri, "sqlite:%s", path);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "CREATE TABLE mine(a)", NULL, NULL, NULL),
                     SQLITE_OK);
    sqlite3_close(db);
    assert_int_equal(chown(path, owner, (gid_t)-1), 0);
    broker = open_it(uri);
    assert_int_equal(broker->ops->ping(broker, NULL), CRONQ_OK);
    for (size_t i = 0; i < 2; i++) {
        char name[160];
        struct stat st;

        snprintf(name, sizeof name, "%s%s", path, suffixes[i]);
        assert_int_equal(stat(name, &st), 0);
        assert_int_equal(st.st_uid, owner);
    }
    broker->ops->free(broker);
    scratch_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_users_database_keeps_its_own_settings),
        cmocka_unit_test(a_version_that_is_none_is_refused),
        cmocka_unit_test(tables_of_an_older_version_are_brought_to_ours),
        cmocka_unit_test(tables_of_a_newer_version_are_refused),
        cmocka_unit_test(what_root_makes_belongs_to_the_databases_owner),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
