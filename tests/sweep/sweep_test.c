/* SPDX-License-Identifier: MIT */
/* sweep_test.c - every allocation fails once, n by n: what was called says so, changes
 * nothing of its caller's, and works when it is called again.
 *
 * Leaks and wild pointers are found when this runs with the address sanitizer. */
#include "base/clock.h"
#include "codec/message.h"
#include "cron/cron.h"
#include "support/patience.h"
#include "support/redis_server.h"
#include "sweep/failing_alloc.h"

#include <cronq/config.h>
#include <cronq/cronq.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SWEEP_LIMIT 5000 /* allocations of one case, far more than there are */

static redis_server *server;

/* What a case did. Where status is not OK, err must say the same. */
typedef cronq_status sweep_case(cronq_error *err);

static void check_failure(cronq_status status, const cronq_error *err, size_t n)
{
    if (status != CRONQ_ENOMEM)
        fail_msg("allocation %zu: %s: %s", n, cronq_status_name(status), err->text);
    assert_int_equal(err->code, CRONQ_ENOMEM);
    assert_true(err->text[0] != '\0');
}

/* n grows until nothing fails any more. */
static void sweep(sweep_case *run, bool for_good)
{
    size_t n = 1, refused = 0;
    bool failed = true;

    for (; failed; n++) {
        cronq_error err = { 0 };
        cronq_status status;

        assert_true(n < SWEEP_LIMIT);
        failing_alloc_begin(n, for_good);
        status = run(&err);
        failed = failing_alloc_end();
        refused += status != CRONQ_OK;
        if (status)
            check_failure(status, &err, n);
        if (!failed)
            assert_int_equal(status, CRONQ_OK);
    }
    print_message("%zu allocations, %zu of them reported\n", n - 2, refused);
    assert_true(refused > 0);
}

static void sweep_both(sweep_case *run)
{
    sweep(run, false);
    sweep(run, true);
}

/* ---- what needs no store ---- */

static const cq_header headers[] = { { { "k", 1 }, { "v", 1 } },
                                     { { "l", 1 }, { "w", 1 } } };

static cronq_status encode_and_decode(cronq_error *err)
{
    cq_message message = { .type = CQ_STR("t"),
                           .id = CQ_STR("id"),
                           .queue = CQ_STR("q"),
                           .headers = headers,
                           .header_count = 2 };
    cq_message decoded = { .type = CQ_STR("untouched") };
    cronq_status status;
    cq_arena arena;
    cq_buf buf;

    cq_buf_init(&buf, 65536);
    cq_arena_init(&arena, 65536);
    status = cq_message_encode(&message, &buf, err);
    if (status)
        assert_int_equal(buf.len, 0);
    else
        status =
            cq_message_decode((cronq_bytes){ buf.data, buf.len }, &arena, &decoded, err);
    assert_true(cq_str_eq(decoded.type, status ? CQ_STR("untouched") : CQ_STR("t")));
    cq_arena_release(&arena);
    cq_buf_release(&buf);
    return status;
}

static void a_message_is_coded_or_not_at_all(void **state)
{
    (void)state;
    sweep_both(encode_and_decode);
}

static cronq_status parse_cron(cronq_error *err)
{
    cq_zone *const no_zone = (cq_zone *)&server, *zone = no_zone;
    cq_cron *const no_cron = (cq_cron *)&server, *cron = no_cron;
    cronq_status status = cq_zone_open(CQ_STR("Europe/Berlin"), &zone, err);

    if (status) {
        assert_ptr_equal(zone, no_zone);
        return status;
    }
    status = cq_cron_parse(CQ_STR("TZ=America/New_York 0 */5 1-6,8 * JAN-MAR MON"), zone,
                           CQ_CRON_OPTIONAL_SECONDS, &cron, err);
    if (status)
        assert_ptr_equal(cron, no_cron);
    else
        cq_cron_free(cron);
    cq_zone_free(zone);
    return status;
}

static void a_cron_spec_is_parsed_or_not_at_all(void **state)
{
    (void)state;
    sweep_both(parse_cron);
}

static const char good_yaml[] = "Name: sweep\n"
                                "Log: { Mode: console, Level: info }\n"
                                "WorkConf:\n"
                                "  Addr: \"${NOBODY:-127.0.0.1:6379}\"\n"
                                "  Namespace: ns\n"
                                "  Queues: { high: 6, low: 1 }\n"
                                "Tasks:\n"
                                "  - Pattern: image:resize\n"
                                "    Command: [ convert, '-', out.png ]\n"
                                "    Queue: high\n"
                                "    Env: { A: \"1\", B: two }\n"
                                "    Timeout: 5s\n"
                                "  - Pattern: report\n"
                                "    Command: [ date ]\n"
                                "    Queue: low\n"
                                "    Cron: '*/5 * * * *'\n"
                                "    TimeZone: Europe/Berlin\n"
                                "    Payload: '{}'\n";

static cronq_status parse_config(cronq_error *err)
{
    cronq_config *config = NULL;
    cronq_status status = cronq_config_new(&config, err);

    if (status) {
        assert_null(config);
        return status;
    }
    status = cronq_config_parse(config, "sweep.yaml",
                                (cronq_bytes){ good_yaml, sizeof good_yaml - 1 }, err);
    assert_int_equal(cronq_config_task_count(config), status ? 0 : 2);
    cronq_config_free(config);
    return status;
}

