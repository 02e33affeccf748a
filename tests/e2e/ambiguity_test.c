/* SPDX-License-Identifier: MIT */
/* ambiguity_test.c - connections that break at every point of every exchange: what was
 * accepted is stored once, what was taken is run once, what was done is done. */
#include "base/clock.h"
#include "support/fault_proxy.h"
#include "support/redis_server.h"

#include <cronq/cronq.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TASKS        60
#define SHORT_POINTS 6  /* make test */
#define FULL_POINTS  20 /* make check-all, which sets CRONQ_FULL */
#define PATIENCE_MS  15000

static const fault_kind cuts[] = { FAULT_CUT_BEFORE, FAULT_CUT_AFTER, FAULT_CUT_WITHIN };
#define CUT_COUNT (sizeof cuts / sizeof cuts[0])

static redis_server *redis;
static fault_proxy *proxy;

static int set_up(void **state)
{
    (void)state;
    redis = redis_server_start(NULL);
    proxy = fault_proxy_start(redis_server_socket(redis));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fault_proxy_stop(proxy);
    redis_server_stop(redis);
    return 0;
}

static int points(void)
{
    return getenv("CRONQ_FULL") ? FULL_POINTS : SHORT_POINTS;
}

static cronq_client *new_client(const char *uri)
{
    cronq_client *client = NULL;

    assert_int_equal(cronq_client_new(uri, NULL, &client, NULL), CRONQ_OK);
    return client;
}

static void a_push_whose_answer_is_lost_is_stored_once(void **state)
{
    cronq_client *client = new_client(fault_proxy_uri(proxy));
    cronq_error err;
    int pushed = 0;

    (void)state;
    for (size_t cut = 0; cut < CUT_COUNT; cut++)
        for (int unique = 0; unique < 2; unique++)
            for (int nth = 1; nth <= 2; nth++) {
                cronq_task task = { .struct_size = sizeof task, .type = "t" };
                char payload[32];

                snprintf(payload, sizeof payload, "%zu %d %d", cut, unique, nth);
                task.payload = (cronq_bytes){ payload, strlen(payload) };
                task.unique_for_ms = unique ? 60000 : 0;
                fault_proxy_plan(proxy, cuts[cut], "EVALSHA", nth, NULL);
                for (int i = 0; i < nth; i++, pushed++) {
                    if (i > 0)
                        task.unique_for_ms = 0;
                    if (cronq_client_push(client, &task, NULL, &err))
                        fail_msg("cut %zu, command %d: %s", cut, nth, err.text);
                }
                assert_true(fault_proxy_struck(proxy));
            }
    assert_int_equal(redis_server_int(redis, "LLEN asynq:{default}:pending"), pushed);
    cronq_client_free(client);
}

static void note_warning(void *arg, const cronq_log_record *record)
{
    if (record->level == CRONQ_LOG_WARN && record->task_id)
        snprintf(arg, 64, "%s", record->task_id);
}

static void a_push_that_is_sent_again_is_told(void **state)
{
    static const char *const ids[] = { "plain", "again" };
    char warned[64] = "";
    const cronq_client_options options = {
        .struct_size = sizeof options, .logger = { .write = note_warning, .arg = warned }
    };
    cronq_client *client = NULL;

    (void)state;
    assert_int_equal(cronq_client_new(fault_proxy_uri(proxy), &options, &client, NULL),
                     CRONQ_OK);
    for (size_t i = 0; i < 2; i++) {
        if (i == 1)
            fault_proxy_plan(proxy, FAULT_CUT_AFTER, "EVALSHA", 1, NULL);
        assert_int_equal(
            cronq_client_push(client, CRONQ_TASK(.type = "t", .id = ids[i]), NULL, NULL),
            CRONQ_OK);
        assert_string_equal(warned, i == 1 ? "again" : "");
    }
    cronq_client_free(client);
}

/* What a server may answer, and what a push makes of it: it is tried again (OK), or the
 * caller is told at once. */
static const struct {
    const char *line;
    cronq_status status;
} replies[] = {
    { "-LOADING Redis is loading the dataset in memory", CRONQ_OK },
    { "-BUSY Redis is busy running a script", CRONQ_OK },
    { "-NOSCRIPT No matching script", CRONQ_OK },
    { "-READONLY You can't write against a read only replica.", CRONQ_OK },
    { "-MASTERDOWN Link with MASTER is down", CRONQ_OK },
    { "-CLUSTERDOWN The cluster is down", CRONQ_OK },
    { "-TRYAGAIN Multiple keys request during rehashing", CRONQ_OK },
    { "-ERR max number of clients reached", CRONQ_OK },
    { "-NOREPLICAS Not enough good replicas to write", CRONQ_EREFUSED },
    { "-MISCONF Redis is configured to save RDB snapshots", CRONQ_EREFUSED },
    { "-OOM command not allowed when used memory > 'maxmemory'", CRONQ_EFULL },
    { "-NOAUTH Authentication required.", CRONQ_EAUTH },
    { "-WRONGPASS invalid username-password pair", CRONQ_EAUTH },
    { "-NOPERM this user has no permissions to run 'evalsha'", CRONQ_EAUTH },
    { "-WRONGTYPE Operation against a key holding the wrong kind", CRONQ_EPROTO },
    { "-EXECABORT Transaction discarded", CRONQ_EPROTO },
    { "-CROSSSLOT Keys in request don't hash to the same slot", CRONQ_EPROTO },
    { "-ERR something new", CRONQ_EPROTO },
};
#define REPLY_COUNT (sizeof replies / sizeof replies[0])

