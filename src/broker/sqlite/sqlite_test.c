/* SPDX-License-Identifier: MIT */
/* broker/sqlite/sqlite_test.c - what only the embedded store has: its URIs, its place on
 * local disks, waking other connections, its query plans. */
#include "broker/sqlite/sqlite.h"

#include "base/error.h"
#include "base/random.h"
#include "support/scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static cronq_status try_open(const char *uri, cq_broker **out, cronq_error *err)
{
    cq_broker_options options = { .uri = uri };

    return cq_sqlite_open(&options, out, err);
}

static cq_broker *open_it(const char *uri)
{
    cronq_error err = { 0 };
    cq_broker *broker;

    if (try_open(uri, &broker, &err))
        fail_msg("%s", err.text);
    return broker;
}

static void bad_uris_are_refused_with_the_reason(void **state)
{
    static const struct {
        const char *uri, *text;
    } rows[] = {
        { "sqlite:", "names a file" },
        { "sqlite:?synchronous=full", "names a file" },
        { "sqlite:/tmp/", "names a file" },
        { "sqlite:/tmp/a%", "bad % escape" },
        { "sqlite:/tmp/a%0", "bad % escape" },
        { "sqlite:/tmp/a%zz", "bad % escape" },
        { "sqlite:/tmp/a%00b", "bad % escape" },
        { "sqlite:/tmp/a?synchronous=off", "\"off\" is neither full nor normal" },
        { "sqlite:/tmp/a?synchronous", "\"\" is neither full nor normal" },
        { "sqlite:/tmp/a?nope=1", "not \"nope\"" },
        { "sqlite:/tmp/a?vfs=", "not \"vfs\"" },
        { "sqlite::memory:a/b", "hex digits" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        cronq_error err = { 0 };
        cq_broker *none = NULL;

        assert_int_equal(try_open(rows[i].uri, &none, &err), CRONQ_EINVAL);
        if (!strstr(err.text, rows[i].text))
            fail_msg("%s: %s", rows[i].uri, err.text);
        assert_null(none);
    }
}

static void a_path_that_is_too_long_is_refused(void **state)
{
    char uri[5000] = "sqlite:/";
    cronq_error err = { 0 };
    cq_broker *none = NULL;

    (void)state;
    memset(uri + 8, 'a', 4500);
    assert_int_equal(try_open(uri, &none, &err), CRONQ_ETOOBIG);
    assert_non_null(strstr(err.text, "4501 bytes, at most 4000"));
}

static void escapes_and_parameters_are_read(void **state)
{
    char folder[SCRATCH_ROOM], uri[192], path[160];
    struct stat st;
    cq_broker *broker;

    (void)state;
    snprintf(uri, sizeof uri, "sqlite://%s/a%%3Fb%%20c?synchronous=normal",
             scratch_new(folder));
    broker = open_it(uri);
    assert_int_equal(broker->ops->ping(broker, NULL), CRONQ_OK);
    assert_true(cq_sqlite_of(broker)->normal);
    broker->ops->free(broker);
    snprintf(path, sizeof path, "%s/a?b c", folder);
    assert_int_equal(stat(path, &st), 0);
    scratch_remove(folder);
}

static void network_file_systems_are_known(void **state)
{
    (void)state;
    assert_string_equal(cq_sqlite_network_name(0x6969), "NFS");
    assert_string_equal(cq_sqlite_network_name(0xff534d42), "CIFS");
    assert_string_equal(cq_sqlite_network_name(0xffffffffff534d42), "CIFS");
    assert_string_equal(cq_sqlite_network_name(0x01021997), "9P");
    assert_null(cq_sqlite_network_name(0xef53));     /* ext4 */
    assert_null(cq_sqlite_network_name(0x01021994)); /* tmpfs */
}

/* ---- waking ---- */

#define WAKES 50

typedef struct waking {
    cq_broker *pusher;
    _Atomic int64_t pushed_ns;
    _Atomic int number;
} waking;

static void *push_after_a_while(void *arg)
{
    waking *w = arg;
    char id[16];
    cq_push item = { .queue = CQ_STR("q"), .message = CRONQ_LIT("m") };

    snprintf(id, sizeof id, "%d", w->number);
    item.id = cq_str_of(id);
    cq_sleep_ms(5);
    w->pushed_ns = cq_mono_ns();
    assert_int_equal(w->pusher->ops->push(w->pusher, &item, 1, cq_wall_ns(), NULL),
                     CRONQ_OK);
    return NULL;
}

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return x < y ? -1 : x > y;
}

