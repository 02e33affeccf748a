/* SPDX-License-Identifier: MIT */
/* stop_test.c - how a worker stops, what it gives back, and handlers that do not end. */
#include "base/clock.h"
#include "support/redis_server.h"
#include "worker/fixture.h"
#include "worker/internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

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

static cronq_status sleep_a_little(cronq_attempt *attempt, void *arg)
{
    (void)attempt;
    cq_sleep_ms(20);
    atomic_fetch_add((atomic_int *)arg, 1);
    return CRONQ_OK;
}

/* ---- stopping ---- */

static void a_stop_waits_for_handlers_and_gives_back_the_rest(void **state)
{
    cq_message message;
    fixture_gate g = { 0 };
    char next[4096];

    (void)state;
    f.options.shutdown_timeout_ms = 300;
    fixture_push_many(&f, "q", "t", "a", 50);
    fixture_run(&f, "t", fixture_pass_gate, &g);
    FIXTURE_AWAIT(g.entered == 4, 3000);
    fixture_stop(&f); /* cancels the four */
    assert_int_equal(g.reason, CRONQ_ECANCELED);
    assert_int_equal(g.entered, 4);
    assert_int_equal(fixture_int(&f, "LLEN asynq:{q}:pending"), 50);
    assert_int_equal(fixture_int(&f, "LLEN asynq:{q}:active"), 0);
    assert_int_equal(fixture_int(&f, "ZCARD asynq:{q}:lease"), 0);
    assert_int_equal(fixture_int(&f, "EXISTS asynq:{q}:processed"), 0);
    message = fixture_message(&f, "a-0", &arena);
    assert_int_equal(message.retried, 0);
    assert_true(fixture_text(&f, next, "LINDEX asynq:{q}:pending -5"));
    assert_string_equal(next, "a-4"); /* behind those that had been started */
}

static void a_stop_lets_handlers_finish_in_time(void **state)
{
    atomic_int ran = 0;

    (void)state;
    fixture_push_many(&f, "q", "t", "a", 500);
    fixture_run(&f, "t", sleep_a_little, &ran);
    FIXTURE_AWAIT(ran > 10, 3000);
    fixture_stop(&f);
    assert_int_equal(fixture_int(&f, "GET asynq:{q}:processed"), ran);
    assert_int_equal(fixture_int(&f, "LLEN asynq:{q}:pending"), 500 - ran);
    assert_int_equal(fixture_int(&f, "LLEN asynq:{q}:active"), 0);
}

static void a_stubborn_handler_is_left_and_can_be_given_back(void **state)
{
    static fixture_gate gate_left = { .stubborn =
                                          true }; /* the thread outlives the stop */
    fixture_gate *g = &gate_left;
    size_t running;
    cronq_error err;

    (void)state;
    f.options.shutdown_timeout_ms = 100;
    fixture_push_many(&f, "q", "t", "a", 1);
    fixture_run(&f, "t", fixture_pass_gate, g);
    FIXTURE_AWAIT(g->entered == 1, 3000);
    assert_int_equal(cq_worker_stop(f.worker, &running, &err), CRONQ_ETIMEDOUT);
    assert_int_equal(running, 1);
    assert_int_equal(fixture_int(&f, "LLEN asynq:{q}:active"), 1);
    cq_worker_give_back_running(f.worker);
    assert_int_equal(fixture_int(&f, "LLEN asynq:{q}:active"), 0);
    assert_int_equal(fixture_int(&f, "LLEN asynq:{q}:pending"), 1);
    assert_false(cq_worker_has_ended(f.worker));
    cq_worker_free(f.worker); /* leaves all to the handler */
    g->open = 1;
    FIXTURE_AWAIT(cq_worker_has_ended(f.worker), 2000); /* and now it can be freed */
}

static void what_was_taken_ahead_goes_back_after_a_while(void **state)
{
    atomic_int ran = 0;
    fixture_gate g = { 0 };

    (void)state;
    fixture_push_many(&f, "q", "short", "s", 2000);
    fixture_push_many(&f, "q", "long", "l", 200);
    fixture_worker(&f);
    fixture_add(&f, "short", fixture_count, &ran);
    fixture_add(&f, "long", fixture_pass_gate, &g);
    fixture_start(&f);
    FIXTURE_AWAIT(ran == 2000 && g.entered == 4, 5000);
    FIXTURE_AWAIT(fixture_int(&f, "LLEN asynq:{q}:active") == 4, 2000);
    cq_sleep_ms(300);
    assert_int_equal(fixture_int(&f, "LLEN asynq:{q}:active"), 4);
    assert_int_equal(fixture_int(&f, "LLEN asynq:{q}:pending"), 196);
    g.open = 1;
    FIXTURE_AWAIT(fixture_counts(&f)->done == 2200, 5000);
    assert_true(fixture_counts(&f)->given_back > 0);
    fixture_stop(&f);
}

