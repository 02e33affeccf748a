/* SPDX-License-Identifier: MIT */
/* panic_test.c - the clean way out of an attempt that must not go on. */
#include "base/clock.h"
#include "support/redis_server.h"
#include "worker/fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ARENA_BYTES ((size_t)1 << 20)

static fixture f;
static cq_arena arena;

static int set_up(void **state)
{
    (void)state;
    fixture_init(&f, NULL);
    cq_arena_init(&arena, ARENA_BYTES);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fixture_release(&f);
    cq_arena_release(&arena);
    return 0;
}

/* ---- handlers ---- */

static __attribute__((noinline)) void go_down(cronq_attempt *attempt)
{
    cronq_panic(attempt, "at the bottom, %s", "with an argument");
}

static cronq_status panic_deep_down(cronq_attempt *attempt, void *arg)
{
    (void)arg;
    if (strcmp(cronq_attempt_task_id(attempt), "good") == 0)
        return CRONQ_OK;
    go_down(attempt);
    fail_msg("came back from a panic");
    return CRONQ_OK;
}

static cronq_status note_status(cronq_attempt *attempt, const cronq_next *next, void *arg)
{
    cronq_status status = cronq_next_run(next, attempt);

    if (status)
        *(int *)arg = (int)status;
    return status;
}

static cronq_status panic_itself(cronq_attempt *attempt, const cronq_next *next,
                                 void *arg)
{
    (void)arg;
    (void)cronq_next_run(next, attempt);
    cronq_panic(attempt, "of the middleware");
}

static void note_error(cronq_attempt *attempt, const cronq_error *why, void *arg)
{
    (void)attempt;
    memcpy(arg, why, sizeof *why);
}

/* ---- tests ---- */

static void a_panic_archives_its_task_and_nothing_else_stops(void **state)
{
    cq_message message = fixture_task("bad");
    int seen = 0;
    cronq_error why = { CRONQ_OK, "" };
    cronq_metrics *metrics;
    char *text = NULL;
    size_t len;

    (void)state;
    assert_int_equal(cronq_metrics_new(&metrics, NULL), CRONQ_OK);
    f.options.metrics = metrics;
    f.options.on_error = note_error;
    f.options.on_error_arg = &why;
    fixture_push(&f, &message);
    fixture_worker(&f);
    assert_int_equal(cq_worker_use(f.worker, note_status, &seen, NULL), CRONQ_OK);
    fixture_add(&f, "t", panic_deep_down, NULL);
    fixture_start(&f);
    FIXTURE_AWAIT(fixture_counts(&f)->archived == 1, 3000);
    message = fixture_task("good");
    fixture_push(&f, &message);
    FIXTURE_AWAIT(fixture_counts(&f)->done == 1, 3000);
    fixture_stop(&f);

    assert_int_equal(seen, CRONQ_EPANIC);
    assert_int_equal(why.code, CRONQ_EPANIC);
    message = fixture_message(&f, "bad", &arena);
    assert_true(
        cq_str_eq(message.error_msg, CQ_STR("panic: at the bottom, with an argument")));
    assert_int_equal(message.retried, 0);
    assert_int_equal(cronq_metrics_render(metrics, CRONQ_METRICS_TEXT, &text, &len, NULL),
                     CRONQ_OK);
    assert_non_null(strstr(text, "cron_server_panic_total{task_type=\"t\"} 1\n"));
    assert_non_null(strstr(text, "consume_total{task_type=\"t\",status=\"fail\"} 1\n"));
    free(text);
    cq_worker_free(f.worker);
    f.worker = NULL;
    cronq_metrics_free(metrics);
}

static void a_panic_of_a_middleware_counts_as_the_attempts(void **state)
{
    cq_message message = fixture_task("good");

    (void)state;
    fixture_push(&f, &message);
    fixture_worker(&f);
    assert_int_equal(cq_worker_use(f.worker, panic_itself, NULL, NULL), CRONQ_OK);
    fixture_add(&f, "t", panic_deep_down, NULL);
    fixture_start(&f);
    FIXTURE_AWAIT(fixture_counts(&f)->archived == 1, 3000);
    fixture_stop(&f);
    message = fixture_message(&f, "good", &arena);
    assert_true(cq_str_eq(message.error_msg, CQ_STR("panic: of the middleware")));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_panic_archives_its_task_and_nothing_else_stops),
        TEST(a_panic_of_a_middleware_counts_as_the_attempts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
