/* SPDX-License-Identifier: MIT */
/* store_test.c - a store that is killed, stalls or is not there. */
#include "base/clock.h"
#include "support/patience.h"
#include "support/redis_server.h"
#include "worker/fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include <cmocka.h>

static fixture f;

static int set_up(void **state)
{
    (void)state;
    fixture_init(&f, NULL);
    return 0;
}

static int set_up_durable(void **state)
{
    (void)state;
    fixture_init(&f, "appendonly yes\nappendfsync always\n");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fixture_release(&f);
    return 0;
}

/* ---- handlers ---- */

static cronq_status sleep_a_little(cronq_attempt *attempt, void *arg)
{
    (void)attempt;
    cq_sleep_ms(20);
    atomic_fetch_add((atomic_int *)arg, 1);
    return CRONQ_OK;
}

/* ---- the store goes away ---- */

static void a_killed_store_loses_nothing(void **state)
{
    atomic_int ran = 0;

    (void)state;
    f.options.concurrency = 8;
    fixture_push_many(&f, "q", "t", "a", 1500);
    fixture_run(&f, "t", sleep_a_little, &ran);
    for (int i = 1; i <= 3; i++) {
        FIXTURE_AWAIT(ran > i * 200, 10000);
        redis_server_kill(f.server);
        cq_sleep_ms(200);
        redis_server_restart(f.server);
    }
    FIXTURE_AWAIT(fixture_int(&f, "LLEN asynq:{q}:pending") == 0, 30000);
    FIXTURE_AWAIT(fixture_int(&f, "LLEN asynq:{q}:active") == 0, 10000);
    fixture_stop(&f);
    assert_true(ran >= 1500);
    assert_int_equal(fixture_int(&f, "EXISTS asynq:{q}:retry"), 0);
    assert_int_equal(fixture_int(&f, "EXISTS asynq:{q}:archived"), 0);
    /* Only the counters are left: processed, and that of the day. */
    assert_int_equal(fixture_int(&f, "EVAL return#redis.call('KEYS','asynq:{q}:*') 0"),
                     2);
    assert_true(fixture_logged(&f, "reached the store again"));
}

static void a_stalled_store_only_delays(void **state)
{
    atomic_int ran = 0;

    (void)state;
    f.options.lease_ms = 10000;
    f.options.concurrency = 8;
    fixture_push_many(&f, "q", "t", "a", 400);
    fixture_run(&f, "t", sleep_a_little, &ran);
    FIXTURE_AWAIT(ran > 40, 3000);
    redis_server_pause(f.server);
    cq_sleep_ms(3000);
    redis_server_resume(f.server);
    FIXTURE_AWAIT(fixture_int(&f, "LLEN asynq:{q}:active") == 0 && ran >= 400, 10000);
    fixture_stop(&f);
    assert_int_equal(ran, 400);
    assert_int_equal(fixture_counts(&f)->recovered, 0);
}

typedef struct tally {
    atomic_int ran, charged;
} tally;

static cronq_status note_charge(cronq_attempt *attempt, void *arg)
{
    tally *t = arg;

    cq_sleep_ms(5);
    t->ran++;
    t->charged += cronq_attempt_retry_count(attempt) > 0;
    return CRONQ_OK;
}

/* A stopped server still does what it finds in its sockets once it goes on: fetches and
 * outcomes whose answers nobody waits for any more. */