/* ---- handlers that take all the room, or do not end ---- */

static void a_stuck_handler_is_reported_once(void **state)
{
    cq_message message = fixture_task("id");
    fixture_gate g = { .stubborn = true };

    (void)state;
    message.timeout_s = 1;
    fixture_push(&f, &message);
    fixture_worker(&f);
    fixture_add(&f, "t", fixture_pass_gate, &g);
    f.worker->deadlines.stuck_after_ns = 300 * CQ_NS_PER_MS;
    fixture_start(&f);
    FIXTURE_AWAIT(fixture_logged(&f, "handler of t is stuck"), 4000);
    cq_sleep_ms(400);
    assert_int_equal(fixture_counts(&f)->stuck, 1);
    g.open = 1;
    FIXTURE_AWAIT(fixture_counts(&f)->done == 1, 2000);
    fixture_stop(&f);
}

static void a_busy_worker_still_forwards_what_is_due(void **state)
{
    fixture_gate g = { 0 };

    (void)state;
    fixture_push_many(&f, "q", "t", "a", 4);
    fixture_run(&f, "t", fixture_pass_gate, &g);
    FIXTURE_AWAIT(g.entered == 4, 3000);
    fixture_push_many(&f, "q", "t", "due", 1);
    fixture_do(&f, "LREM asynq:{q}:pending 1 due-0");
    fixture_do(&f, "ZADD asynq:{q}:scheduled 1000 due-0");
    FIXTURE_AWAIT(fixture_int(&f, "LLEN asynq:{q}:pending") == 1, 3000);
    g.open = 1;
    FIXTURE_AWAIT(fixture_counts(&f)->done == 5, 3000);
    fixture_stop(&f);
}

typedef struct crowd {
    atomic_int now, most;
} crowd;

static cronq_status join_crowd(cronq_attempt *attempt, void *arg)
{
    crowd *c = arg;
    int now = atomic_fetch_add(&c->now, 1) + 1, most = c->most;

    (void)attempt;
    while (now > most && !atomic_compare_exchange_weak(&c->most, &most, now))
        continue;
    cq_sleep_ms(1);
    atomic_fetch_sub(&c->now, 1);
    return CRONQ_OK;
}

static void no_more_handlers_run_at_once_than_allowed(void **state)
{
    crowd c = { 0 };

    (void)state;
    fixture_push_many(&f, "q", "t", "a", 1000);
    fixture_run(&f, "t", join_crowd, &c);
    FIXTURE_AWAIT(fixture_counts(&f)->done == 1000, 10000);
    fixture_stop(&f);
    assert_int_equal(c.most, 4);
}

static void a_callback_may_say_something_else(cronq_attempt *attempt,
                                              const cronq_error *why, void *arg)
{
    assert_string_equal(why->text, "boom");
    assert_int_equal(cronq_attempt_fail(attempt, "%0*d", *(int *)arg, 7), CRONQ_EFAILED);
}

static cronq_status boom(cronq_attempt *attempt, void *arg)
{
    (void)arg;
    return cronq_attempt_fail(attempt, "boom");
}

static void what_the_handler_said_stays(void **state)
{
    int width = 100000;

    (void)state;
    f.options.on_error = a_callback_may_say_something_else;
    f.options.on_error_arg = &width;
    fixture_push_many(&f, "q", "t", "a", 1);
    fixture_run(&f, "t", boom, NULL);
    FIXTURE_AWAIT(fixture_counts(&f)->retried == 1, 3000);
    fixture_stop(&f);
    assert_true(cq_str_eq(fixture_message(&f, "a-0", &arena).error_msg, CQ_STR("boom")));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_stop_waits_for_handlers_and_gives_back_the_rest),
        TEST(a_stop_lets_handlers_finish_in_time),
        TEST(a_stubborn_handler_is_left_and_can_be_given_back),
        TEST(what_was_taken_ahead_goes_back_after_a_while),
        TEST(a_stuck_handler_is_reported_once),
        TEST(a_busy_worker_still_forwards_what_is_due),
        TEST(no_more_handlers_run_at_once_than_allowed),
        TEST(what_the_handler_said_stays),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