/* Everything that there is, so that the next wait waits. */
static void take_all(cq_intake *intake)
{
    cq_want want = { 0, 100 };
    cq_exchange exchange = {
        .now_ns = cq_wall_ns(), .fence = 1, .wants = &want, .want_count = 1, .budget = 100
    };
    cq_arena arena;

    cq_arena_init(&arena, (size_t)1 << 20);
    exchange.arena = &arena;
    assert_int_equal(intake->ops->exchange_send(intake, &exchange, NULL), CRONQ_OK);
    assert_int_equal(intake->ops->exchange_recv(intake, &exchange, NULL), CRONQ_OK);
    assert_int_equal(exchange.delivery_count, 1);
    cq_arena_release(&arena);
}

static void a_push_on_another_connection_wakes_who_waits(void **state)
{
    char folder[SCRATCH_ROOM], uri[192];
    int64_t times_ns[WAKES];
    const cq_str q = CQ_STR("q");
    cq_broker *broker;
    cq_intake *intake;
    waking w = { 0 };

    (void)state;
    snprintf(uri, sizeof uri, "sqlite:%s/cronq.db?synchronous=normal",
             scratch_new(folder));
    broker = open_it(uri);
    w.pusher = open_it(uri);
    assert_int_equal(broker->ops->intake_open(broker, &q, 1, &intake, NULL), CRONQ_OK);
    for (int i = 0; i < WAKES; i++) {
        cq_wait wait = { .until_mono_ns = cq_mono_ns() + 900 * CQ_NS_PER_MS };
        pthread_t thread;

        w.number = i;
        assert_int_equal(cq_thread_start(&thread, "pusher", push_after_a_while, &w, NULL),
                         CRONQ_OK);
        assert_int_equal(intake->ops->wait(intake, &wait, NULL), CRONQ_OK);
        times_ns[i] = cq_mono_ns() - w.pushed_ns;
        assert_true(wait.work);
        pthread_join(thread, NULL);
        take_all(intake);
    }
    qsort(times_ns, WAKES, sizeof times_ns[0], compare);
    print_message("woken after %.2f ms in the median, %.2f ms at most\n",
                  (double)times_ns[WAKES / 2] / 1e6, (double)times_ns[WAKES - 1] / 1e6);
    assert_true(times_ns[WAKES / 2] < 100 * CQ_NS_PER_MS);
    intake->ops->intake_close(intake);
    w.pusher->ops->free(w.pusher);
    broker->ops->free(broker);
    scratch_remove(folder);
}

static void who_writes_without_ringing_is_noticed_by_the_slow_look(void **state)
{
    char folder[SCRATCH_ROOM], uri[192], path[128];
    const cq_str q = CQ_STR("q");
    cq_wait wait = { 0 };
    cq_broker *broker;
    cq_intake *intake;
    sqlite3 *db;
    int64_t began_ns;

    (void)state;
    snprintf(path, sizeof path, "%s/cronq.db", scratch_new(folder));
    snprintf(uri, sizeof uri, "sqlite:%s", path);
    broker = open_it(uri);
    assert_int_equal(broker->ops->intake_open(broker, &q, 1, &intake, NULL), CRONQ_OK);
    assert_int_equal(intake->ops->wait(intake, &wait, NULL), CRONQ_OK);
    assert_false(wait.work);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    wait.until_mono_ns = cq_mono_ns() + 5000 * CQ_NS_PER_MS;
    began_ns = cq_mono_ns();
    intake->ops->wake(intake);
    assert_int_equal(intake->ops->wait(intake, &wait, NULL), CRONQ_OK);
    assert_true(wait.woken);
    assert_int_equal(
        sqlite3_exec(db,
                     "INSERT INTO cronq_queue(n, name) VALUES (1, 'q');"
                     "INSERT INTO cronq_task(queue, state, at, fence, id, message)"
                     "VALUES (1, 0, 1, 1048576, 'a', x'00')",
                     NULL, NULL, NULL),
        SQLITE_OK);
    sqlite3_close(db);
    wait.until_mono_ns = cq_mono_ns() + 5000 * CQ_NS_PER_MS;
    assert_int_equal(intake->ops->wait(intake, &wait, NULL), CRONQ_OK);
    assert_true(wait.work);
    assert_true(cq_mono_ns() - began_ns < 3000 * CQ_NS_PER_MS);
    intake->ops->intake_close(intake);
    broker->ops->free(broker);
    scratch_remove(folder);
}