static void lost_answers_cost_neither_a_retry_nor_a_second_run(void **state)
{
    static const cronq_store_options impatient = { .struct_size = sizeof impatient,
                                                   .read_timeout_ms = 150 };
    tally t = { 0 };

    (void)state;
    f.options.store = &impatient;
    f.options.lease_ms = 20000;
    fixture_push_many(&f, "q", "t", "a", 800);
    fixture_run(&f, "t", note_charge, &t);
    for (int i = 1; i <= 4; i++) {
        FIXTURE_AWAIT(t.ran > i * 80, 10000);
        redis_server_pause(f.server);
        cq_sleep_ms(400);
        redis_server_resume(f.server);
    }
    FIXTURE_AWAIT(t.ran >= 800, 20000);
    FIXTURE_AWAIT(fixture_int(&f, "LLEN asynq:{q}:active") == 0, 8000);
    fixture_stop(&f);
    assert_int_equal(t.ran, 800);
    assert_int_equal(t.charged, 0);
    assert_int_equal(fixture_int(&f, "GET asynq:{q}:processed"), 800);
    assert_true(fixture_logged(&f, "of a fetch whose answer was lost"));
    assert_true(fixture_logged(&f, "outcome was sent twice"));
}

static void a_stop_without_a_store_is_bounded(void **state)
{
    static const cronq_store_options impatient = { .struct_size = sizeof impatient,
                                                   .read_timeout_ms = 1000 };
    atomic_int ran = 0;
    int64_t start_ms;

    (void)state;
    f.options.store = &impatient;
    f.options.shutdown_timeout_ms = 500;
    fixture_push_many(&f, "q", "t", "a", 2000);
    fixture_run(&f, "t", sleep_a_little, &ran);
    FIXTURE_AWAIT(ran > 10, 3000);
    redis_server_pause(f.server);
    cq_sleep_ms(200);
    start_ms = cq_mono_ms();
    fixture_stop(&f);
    assert_in_range(cq_mono_ms() - start_ms, 0, 4500);
    redis_server_resume(f.server);
}

static void a_worker_starts_without_its_store(void **state)
{
    atomic_int ran = 0;

    (void)state;
    redis_server_kill(f.server);
    fixture_run(&f, "t", fixture_count, &ran);
    cq_sleep_ms(300);
    redis_server_restart(f.server);
    fixture_push_many(&f, "q", "t", "a", 10);
    FIXTURE_AWAIT(ran == 10, 8000);
    fixture_stop(&f);
}

static void note_health(const cronq_error *why, void *arg)
{
    atomic_fetch_add((atomic_int *)arg, why ? 1000 : 1);
}

static void health_is_reported_from_time_to_time(void **state)
{
    atomic_int health = 0, ran = 0;

    (void)state;
    f.options.on_health = note_health;
    f.options.on_health_arg = &health;
    fixture_run(&f, "t", fixture_count, &ran);
    FIXTURE_AWAIT(health >= 2, 3000);
    redis_server_kill(f.server);
    FIXTURE_AWAIT(health >= 1000, 5000);
    redis_server_restart(f.server);
    FIXTURE_AWAIT(health % 1000 >= 4, 10000);
    fixture_stop(&f);
}

static int64_t cpu_ms(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000 +
           (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1000;
}

static void waiting_for_a_store_costs_little(void **state)
{
    atomic_int ran = 0;
    int64_t before_ms;

    (void)state;
    fixture_run(&f, "t", fixture_count, &ran);
    FIXTURE_AWAIT(cq_worker_idle(f.worker), 2000);
    before_ms = cpu_ms();
    cq_sleep_ms(1000);
    assert_in_range(cpu_ms() - before_ms, 0, 30 * PATIENCE); /* idle, beside its store */
    redis_server_kill(f.server);
    before_ms = cpu_ms();
    cq_sleep_ms(2000);
    assert_in_range(cpu_ms() - before_ms, 0, 100 * PATIENCE);
    fixture_stop(&f);
}

int main(void)
{
#define TEST(name)    cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define DURABLE(name) cmocka_unit_test_setup_teardown(name, set_up_durable, tear_down)
    const struct CMUnitTest tests[] = {
        DURABLE(a_killed_store_loses_nothing),
        TEST(a_stalled_store_only_delays),
        TEST(lost_answers_cost_neither_a_retry_nor_a_second_run),
        TEST(a_stop_without_a_store_is_bounded),
        TEST(a_worker_starts_without_its_store),
        TEST(health_is_reported_from_time_to_time),
        TEST(waiting_for_a_store_costs_little),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
