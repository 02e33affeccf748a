/* SPDX-License-Identifier: MIT */
/* worker_test.c - tasks run on a real Redis: outcomes, timeouts, cancellation, shares,
 * and what a stop gives back. */
#include "base/clock.h"
#include "support/redis_server.h"
#include "worker/fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define ARENA_BYTES ((size_t)1 << 20)

static cronq_status count(cronq_attempt *attempt, void *arg)
{
    (void)attempt;
    atomic_fetch_add((atomic_int *)arg, 1);
    return CRONQ_OK;
}

static void tasks_run_and_are_gone(void **state)
{
    fixture f;
    atomic_int ran = 0;

    (void)state;
    fixture_init(&f, NULL);
    fixture_push_many(&f, "q", "t", "a", 100);
    fixture_run(&f, "t", count, &ran);
    FIXTURE_AWAIT(fixture_int(&f, "GET asynq:{q}:processed") == 100, 5000);
    assert_int_equal(ran, 100);
    assert_int_equal(fixture_int(&f, "LLEN asynq:{q}:pending"), 0);
    assert_int_equal(fixture_int(&f, "LLEN asynq:{q}:active"), 0);
    assert_int_equal(fixture_int(&f, "ZCARD asynq:{q}:lease"), 0);
    assert_int_equal(fixture_int(&f, "EXISTS asynq:{q}:t:a-0"), 0);
    FIXTURE_AWAIT(cq_worker_idle(f.worker), 1000);
    fixture_push_many(&f, "q", "t", "b", 1);
    FIXTURE_AWAIT(ran == 101, 2000);
    fixture_stop(&f);
    fixture_release(&f);
}

static void twenty_thousand_tasks_are_quick(void **state)
{
    fixture f;
    atomic_int ran = 0;
    size_t n = getenv("FIXTURE_COUNT") ? (size_t)atoi(getenv("FIXTURE_COUNT")) : 20000;
    int64_t start;

    (void)state;
    fixture_init(&f, NULL);
    f.options.concurrency = 10;
    fixture_push_many(&f, "q", "t", "a", n);
    start = cq_mono_ms();
    fixture_run(&f, "t", count, &ran);
    FIXTURE_AWAIT((size_t)atomic_load(&ran) == n, 20000);
    print_message("%zu tasks in %lld ms\n", n, (long long)(cq_mono_ms() - start));
    fixture_stop(&f);
    assert_int_equal(fixture_int(&f, "GET asynq:{q}:processed"), n);
    assert_int_equal(fixture_int(&f, "ZCARD asynq:{q}:lease"), 0);
    fixture_release(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tasks_run_and_are_gone),
        cmocka_unit_test(twenty_thousand_tasks_are_quick),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
