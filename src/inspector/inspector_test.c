/* SPDX-License-Identifier: MIT */
/* inspector_test.c - looking at queues and pausing them, on a real Redis. */
#include <cronq/inspector.h>

#include "broker/broker.h"
#include "support/redis_server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

static redis_server *server;
static cronq_inspector *inspector;

static int start(void **state)
{
    cronq_error err = { .text = "" };

    (void)state;
    server = redis_server_start(NULL);
    if (cronq_inspector_new(redis_server_uri(server), NULL, &inspector, &err))
        fail_msg("%s", err.text);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    cronq_inspector_free(inspector);
    redis_server_stop(server);
    return 0;
}

static int empty(void **state)
{
    (void)state;
    redis_server_do(server, "FLUSHALL");
    return 0;
}

static void queues_are_listed_in_order(void **state)
{
    cronq_error err = { .text = "" };
    char **names = NULL;
    size_t count = 99;

    (void)state;
    assert_int_equal(cronq_inspector_queues(inspector, &names, &count, &err), CRONQ_OK);
    assert_int_equal(count, 0);
    free(names);
    redis_server_do(server, "SADD asynq:queues low default critical");
    assert_int_equal(cronq_inspector_queues(inspector, &names, &count, &err), CRONQ_OK);
    assert_int_equal(count, 3);
    assert_string_equal(names[0], "critical");
    assert_string_equal(names[1], "default");
    assert_string_equal(names[2], "low");
    free(names);
}

static void a_queue_tells_its_counts(void **state)
{
    cronq_queue_info info = { .struct_size = sizeof info };
    cronq_error err = { .text = "" };
    long long since_ns = ((long long)time(NULL) - 60) * 1000000000;

    (void)state;
    redis_server_do(server, "SADD asynq:queues q");
    redis_server_do(server, "LPUSH asynq:{q}:pending a b");
    redis_server_do(server, "HSET asynq:{q}:t:a state pending pending_since %lld",
                    since_ns);
    redis_server_do(server, "LPUSH asynq:{q}:active c");
    redis_server_do(server, "ZADD asynq:{q}:retry 1 d 2 e 3 f");
    redis_server_do(server, "SET asynq:{q}:processed 12");
    redis_server_do(server, "SET asynq:{q}:failed 5");
    assert_int_equal(cronq_inspector_queue_info(inspector, "q", &info, &err), CRONQ_OK);
    assert_string_equal(info.name, "q");
    assert_int_equal(info.pending_count, 2);
    assert_int_equal(info.active_count, 1);
    assert_int_equal(info.retry_count, 3);
    assert_int_equal(info.scheduled_count, 0);
    assert_int_equal(info.processed_count, 12);
    assert_int_equal(info.failed_count, 5);
    assert_false(info.paused);
    assert_in_range(info.latency_ms, 59000, 90000);
}

static void a_queue_is_paused_once(void **state)
{
    cronq_queue_info info = { .struct_size = sizeof info };
    cronq_error err = { .text = "" };

    (void)state;
    redis_server_do(server, "SADD asynq:queues q");
    assert_int_equal(cronq_inspector_pause(inspector, "q", &err), CRONQ_OK);
    assert_int_equal(cronq_inspector_pause(inspector, "q", &err), CRONQ_ESTATE);
    assert_int_equal(cronq_inspector_queue_info(inspector, "q", &info, &err), CRONQ_OK);
    assert_true(info.paused);
    assert_in_range(info.paused_at_ms, ((int64_t)time(NULL) - 60) * 1000,
                    ((int64_t)time(NULL) + 1) * 1000);
    assert_int_equal(cronq_inspector_resume(inspector, "q", &err), CRONQ_OK);
    assert_int_equal(cronq_inspector_resume(inspector, "q", &err), CRONQ_ESTATE);
    assert_int_equal(cronq_inspector_queue_info(inspector, "q", &info, &err), CRONQ_OK);
    assert_false(info.paused);
    assert_int_equal(info.paused_at_ms, 0);
}

static void bad_input_has_a_status_of_its_own(void **state)
{
    cronq_queue_info info = { .struct_size = sizeof info, .name = "kept" };
    cronq_error err = { .text = "" };
    cronq_inspector *none = NULL;

    (void)state;
    assert_int_equal(cronq_inspector_queue_info(inspector, "gone", &info, &err),
                     CRONQ_ENOENT);
    assert_non_null(strstr(err.text, "gone"));
    assert_int_equal(cronq_inspector_queue_info(inspector, "a{b", &info, &err),
                     CRONQ_EINVAL);
    assert_int_equal(cronq_inspector_queue_info(inspector, NULL, &info, &err),
                     CRONQ_EINVAL);
    assert_int_equal(cronq_inspector_queue_info(inspector, "q", NULL, &err),
                     CRONQ_EINVAL);
    assert_string_equal(info.name, "kept");
    info.struct_size = 0;
    assert_int_equal(cronq_inspector_queue_info(inspector, "q", &info, &err),
                     CRONQ_EINVAL);
    assert_int_equal(cronq_inspector_pause(inspector, "", &err), CRONQ_EINVAL);
    assert_int_equal(cronq_inspector_new(NULL, NULL, &none, &err), CRONQ_EINVAL);
    assert_int_equal(cronq_inspector_new("nonsense", NULL, &none, &err), CRONQ_EINVAL);
    assert_null(none);
    cronq_inspector_free(NULL);
}

static void a_single_server_has_no_nodes(void **state)
{
    cronq_node_info *nodes;
    cronq_error err;
    uint16_t slot;
    size_t count;

    (void)state;
    assert_int_equal(cronq_inspector_nodes(inspector, "q", &slot, &nodes, &count, &err),
                     CRONQ_ESTATE);
    assert_string_equal(err.text, "the store is no cluster");
    assert_int_equal(cronq_inspector_nodes(inspector, "", &slot, &nodes, &count, &err),
                     CRONQ_EINVAL);
}

/* A caller that was compiled with an older header has a shorter struct. */
static void an_older_struct_is_not_written_behind_its_end(void **state)
{
    cronq_queue_info info = { .latency_ms = 77, .failed_count = 88 };
    cronq_error err = { .text = "" };

    (void)state;
    info.struct_size = offsetof(cronq_queue_info, failed_count);
    redis_server_do(server, "SADD asynq:queues q");
    assert_int_equal(cronq_inspector_queue_info(inspector, "q", &info, &err), CRONQ_OK);
    assert_string_equal(info.name, "q");
    assert_int_equal(info.failed_count, 88);
    assert_int_equal(info.latency_ms, 77);
    assert_int_equal(info.struct_size, offsetof(cronq_queue_info, failed_count));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(queues_are_listed_in_order, empty),
        cmocka_unit_test_setup(a_queue_tells_its_counts, empty),
        cmocka_unit_test_setup(a_queue_is_paused_once, empty),
        cmocka_unit_test_setup(bad_input_has_a_status_of_its_own, empty),
        cmocka_unit_test_setup(a_single_server_has_no_nodes, empty),
        cmocka_unit_test_setup(an_older_struct_is_not_written_behind_its_end, empty),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