static void every_error_is_waited_for_or_told_at_once(void **state)
{
    cronq_client *client = new_client(fault_proxy_uri(proxy));
    int stored = 0;

    (void)state;
    for (size_t i = 0; i < REPLY_COUNT; i++) {
        cronq_error err = { 0 };
        int64_t began_ms = cq_mono_ms();
        cronq_status status;

        fault_proxy_plan(proxy, FAULT_ERROR, "EVALSHA", 1, replies[i].line);
        status = cronq_client_push(client, CRONQ_TASK(.type = "t"), NULL, &err);
        if (status != replies[i].status)
            fail_msg("%s: %d, not %d: %s", replies[i].line, status, replies[i].status,
                     err.text);
        assert_true(fault_proxy_struck(proxy));
        assert_true(cq_mono_ms() - began_ms < 5000);
        if (status && status != CRONQ_EFULL && !strstr(err.text, replies[i].line + 1))
            fail_msg("%s: \"%s\" does not tell", replies[i].line, err.text);
        stored += status == CRONQ_OK;
    }
    assert_int_equal(redis_server_int(redis, "LLEN asynq:{default}:pending"), stored);
    cronq_client_free(client);
}

static atomic_int runs;

static cronq_status count_run(cronq_attempt *attempt, void *arg)
{
    (void)arg;
    assert_int_equal(cronq_attempt_retry_count(attempt), 0);
    atomic_fetch_add(&runs, 1);
    return CRONQ_OK;
}

static void push_tasks(cronq_client *client)
{
    const cronq_task *tasks[TASKS];
    const cronq_task task = { .struct_size = sizeof task, .type = "t" };

    for (int i = 0; i < TASKS; i++)
        tasks[i] = &task;
    assert_int_equal(cronq_client_push_many(client, tasks, TASKS, NULL, NULL, NULL),
                     CRONQ_OK);
}

static bool await_processed(long long count)
{
    for (int i = 0; i < PATIENCE_MS / 10; i++) {
        if (redis_server_int(redis, "INCRBY asynq:{default}:processed 0") >= count)
            return true;
        cq_sleep_ms(10);
    }
    return false;
}

static cronq_server *start_server(void)
{
    cronq_server *server = NULL;

    assert_int_equal(
        cronq_server_new(fault_proxy_uri(proxy),
                         CRONQ_SERVER_OPTIONS(.concurrency = 3, .no_take_ahead = true,
                                              .heartbeat_ms = 300,
                                              .recover_interval_ms = 60000),
                         &server, NULL),
        CRONQ_OK);
    assert_int_equal(cronq_server_add(server, "t", count_run, NULL, NULL, NULL),
                     CRONQ_OK);
    assert_int_equal(cronq_server_start(server, NULL), CRONQ_OK);
    return server;
}

static void what_a_broken_connection_took_is_run_once_and_uncharged(void **state)
{
    cronq_client *client = new_client(redis_server_uri(redis));
    cronq_server *server = start_server();
    long long expected = 0;
    int struck = 0;

    (void)state;
    atomic_store(&runs, 0);
    for (size_t cut = 0; cut < CUT_COUNT; cut++)
        for (int nth = 1; nth <= points(); nth++) {
            fault_proxy_plan(proxy, cuts[cut], "EVALSHA", nth, NULL);
            push_tasks(client);
            expected += TASKS;
            if (!await_processed(expected))
                fail_msg("cut %zu at command %d: %lld of %lld were processed", cut, nth,
                         redis_server_int(redis, "INCRBY asynq:{default}:processed 0"),
                         expected);
            struck += fault_proxy_struck(proxy);
        }
    assert_int_equal(cronq_server_stop(server, NULL), CRONQ_OK);
    assert_int_equal(atomic_load(&runs), expected);
    assert_int_equal(redis_server_int(redis, "LLEN asynq:{default}:active"), 0);
    assert_int_equal(redis_server_int(redis, "ZCARD asynq:{default}:lease"), 0);
    assert_int_equal(redis_server_int(redis, "INCRBY asynq:{default}:processed 0"),
                     expected);
    print_message("%lld tasks over %d broken connections, each run once\n", expected,
                  struck);
    assert_true(struck >= points() * (int)CUT_COUNT * 3 / 4);
    cronq_server_free(server);
    cronq_client_free(client);
}

