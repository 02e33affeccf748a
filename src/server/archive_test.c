/* SPDX-License-Identifier: MIT */
/* archive_test.c - who is told of archived tasks, and what tasks remember of their
 * failures, on both stores. */
#include "base/clock.h"
#include "base/thread.h"
#include "support/redis_server.h"
#include "support/scratch.h"

#include <cronq/cronq.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PATIENCE_NS (30 * CQ_NS_PER_S)
#define MANY        1200
#define WAITING     1000

static struct {
    char scratch[SCRATCH_ROOM], uri[SCRATCH_ROOM + 32];
    redis_server *redis;
    cronq_client *client;
    cronq_inspector *inspector;
    cronq_metrics *metrics;
    cronq_server *server;
    _Atomic int told, errors;
    atomic_bool held, refuses;
    char id[64], error[64], failure[64];
    cronq_state state;
} w;

#define AWAIT(condition)                                 \
    do {                                                 \
        int64_t until_ns_ = cq_mono_ns() + PATIENCE_NS;  \
        while (!(condition) && cq_mono_ns() < until_ns_) \
            cq_sleep_ms(2);                              \
        assert_true(condition);                          \
    } while (0)

static cronq_status listen(const cronq_task_info *task, void *arg, cronq_error *err)
{
    cronq_failure last = cronq_task_info_failure_at(task, 0);

    (void)arg;
    (void)err;
    snprintf(w.id, sizeof w.id, "%s", cronq_task_info_id(task));
    snprintf(w.error, sizeof w.error, "%s", cronq_task_info_error(task));
    snprintf(w.failure, sizeof w.failure, "%d %s", last.attempt,
             last.text ? last.text : "none");
    w.state = cronq_task_info_state(task);
    w.told++;
    while (w.held)
        cq_sleep_ms(1);
    return w.refuses ? CRONQ_EFAILED : CRONQ_OK;
}

static cronq_status fail_it(cronq_attempt *attempt, void *arg)
{
    (void)arg;
    return cronq_attempt_fail(attempt, "broken\n%s", cronq_attempt_task_id(attempt));
}

static void count_errors(void *arg, const cronq_log_record *record)
{
    (void)arg;
    if (strstr(record->text, "nobody was told") || strstr(record->text, "not told of"))
        w.errors++;
}

static void begin(bool on_file)
{
    memset(&w, 0, sizeof w);
    scratch_new(w.scratch);
    if (on_file) {
        snprintf(w.uri, sizeof w.uri, "sqlite:%s/db", w.scratch);
    } else {
        w.redis = redis_server_start(NULL);
        snprintf(w.uri, sizeof w.uri, "%s", redis_server_uri(w.redis));
    }
    assert_int_equal(cronq_client_new(w.uri, NULL, &w.client, NULL), CRONQ_OK);
    assert_int_equal(cronq_inspector_new(w.uri, NULL, &w.inspector, NULL), CRONQ_OK);
    assert_int_equal(cronq_metrics_new(&w.metrics, NULL), CRONQ_OK);
    assert_int_equal(
        cronq_server_new(
            w.uri,
            CRONQ_SERVER_OPTIONS(.concurrency = 4, .on_archive = listen,
                                 .metrics = w.metrics, .shutdown_timeout_ms = 20000,
                                 .logger = { count_errors, NULL, CRONQ_LOG_ERROR }),
            &w.server, NULL),
        CRONQ_OK);
    assert_int_equal(cronq_server_add(w.server, "t", fail_it, NULL, NULL, NULL),
                     CRONQ_OK);
    assert_int_equal(cronq_server_start(w.server, NULL), CRONQ_OK);
}

static void end(void)
{
    cronq_server_free(w.server);
    cronq_metrics_free(w.metrics);
    cronq_inspector_free(w.inspector);
    cronq_client_free(w.client);
    redis_server_stop(w.redis);
    scratch_remove(w.scratch);
}

static void push(const char *id)
{
    cronq_error err = { 0 };

    if (cronq_client_push(w.client,
                          CRONQ_TASK(.type = "t", .id = id, .max_retry = CRONQ_NO_RETRY),
                          NULL, &err))
        fail_msg("push: %s", err.text);
}

