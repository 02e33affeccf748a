/* SPDX-License-Identifier: MIT */
/* faults/tx_test.c - tasks pushed in a transaction of the caller's: both are there, or
 * neither is, whatever happens in between. */
#include <cronq/sqlite.h>

#include "base/clock.h"
#include "base/random.h"
#include "broker/broker.h"
#include "support/scratch.h"

#include <setjmp.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

typedef struct shop {
    char folder[SCRATCH_ROOM], path[128], uri[192];
    cronq_client *client;
    sqlite3 *db;
    int warnings;
} shop;

static void count_warning(void *arg, const cronq_log_record *record)
{
    shop *s = arg;

    s->warnings += record->level == CRONQ_LOG_WARN && strstr(record->text, "synchronous");
}

static void run(sqlite3 *db, const char *text)
{
    if (sqlite3_exec(db, text, NULL, NULL, NULL) != SQLITE_OK)
        fail_msg("%s: %s", text, sqlite3_errmsg(db));
}

static int64_t ask(sqlite3 *db, const char *text)
{
    sqlite3_stmt *stmt = NULL;
    int64_t value;

    if (sqlite3_prepare_v2(db, text, -1, &stmt, NULL) != SQLITE_OK ||
        sqlite3_step(stmt) != SQLITE_ROW)
        fail_msg("%s: %s", text, sqlite3_errmsg(db));
    value = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    return value;
}

static sqlite3 *open_db(const char *path)
{
    sqlite3 *db = NULL;

    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    sqlite3_busy_timeout(db, 10000);
    return db;
}

static void open_shop(shop *s)
{
    cronq_error err;
    cronq_logger logger = { .write = count_warning, .arg = s };

    *s = (shop){ .warnings = 0 };
    snprintf(s->path, sizeof s->path, "%s/shop.db", scratch_new(s->folder));
    snprintf(s->uri, sizeof s->uri, "sqlite:%s", s->path);
    if (cronq_client_new(s->uri, CRONQ_CLIENT_OPTIONS(.logger = logger), &s->client,
                         &err) ||
        cronq_client_ping(s->client, &err))
        fail_msg("%s", err.text);
    s->db = open_db(s->path);
    run(s->db, "CREATE TABLE orders(id INTEGER PRIMARY KEY)");
}

static void close_shop(shop *s)
{
    cronq_client_free(s->client);
    assert_int_equal(sqlite3_close(s->db), SQLITE_OK); /* no statement was left */
    scratch_remove(s->folder);
}

static cronq_status push(shop *s, sqlite3 *db, const char *id, cronq_error *err)
{
    return cronq_client_push_tx(s->client, db, CRONQ_TASK(.type = "t", .id = id), NULL,
                                err);
}

static void must_push(shop *s, const char *id)
{
    cronq_error err = { 0 };

    if (push(s, s->db, id, &err))
        fail_msg("%s", err.text);
}

static void must_refuse(shop *s, sqlite3 *db, cronq_status expected, const char *why)
{
    cronq_error err = { 0 };

    assert_int_equal(push(s, db, "refused", &err), expected);
    if (!strstr(err.text, why))
        fail_msg("%s: not: %s", err.text, why);
}

static int64_t count_tasks(const shop *s)
{
    return ask(s->db, "SELECT count(*) FROM cronq_task");
}

/* ---- together or not at all ---- */

static void a_commit_stores_both(void **state)
{
    cronq_task_info *info = NULL;
    cronq_error err = { 0 };
    shop s;

    (void)state;
    open_shop(&s);
    run(s.db, "PRAGMA user_version = 7; PRAGMA application_id = 9");
    run(s.db, "BEGIN IMMEDIATE; INSERT INTO orders VALUES (41)");
    if (cronq_client_push_tx(s.client, s.db, CRONQ_TASK(.type = "mail"), &info, &err))
        fail_msg("%s", err.text);
    assert_int_equal(cronq_task_info_state(info), CRONQ_STATE_PENDING);
    assert_int_equal(sqlite3_last_insert_rowid(s.db), 41);
    run(s.db, "COMMIT");
    cronq_task_info_free(info);
    assert_int_equal(count_tasks(&s), 1);
    assert_int_equal(ask(s.db, "SELECT count(*) FROM orders"), 1);
    assert_int_equal(ask(s.db, "PRAGMA user_version"), 7);
    assert_int_equal(ask(s.db, "PRAGMA application_id"), 9);
    close_shop(&s);
}