static void a_configuration_is_read_or_not_at_all(void **state)
{
    (void)state;
    sweep_both(parse_config);
}

/* ---- pushing ---- */

static const cronq_header task_header = { "a", "b" };

static cronq_status push_one(cronq_error *err)
{
    cronq_client *client = NULL;
    cronq_task_info *const no_info = (cronq_task_info *)&server, *info = no_info;
    cronq_status status;

    status = cronq_client_new(redis_server_uri(server), NULL, &client, err);
    if (status) {
        assert_null(client);
        return status;
    }
    status = cronq_client_push_pack(
        client,
        CRONQ_TASK(.type = "t", .id = "one", .headers = &task_header, .header_count = 1),
        &info, err, "{s:i}", "user", 42);
    failing_alloc_end();
    if (status) {
        assert_ptr_equal(info, no_info);
    } else {
        assert_string_equal(cronq_task_info_id(info), "one");
        assert_int_equal(cronq_task_info_payload(info).len, strlen("{\"user\":42}"));
        cronq_task_info_free(info);
    }
    cronq_client_free(client);
    return status;
}

/* The store has it whenever the client says so, and pushing it again is safe. */
static cronq_status push_and_look(cronq_error *err)
{
    cronq_status status = push_one(err);
    long long stored = redis_server_int(server, "LLEN asynq:{default}:pending");
    cronq_error again = { 0 };

    assert_int_equal(stored, status == CRONQ_OK);
    if (status)
        assert_int_equal(push_one(&again), CRONQ_OK);
    assert_int_equal(redis_server_int(server, "LLEN asynq:{default}:pending"), 1);
    redis_server_do(server, "FLUSHALL");
    return status;
}

static void a_push_is_stored_or_refused(void **state)
{
    (void)state;
    sweep(push_and_look, false);
}

/* ---- a worker's life ---- */

static atomic_int runs;

static cronq_status count_run(cronq_attempt *attempt, void *arg)
{
    (void)attempt, (void)arg;
    atomic_fetch_add(&runs, 1);
    return CRONQ_OK;
}

static cronq_status fill(cronq_server *worker, cronq_error *err)
{
    const char *const untouched = "untouched", *id = untouched;
    cronq_status status = cronq_server_add(worker, "t", count_run, NULL, NULL, err);

    if (!status)
        status = cronq_server_cron_add(worker, "@every 1h", "hourly", NULL, NULL, NULL,
                                       &id, err);
    if (status)
        assert_ptr_equal(id, untouched);
    return status;
}

/* A failure after the start may delay a task, but the worker goes on. */
static void wait_for_the_run(void)
{
    int64_t until_ms = cq_mono_ms() + 20000 * PATIENCE;

    while (atomic_load(&runs) == 0) {
        if (cq_mono_ms() > until_ms)
            fail_msg("the task was not run");
        cq_sleep_ms(2);
    }
}

static cronq_status live(cronq_error *err)
{
    cronq_server *worker = NULL;
    cronq_status status, stopped;

    atomic_store(&runs, 0);
    status = cronq_server_new(redis_server_uri(server),
                              CRONQ_SERVER_OPTIONS(.concurrency = 2, .lease_ms = 2000,
                                                   .heartbeat_ms = 200,
                                                   .recover_interval_ms = 200),
                              &worker, err);
    if (status) {
        assert_null(worker);
        return status;
    }
    status = fill(worker, err);
    if (!status)
        status = cronq_server_start(worker, err);
    if (!status)
        wait_for_the_run();
    stopped = cronq_server_stop(worker, NULL);
    assert_int_equal(stopped, CRONQ_OK);
    cronq_server_free(worker);
    return status;
}

/* With a task waiting for it; none is there when it has ended well. */
static cronq_status live_on_a_full_queue(cronq_error *err)
{
    redis_server_do(server, "FLUSHALL");
    redis_server_do(server, "SADD asynq:queues default");
    redis_server_do(server, "HSET asynq:{default}:t:a msg %b state pending",
                    "\x0a\x01t\x1a\x01"
                    "a\x22\x07"
                    "default\x28\x19",
                    (size_t)17);
    redis_server_do(server, "LPUSH asynq:{default}:pending a");
    return live(err);
}

static void a_worker_starts_or_not_and_goes_on(void **state)
{
    (void)state;
    sweep(live_on_a_full_queue, false);
}

static int start_redis(void **state)
{
    (void)state;
    server = redis_server_start(NULL);
    return 0;
}

static int stop_redis(void **state)
{
    (void)state;
    failing_alloc_end();
    redis_server_stop(server);
    return 0;
}

#define WITH_REDIS(test) cmocka_unit_test_setup_teardown(test, start_redis, stop_redis)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_is_coded_or_not_at_all),
        cmocka_unit_test(a_cron_spec_is_parsed_or_not_at_all),
        cmocka_unit_test(a_configuration_is_read_or_not_at_all),
        WITH_REDIS(a_push_is_stored_or_refused),
        WITH_REDIS(a_worker_starts_or_not_and_goes_on),
    };

    json_set_alloc_funcs(failing_malloc, free);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