/* The kernel grants a user few instances of inotify. */
static void who_can_not_watch_files_looks_once_a_second(void **state)
{
    char folder[SCRATCH_ROOM], uri[192];
    const cq_str q = CQ_STR("q");
    cq_push item = { .queue = q, .id = CQ_STR("a"), .message = CRONQ_LIT("m") };
    cq_wait wait = { 0 };
    struct rlimit usual, tight;
    cq_sqlite_intake *of;
    cq_broker *broker, *other;
    cq_intake *intake;
    int next_fd;

    (void)state;
    snprintf(uri, sizeof uri, "sqlite:%s/cronq.db", scratch_new(folder));
    broker = open_it(uri);
    other = open_it(uri);
    assert_int_equal(other->ops->ping(other, NULL), CRONQ_OK);
    assert_int_equal(broker->ops->intake_open(broker, &q, 1, &intake, NULL), CRONQ_OK);
    assert_int_equal(intake->ops->wait(intake, &wait, NULL), CRONQ_OK);
    of = cq_sqlite_intake_of(intake);
    cq_sqlite_watch_free(of->waiting);
    next_fd = dup(0);
    close(next_fd);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &usual), 0);
    tight = (struct rlimit){ (rlim_t)next_fd + 1, usual.rlim_max }; /* for its event */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
    assert_int_equal(cq_sqlite_watch_new(of->store, true, &of->waiting, NULL), CRONQ_OK);
    wait.until_mono_ns = 0;
    assert_int_equal(intake->ops->wait(intake, &wait, NULL), CRONQ_OK);
    assert_int_equal(other->ops->push(other, &item, 1, cq_wall_ns(), NULL), CRONQ_OK);
    wait.until_mono_ns = cq_mono_ns() + 5000 * CQ_NS_PER_MS;
    assert_int_equal(intake->ops->wait(intake, &wait, NULL), CRONQ_OK);
    assert_true(wait.work);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &usual), 0);
    intake->ops->intake_close(intake);
    other->ops->free(other);
    broker->ops->free(broker);
    scratch_remove(folder);
}

static void note_cancelled(cq_str id, void *arg)
{
    snprintf(arg, 16, "%.*s", CQ_FMT(id));
}

static void a_cancellation_is_heard_once(void **state)
{
    char folder[SCRATCH_ROOM], uri[192], path[128], heard[16] = "";
    const cq_str q = CQ_STR("q");
    cq_broker *broker;
    cq_intake *intake;
    sqlite3 *db;

    (void)state;
    snprintf(path, sizeof path, "%s/cronq.db", scratch_new(folder));
    snprintf(uri, sizeof uri, "sqlite:%s", path);
    broker = open_it(uri);
    assert_int_equal(broker->ops->intake_open(broker, &q, 1, &intake, NULL), CRONQ_OK);
    assert_int_equal(intake->ops->listen(intake, 10, note_cancelled, heard, NULL),
                     CRONQ_OK);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db,
                                  "INSERT INTO cronq_cancel(task_id, at_ms) "
                                  "VALUES ('a', 1)",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    sqlite3_close(db);
    assert_int_equal(intake->ops->listen(intake, 10, note_cancelled, heard, NULL),
                     CRONQ_OK);
    assert_string_equal(heard, "a");
    heard[0] = '\0';
    assert_int_equal(intake->ops->listen(intake, 10, note_cancelled, heard, NULL),
                     CRONQ_OK);
    assert_string_equal(heard, "");
    intake->ops->intake_close(intake);
    broker->ops->free(broker);
    scratch_remove(folder);
}

/* ---- plans ---- */

#define CQ_SQL_TEXT(name) extern const char cq_sql_##name[];
CQ_SQL_MAP(CQ_SQL_TEXT)
#undef CQ_SQL_TEXT

/* A statement that went through all tasks would be slow only where there are many. */
static void no_statement_goes_through_all_tasks(void **state)
{
    static const char *const texts[] = {
#define CQ_SQL_ROW(name) cq_sql_##name,
        CQ_SQL_MAP(CQ_SQL_ROW)
#undef CQ_SQL_ROW
    };
    cq_broker *broker = open_it("sqlite::memory:beef");

    (void)state;
    assert_int_equal(broker->ops->ping(broker, NULL), CRONQ_OK);
    for (size_t i = 0; i < CQ_SQL_COUNT; i++) {
        char *text = sqlite3_mprintf("EXPLAIN QUERY PLAN %s", texts[i]);
        sqlite3_stmt *stmt = NULL;

        if (!strstr(texts[i], "cronq_task")) {
            sqlite3_free(text);
            continue;
        }
        assert_int_equal(
            sqlite3_prepare_v2(cq_sqlite_of(broker)->db, text, -1, &stmt, NULL),
            SQLITE_OK);
        while (sqlite3_step(stmt) == SQLITE_ROW) {
            const char *detail = (const char *)sqlite3_column_text(stmt, 3);

            if (strstr(detail, "SCAN cronq_task") ||
                strstr(detail, "TEMP B-TREE FOR ORDER"))
                fail_msg("%s: %s", texts[i], detail);
        }
        sqlite3_finalize(stmt);
        sqlite3_free(text);
    }
    broker->ops->free(broker);
}

/* ---- what a backlog costs ---- */

enum { BATCH = 100 };