static uint64_t archived(void)
{
    cronq_queue_info info = { .struct_size = sizeof info };

    if (cronq_inspector_queue_info(w.inspector, "default", &info, NULL))
        return 0;
    return info.archived_count;
}

/* The value of cronq_archive_notices_total{result="…"}. */
static int counted(const char *result)
{
    char name[80], *text = NULL, *at;
    size_t len;
    int value;

    snprintf(name, sizeof name, "\ncronq_archive_notices_total{result=\"%s\"} ", result);
    assert_int_equal(
        cronq_metrics_render(w.metrics, CRONQ_METRICS_TEXT, &text, &len, NULL), CRONQ_OK);
    at = strstr(text, name);
    value = at ? atoi(at + strlen(name)) : 0;
    free(text);
    return value;
}

/* ---- cases ---- */

static void tell_and_remember(bool on_file)
{
    cronq_task_info *info;
    cronq_failure failure;

    begin(on_file);
    push("a");
    AWAIT(w.told == 1);
    AWAIT(archived() == 1);
    assert_string_equal(w.id, "a");
    assert_string_equal(w.error, "broken\na");
    assert_string_equal(w.failure, "1 broken\na");
    assert_int_equal(w.state, CRONQ_STATE_ARCHIVED);
    assert_int_equal(cronq_inspector_run(w.inspector, "default", "a", NULL), CRONQ_OK);
    AWAIT(w.told == 2);
    AWAIT(archived() == 1);
    assert_int_equal(cronq_inspector_task(w.inspector, "default", "a", &info, NULL),
                     CRONQ_OK);
    assert_int_equal(cronq_task_info_failure_count(info), 2);
    failure = cronq_task_info_failure_at(info, 0);
    assert_string_equal(failure.text, "broken\na");
    assert_int_equal(failure.attempt, 1);
    assert_true(strlen(failure.host) > 0);
    assert_true(failure.at_ms > cronq_task_info_failure_at(info, 1).at_ms - 1000);
    assert_true(failure.at_ms > 1700000000000);
    assert_null(cronq_task_info_failure_at(info, 2).text);
    cronq_task_info_free(info);
    assert_int_equal(counted("told"), 2);
    end();
}

static void an_archived_task_is_told_of_and_remembers_its_failures(void **state)
{
    (void)state;
    tell_and_remember(false);
    tell_and_remember(true);
}

static void who_listens_slowly_holds_up_nobody(void **state)
{
    (void)state;
    begin(false);
    w.held = true;
    for (int i = 0; i < MANY; i++) {
        char id[16];

        snprintf(id, sizeof id, "t%d", i);
        push(id);
    }
    AWAIT(archived() == MANY);
    assert_int_equal(w.told, 1);
    AWAIT(counted("dropped") == MANY - WAITING - 1);
    assert_int_equal(w.errors, 1);
    w.held = false;
    AWAIT(counted("told") + counted("dropped") == MANY);
    assert_int_equal(counted("told"), WAITING + 1);
    end();
}

static void a_listener_that_fails_is_logged_and_counted(void **state)
{
    (void)state;
    begin(true);
    w.refuses = true;
    push("a");
    push("b");
    AWAIT(w.errors == 2);
    AWAIT(counted("failed") == 2);
    assert_int_equal(w.told, 2);
    end();
}

static void a_stop_tells_what_is_left(void **state)
{
    (void)state;
    begin(false);
    w.held = true;
    for (int i = 0; i < 20; i++) {
        char id[16];

        snprintf(id, sizeof id, "t%d", i);
        push(id);
    }
    AWAIT(archived() == 20);
    w.held = false;
    assert_int_equal(cronq_server_stop(w.server, NULL), CRONQ_OK);
    assert_int_equal(w.told, 20);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_archived_task_is_told_of_and_remembers_its_failures),
        cmocka_unit_test(who_listens_slowly_holds_up_nobody),
        cmocka_unit_test(a_listener_that_fails_is_logged_and_counted),
        cmocka_unit_test(a_stop_tells_what_is_left),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