static void a_worker_goes_on_after_every_error(void **state)
{
    cronq_client *client = new_client(redis_server_uri(redis));
    cronq_server *server = start_server();
    long long expected = 0;

    (void)state;
    atomic_store(&runs, 0);
    for (size_t i = 0; i < REPLY_COUNT; i++)
        for (int nth = 1; nth <= 2; nth++) {
            fault_proxy_plan(proxy, FAULT_ERROR, "EVALSHA", nth, replies[i].line);
            push_tasks(client);
            expected += TASKS;
            if (!await_processed(expected))
                fail_msg("%s: %lld of %lld were processed", replies[i].line,
                         redis_server_int(redis, "INCRBY asynq:{default}:processed 0"),
                         expected);
        }
    assert_int_equal(cronq_server_stop(server, NULL), CRONQ_OK);
    assert_int_equal(atomic_load(&runs), expected);
    cronq_server_free(server);
    cronq_client_free(client);
}

/* Pushes rest until there are replicas, while their tasks run, are done and are deleted:
 * what is sent again must not bring them back. */
static void a_push_that_lacks_replicas_runs_once(void **state)
{
    const cronq_client_options options = {
        .struct_size = sizeof options,
        .store = CRONQ_STORE_OPTIONS(.wait_replica_count = 1, .wait_timeout_ms = 100),
        .push_timeout_ms = 2000
    };
    cronq_server *server = start_server();
    cronq_client *client = NULL;
    cronq_error err;

    (void)state;
    atomic_store(&runs, 0);
    assert_int_equal(cronq_client_new(redis_server_uri(redis), &options, &client, NULL),
                     CRONQ_OK);
    assert_int_equal(cronq_client_push(client, CRONQ_TASK(.type = "t"), NULL, &err),
                     CRONQ_EIO);
    assert_non_null(strstr(err.text, "0 of 1 replicas"));
    assert_true(await_processed(1));
    assert_int_equal(cronq_server_stop(server, NULL), CRONQ_OK);
    assert_int_equal(atomic_load(&runs), 1);
    cronq_server_free(server);
    cronq_client_free(client);
}

/* All that were open: of the exchange, of the heartbeat, of who listens. */
static void half_open_connections_are_found_within_15_seconds(void **state)
{
    cronq_client *client = new_client(redis_server_uri(redis));
    cronq_client *through = new_client(fault_proxy_uri(proxy));
    cronq_server *server = start_server();
    int64_t began_ms;
    cronq_error err;

    (void)state;
    push_tasks(client);
    push_tasks(through);
    assert_true(await_processed(2 * TASKS));
    cq_sleep_ms(300);
    fault_proxy_freeze(proxy);
    began_ms = cq_mono_ms();
    push_tasks(client);
    if (cronq_client_push(through, CRONQ_TASK(.type = "t"), NULL, &err))
        fail_msg("%s", err.text);
    assert_true(await_processed(3 * TASKS + 1));
    print_message("worker and client go on %lld ms after all connections froze\n",
                  (long long)(cq_mono_ms() - began_ms));
    assert_true(cq_mono_ms() - began_ms < 15000);
    assert_int_equal(cronq_server_stop(server, NULL), CRONQ_OK);
    cronq_server_free(server);
    cronq_client_free(through);
    cronq_client_free(client);
}

static void replies_may_come_late_and_byte_by_byte(void **state)
{
    cronq_client *client = new_client(redis_server_uri(redis));
    cronq_server *server;

    (void)state;
    atomic_store(&runs, 0);
    fault_proxy_split(proxy, true);
    fault_proxy_delay(proxy, 5);
    push_tasks(client);
    server = start_server();
    assert_true(await_processed(TASKS));
    assert_int_equal(cronq_server_stop(server, NULL), CRONQ_OK);
    assert_int_equal(atomic_load(&runs), TASKS);
    cronq_server_free(server);
    cronq_client_free(client);
}

#define WITH_PROXY(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_PROXY(a_push_whose_answer_is_lost_is_stored_once),
        WITH_PROXY(a_push_that_is_sent_again_is_told),
        WITH_PROXY(every_error_is_waited_for_or_told_at_once),
        WITH_PROXY(a_worker_goes_on_after_every_error),
        WITH_PROXY(half_open_connections_are_found_within_15_seconds),
        WITH_PROXY(what_a_broken_connection_took_is_run_once_and_uncharged),
        WITH_PROXY(a_push_that_lacks_replicas_runs_once),
        WITH_PROXY(replies_may_come_late_and_byte_by_byte),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