static void push_batch(cq_broker *broker, cq_random *random)
{
    static char ids[BATCH][CQ_UUID_LEN + 1];
    cq_push items[BATCH];
    cronq_error err = { 0 };

    for (int i = 0; i < BATCH; i++) {
        cq_uuid7(random, cq_wall_ns() / CQ_NS_PER_MS, ids[i]);
        items[i] = (cq_push){ .queue = CQ_STR("q"),
                              .id = cq_str_of(ids[i]),
                              .message = CRONQ_LIT("what is stored is not looked at") };
    }
    if (broker->ops->push(broker, items, BATCH, cq_wall_ns(), &err))
        fail_msg("%s", err.text);
}

/* Push, take and finish a batch. */
static void turn_over(cq_broker *broker, cq_intake *intake, cq_random *random)
{
    cq_want want = { .share = BATCH };
    cq_outcome outcomes[BATCH];
    cq_exchange x = { .now_ns = cq_wall_ns(),
                      .fence = 7,
                      .forward = true,
                      .wants = &want,
                      .want_count = 1,
                      .budget = BATCH };
    cq_arena arena;

    cq_arena_init(&arena, (size_t)1 << 22);
    x.arena = &arena;
    push_batch(broker, random);
    assert_int_equal(intake->ops->exchange_send(intake, &x, NULL), CRONQ_OK);
    assert_int_equal(intake->ops->exchange_recv(intake, &x, NULL), CRONQ_OK);
    assert_int_equal(x.delivery_count, BATCH);
    for (int i = 0; i < BATCH; i++)
        outcomes[i] = (cq_outcome){ .fence = 7, .id = x.deliveries[i].id };
    x.outcomes = outcomes;
    x.outcome_count = BATCH;
    x.budget = 0;
    assert_int_equal(intake->ops->exchange_send(intake, &x, NULL), CRONQ_OK);
    assert_int_equal(intake->ops->exchange_recv(intake, &x, NULL), CRONQ_OK);
    for (int i = 0; i < BATCH; i++)
        assert_int_equal(outcomes[i].status, CRONQ_OK);
    cq_arena_release(&arena);
}

/* Since the last call: steps of SQLite's machine, or only those of full scans. */
static int64_t count_steps(cq_sqlite *store, int which)
{
    int64_t steps = 0;

    for (int i = 0; i < CQ_SQL_COUNT; i++)
        if (store->statements[i])
            steps += sqlite3_stmt_status(store->statements[i], which, 1);
    return steps;
}

/* Time depends on the machine and its caches; how much is looked at does not. */
static void a_backlog_does_not_make_an_exchange_look_at_more(void **state)
{
    cq_broker *broker = open_it("sqlite::memory:cafe");
    cq_sqlite *store = cq_sqlite_of(broker);
    const cq_str q = CQ_STR("q");
    int64_t few, many;
    cq_intake *intake;
    cq_random random;

    (void)state;
    cq_random_seed(&random, 3);
    assert_int_equal(broker->ops->intake_open(broker, &q, 1, &intake, NULL), CRONQ_OK);
    for (int i = 0; i < 1000 / BATCH; i++)
        push_batch(broker, &random);
    turn_over(broker, intake, &random);
    count_steps(store, SQLITE_STMTSTATUS_VM_STEP);
    turn_over(broker, intake, &random);
    few = count_steps(store, SQLITE_STMTSTATUS_VM_STEP);
    for (int i = 0; i < 50000 / BATCH; i++)
        push_batch(broker, &random);
    count_steps(store, SQLITE_STMTSTATUS_VM_STEP);
    count_steps(store, SQLITE_STMTSTATUS_FULLSCAN_STEP);
    turn_over(broker, intake, &random);
    many = count_steps(store, SQLITE_STMTSTATUS_VM_STEP);
    print_message("steps a batch: %lld beside 1,000 tasks, %lld beside 51,000\n",
                  (long long)few, (long long)many);
    assert_true(many <= few + few / 10);
    assert_int_equal(count_steps(store, SQLITE_STMTSTATUS_FULLSCAN_STEP), 0);
    intake->ops->intake_close(intake);
    broker->ops->free(broker);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_uris_are_refused_with_the_reason),
        cmocka_unit_test(a_path_that_is_too_long_is_refused),
        cmocka_unit_test(escapes_and_parameters_are_read),
        cmocka_unit_test(network_file_systems_are_known),
        cmocka_unit_test(a_push_on_another_connection_wakes_who_waits),
        cmocka_unit_test(who_writes_without_ringing_is_noticed_by_the_slow_look),
        cmocka_unit_test(who_can_not_watch_files_looks_once_a_second),
        cmocka_unit_test(a_cancellation_is_heard_once),
        cmocka_unit_test(no_statement_goes_through_all_tasks),
        cmocka_unit_test(a_backlog_does_not_make_an_exchange_look_at_more),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