static void a_rollback_stores_neither(void **state)
{
    shop s;

    (void)state;
    open_shop(&s);
    run(s.db, "BEGIN; INSERT INTO orders VALUES (1)");
    must_push(&s, "a");
    assert_int_equal(count_tasks(&s), 1);
    run(s.db, "ROLLBACK");
    assert_int_equal(count_tasks(&s), 0);
    assert_int_equal(ask(s.db, "SELECT count(*) FROM orders"), 0);
    assert_int_equal(ask(s.db, "SELECT count(*) FROM cronq_queue"), 0);
    close_shop(&s);
}

static void a_refused_push_leaves_the_transaction_as_it_was(void **state)
{
    shop s;

    (void)state;
    open_shop(&s);
    run(s.db, "BEGIN; INSERT INTO orders VALUES (1)");
    must_push(&s, "refused");
    must_refuse(&s, s.db, CRONQ_EEXIST, "there is a task with the id");
    must_push(&s, "b");
    run(s.db, "COMMIT");
    assert_int_equal(count_tasks(&s), 2);
    assert_int_equal(ask(s.db, "SELECT count(*) FROM orders"), 1);
    close_shop(&s);
}

/* A savepoint is a transaction too, and one within another is undone alone. */
static void savepoints_take_their_tasks_with_them(void **state)
{
    shop s;

    (void)state;
    open_shop(&s);
    run(s.db, "SAVEPOINT cronq_push; INSERT INTO orders VALUES (1)");
    must_push(&s, "a");
    run(s.db, "SAVEPOINT inner; INSERT INTO orders VALUES (2)");
    must_push(&s, "refused");
    must_refuse(&s, s.db, CRONQ_EEXIST, "there is a task with the id");
    run(s.db, "ROLLBACK TO inner; RELEASE inner; RELEASE cronq_push");
    assert_int_equal(count_tasks(&s), 1);
    assert_int_equal(ask(s.db, "SELECT count(*) FROM orders"), 1);
    close_shop(&s);
}

static void a_statement_that_still_writes_is_named(void **state)
{
    sqlite3_stmt *stmt;
    shop s;

    (void)state;
    open_shop(&s);
    run(s.db, "BEGIN IMMEDIATE");
    assert_int_equal(sqlite3_prepare_v2(s.db,
                                        "INSERT INTO orders VALUES (1), (2) RETURNING id",
                                        -1, &stmt, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    must_refuse(&s, s.db, CRONQ_ESTATE, "sqlite3_reset");
    assert_int_equal(sqlite3_finalize(stmt), SQLITE_OK);
    must_push(&s, "a");
    run(s.db, "COMMIT");
    assert_int_equal(count_tasks(&s), 1);
    assert_int_equal(ask(s.db, "SELECT count(*) FROM orders"), 2);
    close_shop(&s);
}

static cronq_status push_unique(shop *s)
{
    return cronq_client_push_tx(
        s->client, s->db, CRONQ_TASK(.type = "u", .unique_for_ms = 60000), NULL, NULL);
}

static void uniqueness_is_the_transactions_too(void **state)
{
    shop s;

    (void)state;
    open_shop(&s);
    run(s.db, "BEGIN");
    assert_int_equal(push_unique(&s), CRONQ_OK);
    assert_int_equal(push_unique(&s), CRONQ_EDUP);
    run(s.db, "ROLLBACK; BEGIN");
    assert_int_equal(push_unique(&s), CRONQ_OK);
    run(s.db, "COMMIT; BEGIN");
    assert_int_equal(push_unique(&s), CRONQ_EDUP);
    run(s.db, "COMMIT");
    assert_int_equal(count_tasks(&s), 1);
    close_shop(&s);
}

/* ---- refusals ---- */

static void other_files_are_refused(void **state)
{
    char other[160], text[256];
    sqlite3 *db;
    shop s;

    (void)state;
    open_shop(&s);
    snprintf(other, sizeof other, "%s/other.db", s.folder);
    db = open_db(other);
    run(db, "CREATE TABLE x(y); BEGIN IMMEDIATE");
    must_refuse(&s, db, CRONQ_EINVAL, "is not the client's file");
    snprintf(text, sizeof text, "ROLLBACK; ATTACH '%s' AS tasks; BEGIN IMMEDIATE",
             s.path);
    run(db, text);
    must_refuse(&s, db, CRONQ_EINVAL, "is attached as \"tasks\"");
    run(db, "COMMIT");
    sqlite3_close(db);
    assert_int_equal(count_tasks(&s), 0);
    close_shop(&s);
}

static void a_link_to_the_file_is_the_file(void **state)
{
    char link[160];
    shop s;

    (void)state;
    open_shop(&s);
    snprintf(link, sizeof link, "%s/link.db", s.folder);
    assert_int_equal(symlink(s.path, link), 0);
    sqlite3_close(s.db);
    s.db = open_db(link);
    run(s.db, "BEGIN");
    must_push(&s, "a");
    run(s.db, "COMMIT");
    assert_int_equal(count_tasks(&s), 1);
    close_shop(&s);
}

/* Its log has another name, and so would be another one. */
static void another_hard_link_is_refused(void **state)
{
    char name[160];
    sqlite3 *db;
    shop s;

    (void)state;
    open_shop(&s);
    snprintf(name, sizeof name, "%s/hard.db", s.folder);
    assert_int_equal(link(s.path, name), 0);
    db = open_db(name);
    sqlite3_exec(db, "BEGIN", NULL, NULL, NULL);
    must_refuse(&s, db, CRONQ_EINVAL, "by another name");
    sqlite3_close(db);
    assert_int_equal(unlink(name), 0);
    assert_int_equal(count_tasks(&s), 0);
    close_shop(&s);
}

static const char *another_sourceid(void)
{
    return "2026-01-01 another copy";
}

static void another_copy_of_sqlite_is_refused_before_the_handle_is_touched(void **state)
{
    struct sqlite3 *poison = (struct sqlite3 *)(uintptr_t)8; /* to touch it is to crash */
    cronq_error err = { 0 };
    shop s;

    (void)state;
    open_shop(&s);
    assert_int_equal(cronq_client_push_tx_by(s.client, poison, another_sourceid,
                                             CRONQ_TASK(.type = "t"), NULL, &err),
                     CRONQ_EUNSUPPORTED);
    assert_non_null(strstr(err.text, "another copy of SQLite"));
    close_shop(&s);
}

static void what_can_not_be_is_refused_with_the_reason(void **state)
{
    cronq_client *remote, *memory;
    cronq_error err = { 0 };
    shop s;

    (void)state;
    open_shop(&s);
    must_refuse(&s, s.db, CRONQ_ESTATE, "no transaction is open");
    must_refuse(&s, NULL, CRONQ_EINVAL, "db is NULL");
    run(s.db, "CREATE TEMP TABLE cronq_task(x); BEGIN");
    must_refuse(&s, s.db, CRONQ_ESTATE, "temporary tables");
    run(s.db, "ROLLBACK; DROP TABLE temp.cronq_task");
    run(s.db, "UPDATE cronq_meta SET value = 1 WHERE name = 'version'; BEGIN");
    must_refuse(&s, s.db, CRONQ_ESTATE, "version 1 of the tables");
    run(s.db, "COMMIT");
    assert_int_equal(cronq_client_new("redis://127.0.0.1:1", NULL, &remote, &err), 0);
    assert_int_equal(
        cronq_client_push_tx(remote, s.db, CRONQ_TASK(.type = "t"), NULL, &err),
        CRONQ_EUNSUPPORTED);
    assert_int_equal(cronq_client_notify(remote, &err), CRONQ_EUNSUPPORTED);
    cronq_client_free(remote);
    assert_int_equal(cronq_client_new("sqlite::memory:", NULL, &memory, &err), 0);
    assert_int_equal(
        cronq_client_push_tx(memory, s.db, CRONQ_TASK(.type = "t"), NULL, &err),
        CRONQ_EUNSUPPORTED);
    cronq_client_free(memory);
    close_shop(&s);
}

/* No file may become as long as the reserve is: as when the disk is full. */
static void without_the_reserve_nothing_is_pushed(void **state)
{
    struct rlimit before, tight;
    char reserve[sizeof(((shop *)0)->path) + 16];
    struct stat st;
    shop s;

    (void)state;
    open_shop(&s);
    snprintf(reserve, sizeof reserve, "%s-reserve", s.path);
    assert_int_equal(truncate(reserve, 0), 0);
    run(s.db, "BEGIN IMMEDIATE; INSERT INTO orders VALUES (1)");
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    tight = (struct rlimit){ 1 << 19, before.rlim_max };
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);
    must_refuse(&s, s.db, CRONQ_EFULL, "no space is left");
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    must_push(&s, "a"); /* there is space again: it is set aside first */
    run(s.db, "COMMIT");
    assert_int_equal(stat(reserve, &st), 0);
    assert_int_equal(st.st_size, 1 << 20);
    assert_int_equal(count_tasks(&s), 1);
    close_shop(&s);
}

static void a_weaker_synchronous_is_warned_of_once(void **state)
{
    shop s;

    (void)state;
    open_shop(&s);
    run(s.db, "PRAGMA synchronous = FULL; BEGIN");
    must_push(&s, "a");
    run(s.db, "COMMIT");
    assert_int_equal(s.warnings, 0);
    run(s.db, "PRAGMA synchronous = NORMAL; BEGIN");
    must_push(&s, "b");
    must_push(&s, "c");
    run(s.db, "COMMIT");
    assert_int_equal(s.warnings, 1);
    close_shop(&s);
}

/* ---- waking ---- */

/* How long a waiter in another connection needs to hear of a commit. */
static int64_t time_wake_up(shop *s, bool notify)
{
    cq_str queue = CQ_STR("default");
    cq_broker_options options = { .uri = s->uri };
    cq_wait wait = { .until_mono_ns = cq_mono_ns() + 5 * CQ_NS_PER_S };
    int64_t begun_ns = cq_mono_ns();
    cronq_error err = { 0 };
    cq_broker *broker;
    cq_intake *intake;
    pid_t pid = fork();
    int code;

    if (pid == 0) { /* the waiter's pushes come from another process */
        cronq_client *client;
        sqlite3 *db = open_db(s->path);

        usleep(200 * 1000);
        if (cronq_client_new(s->uri, NULL, &client, &err))
            _exit(1);
        run(db, "BEGIN IMMEDIATE");
        code = cronq_client_push_tx(client, db, CRONQ_TASK(.type = "t"), NULL, &err);
        run(db, "COMMIT");
        if (notify && cronq_client_notify(client, &err))
            code = 1;
        _exit(code);
    }
    assert_int_equal(cq_broker_open(&options, &broker, &err), CRONQ_OK);
    assert_int_equal(broker->ops->intake_open(broker, &queue, 1, &intake, &err), 0);
    assert_int_equal(broker->ops->wait(intake, &wait, &err), CRONQ_OK);
    assert_true(wait.work);
    begun_ns = cq_mono_ns() - begun_ns;
    waitpid(pid, &code, 0);
    assert_int_equal(code, 0);
    broker->ops->intake_close(intake);
    broker->ops->free(broker);
    return begun_ns / CQ_NS_PER_MS;
}

static void a_waiter_is_woken_by_notify_and_without_it_by_the_slow_poll(void **state)
{
    shop s;

    (void)state;
    for (int notify = 0; notify < 2; notify++) {
        int64_t took_ms;

        open_shop(&s);
        took_ms = time_wake_up(&s, notify);
        print_message("notify %d: %lld ms\n", notify, (long long)took_ms);
        assert_true(took_ms < (notify ? 900 : 4000));
        close_shop(&s);
    }
}

/* ---- killed in between ---- */

/* Orders with their tasks until it is killed. */
static void sell(const shop *s, int round, int ready_fd)
{
    sqlite3 *db = open_db(s->path);
    cronq_client *client;
    cronq_error err;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (cronq_client_new(s->uri, NULL, &client, &err))
        _exit(1);
    for (int i = 0;; i++) {
        char text[128], id[32];

        snprintf(text, sizeof text, "BEGIN IMMEDIATE; INSERT INTO orders VALUES (%d)",
                 round * 100000 + i);
        snprintf(id, sizeof id, "%d", round * 100000 + i);
        if (sqlite3_exec(db, text, NULL, NULL, NULL))
            _exit(2);
        usleep(200);
        if (cronq_client_push_tx(client, db, CRONQ_TASK(.type = "t", .id = id), NULL,
                                 &err))
            _exit(3);
        usleep(200);
        if (sqlite3_exec(db, "COMMIT", NULL, NULL, NULL))
            _exit(4);
        if (i == 0 && write(ready_fd, "", 1) != 1)
            _exit(5);
    }
}

static void killed_anywhere_an_order_is_there_if_and_only_if_its_task_is(void **state)
{
    cq_random random;
    shop s;

    (void)state;
    open_shop(&s);
    cq_random_seed(&random, 11);
    for (int round = 0; round < 100; round++) {
        int ready[2], code;
        pid_t pid;
        char byte;

        assert_int_equal(pipe(ready), 0);
        pid = fork();
        if (pid == 0)
            sell(&s, round, ready[1]);
        close(ready[1]);
        assert_int_equal(read(ready[0], &byte, 1), 1);
        close(ready[0]);
        usleep((useconds_t)cq_random_below(&random, 15000));
        kill(pid, SIGKILL);
        waitpid(pid, &code, 0);
        if (!WIFSIGNALED(code))
            fail_msg("a seller ended by itself with %d", code);
    }
    assert_int_equal(ask(s.db, "SELECT count(*) FROM orders WHERE CAST(id AS TEXT) NOT "
                               "IN (SELECT id FROM cronq_task)"),
                     0);
    assert_int_equal(ask(s.db, "SELECT count(*) FROM cronq_task WHERE CAST(id AS "
                               "INTEGER) NOT IN (SELECT id FROM orders)"),
                     0);
    print_message("100 kills, %lld orders\n", (long long)count_tasks(&s));
    assert_true(count_tasks(&s) >= 100);
    close_shop(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_commit_stores_both),
        cmocka_unit_test(a_rollback_stores_neither),
        cmocka_unit_test(a_refused_push_leaves_the_transaction_as_it_was),
        cmocka_unit_test(savepoints_take_their_tasks_with_them),
        cmocka_unit_test(a_statement_that_still_writes_is_named),
        cmocka_unit_test(uniqueness_is_the_transactions_too),
        cmocka_unit_test(other_files_are_refused),
        cmocka_unit_test(a_link_to_the_file_is_the_file),
        cmocka_unit_test(another_hard_link_is_refused),
        cmocka_unit_test(another_copy_of_sqlite_is_refused_before_the_handle_is_touched),
        cmocka_unit_test(what_can_not_be_is_refused_with_the_reason),
        cmocka_unit_test(without_the_reserve_nothing_is_pushed),
        cmocka_unit_test(a_weaker_synchronous_is_warned_of_once),
        cmocka_unit_test(a_waiter_is_woken_by_notify_and_without_it_by_the_slow_poll),
        cmocka_unit_test(killed_anywhere_an_order_is_there_if_and_only_if_its_task_is),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
