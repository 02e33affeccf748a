/* SPDX-License-Identifier: MIT */
/* lease_test.c - leases that are lost, the tasks of dead workers, and garbage in the
 * store. */
#include "base/clock.h"
#include "support/redis_server.h"
#include "worker/fixture.h"

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

/* ---- leases ---- */

static void steal(const char *id)
{
    fixture_do(&f, "ZADD asynq:{q}:lease %lld %s",
               (long long)(cq_wall_ns() / CQ_NS_PER_S + 60), id);
}

static void a_stolen_lease_cancels_its_handler(void **state)
{
    fixture_gate g = { 0 };

    (void)state;
    fixture_push_many(&f, "q", "t", "a", 1);
    fixture_run(&f, "t", fixture_pass_gate, &g);
    FIXTURE_AWAIT(g.entered == 1, 3000);
    steal("a-0");
    FIXTURE_AWAIT(g.reason == CRONQ_ESTATE, 2000);
    FIXTURE_AWAIT(fixture_counts(&f)->lost == 1, 2000);
    fixture_stop(&f);
    assert_int_equal(fixture_int(&f, "LLEN asynq:{q}:active"), 1);
    assert_int_equal(fixture_int(&f, "EXISTS asynq:{q}:retry"), 0);
    assert_int_equal(fixture_int(&f, "EXISTS asynq:{q}:processed"), 0);
}

static void an_outcome_without_its_lease_is_not_written(void **state)
{
    fixture_gate g = { 0 };

    (void)state;
    f.options.heartbeat_ms = 60000; /* nobody notices before */
    f.options.lease_ms = 60000;
    fixture_push_many(&f, "q", "t", "a", 1);
    fixture_run(&f, "t", fixture_pass_gate, &g);
    FIXTURE_AWAIT(g.entered == 1, 3000);
    steal("a-0");
    g.open = 1;
    FIXTURE_AWAIT(fixture_counts(&f)->lost == 1, 2000);
    fixture_stop(&f);
    assert_true(fixture_logged(&f, "lease lost, outcome not written"));
    assert_int_equal(fixture_int(&f, "LLEN asynq:{q}:active"), 1);
    assert_int_equal(fixture_int(&f, "EXISTS asynq:{q}:t:a-0"), 1);
}

static void a_lease_is_extended_as_long_as_it_takes(void **state)
{
    fixture_gate g = { 0 };

    (void)state;
    fixture_push_many(&f, "q", "t", "a", 4);
    fixture_run(&f, "t", fixture_pass_gate, &g);
    FIXTURE_AWAIT(g.entered == 4, 3000);
    cq_sleep_ms(4500);
    assert_int_equal(g.entered, 4);
    assert_int_equal(fixture_counts(&f)->recovered, 0);
    g.open = 1;
    FIXTURE_AWAIT(fixture_counts(&f)->done == 4, 2000);
    fixture_stop(&f);
}

/* ---- the dead ---- */

/* As a worker that died would have left it; lease 0: none. */
static void leave_active(const char *id, int32_t retried, int32_t max_retry, double lease)
{
    cq_message message = fixture_task(id);

    message.retried = retried;
    message.max_retry = max_retry;
    fixture_push(&f, &message);
    fixture_do(&f, "LREM asynq:{q}:pending 1 %s", id);
    fixture_do(&f, "LPUSH asynq:{q}:active %s", id);
    fixture_do(&f, "HSET asynq:{q}:t:%s state active", id);
    if (lease > 0)
        fixture_do(&f, "ZADD asynq:{q}:lease %.7f %s", lease, id);
}

static void note_error(cronq_attempt *attempt, const cronq_error *why, void *arg)
{
    (void)attempt;
    if (strcmp(why->text, "asynq: task lease expired") == 0)
        atomic_fetch_add((atomic_int *)arg, 1);
}

static void the_tasks_of_a_dead_worker_run_again(void **state)
{
    double over = (double)(cq_wall_ns() / CQ_NS_PER_S - 10), ours = over + 5.0 / 1048576;
    atomic_int ran = 0, errors = 0;
    cq_message message;

    (void)state;
    leave_active("charged", 1, 5, ours);
    leave_active("foreign", 1, 5, over);
    leave_active("orphan", 1, 5, 0);
    leave_active("unstarted", 5, 5, ours);
    leave_active("started", 5, 5, ours);
    fixture_do(&f, "HSET asynq:{q}:t:started cronq_started 5");
    f.options.on_error = note_error;
    f.options.on_error_arg = &errors;
    fixture_run(&f, "t", fixture_count, &ran);
    FIXTURE_AWAIT(fixture_counts(&f)->done == 4, 8000);
    FIXTURE_AWAIT(fixture_counts(&f)->recovered == 5, 2000);
    fixture_stop(&f);
    assert_true(fixture_is_in(&f, "archived", "started"));
    message = fixture_message(&f, "started", &arena);
    assert_true(cq_str_eq(message.error_msg, CQ_STR("asynq: task lease expired")));
    assert_int_equal(errors, 4); /* putting back is no error */
    assert_int_equal(fixture_int(&f, "LLEN asynq:{q}:active"), 0);
}

static cronq_status note_retried(cronq_attempt *attempt, void *arg)
{
    atomic_store((atomic_int *)arg, 100 + cronq_attempt_retry_count(attempt));
    return CRONQ_OK;
}

static void a_recovered_task_is_charged_one_retry(void **state)
{
    double over = (double)(cq_wall_ns() / CQ_NS_PER_S - 10);
    atomic_int seen = 0;

    (void)state;
    leave_active("id", 3, 25, over + 0.5);
    fixture_run(&f, "t", note_retried, &seen);
    FIXTURE_AWAIT(seen, 3000);
    assert_int_equal(seen, 104);
    fixture_stop(&f);
}

static void what_was_never_started_is_put_back_once(void **state)
{
    double over = (double)(cq_wall_ns() / CQ_NS_PER_S - 10);
    atomic_int ran = 0;

    (void)state;
    fixture_run(&f, "none", fixture_count, &ran);
    cq_worker_quiet(f.worker); /* it only recovers */
    leave_active("id", 5, 5, over + 0.25);
    FIXTURE_AWAIT(fixture_int(&f, "LLEN asynq:{q}:pending") == 1, 3000);
    assert_int_equal(fixture_message(&f, "id", &arena).retried, 5);
    fixture_do(&f, "LMOVE asynq:{q}:pending asynq:{q}:active RIGHT LEFT");
    fixture_do(&f, "ZADD asynq:{q}:lease %.7f id", over + 0.125);
    FIXTURE_AWAIT(fixture_is_in(&f, "archived", "id"), 3000);
    fixture_stop(&f);
}

static void the_start_of_a_last_attempt_is_marked(void **state)
{
    cq_message message = fixture_task("id");
    fixture_gate g = { 0 };
    char mark[4096];

    (void)state;
    message.max_retry = 0;
    fixture_push(&f, &message);
    fixture_push_many(&f, "q", "t", "a", 1);
    fixture_run(&f, "t", fixture_pass_gate, &g);
    FIXTURE_AWAIT(g.entered == 2, 3000);
    assert_true(fixture_text(&f, mark, "HGET asynq:{q}:t:id cronq_started"));
    assert_true(atoi(mark) > 0);
    assert_false(fixture_text(&f, mark, "HGET asynq:{q}:t:a-0 cronq_started"));
    g.open = 1;
    FIXTURE_AWAIT(fixture_counts(&f)->done == 2, 3000);
    fixture_stop(&f);
}

/* ---- garbage ---- */

static void add_raw(const char *id, const char *bytes, size_t len)
{
    freeReplyObject(redis_server_command(
        f.server, "HSET asynq:{q}:t:%s msg %b state pending", id, bytes, len));
    fixture_do(&f, "LPUSH asynq:{q}:pending %s", id);
}

static void unreadable_tasks_are_archived_and_stop_nobody(void **state)
{
    atomic_int ran = 0;
    cq_message message;
    char raw[4096];

    (void)state;
    add_raw("garbage", "\xFF\xFF\xFF", 3);
    add_raw("empty", "", 0);
    add_raw("cut", "\x0A\x7Ft", 3);
    add_raw("other", "\x0A\x01t\x1A\x03xyz\x22\x01q", 11);
    fixture_do(&f, "LPUSH asynq:{q}:pending ghost");
    fixture_push_many(&f, "q", "t", "a", 10);
    fixture_run(&f, "t", fixture_count, &ran);
    FIXTURE_AWAIT(fixture_counts(&f)->done == 10, 5000);
    FIXTURE_AWAIT(fixture_counts(&f)->quarantined == 4, 5000);
    fixture_stop(&f);
    assert_int_equal(fixture_int(&f, "ZCARD asynq:{q}:archived"), 4);
    assert_int_equal(fixture_int(&f, "LLEN asynq:{q}:active"), 0);
    assert_int_equal(fixture_int(&f, "ZCARD asynq:{q}:lease"), 0);
    message = fixture_message(&f, "garbage", &arena);
    assert_true(cq_str_eq(message.type, CQ_STR("corrupt")));
    assert_true(fixture_text(&f, raw, "HGET asynq:{q}:t:garbage raw"));
    assert_memory_equal(raw, "\xFF\xFF\xFF", 4);
}

static void unreadable_tasks_of_the_dead_are_archived_too(void **state)
{
    long long over = cq_wall_ns() / CQ_NS_PER_S - 10;
    atomic_int ran = 0;

    (void)state;
    leave_active("bad", 0, 5, (double)over);
    fixture_do(&f, "HSET asynq:{q}:t:bad msg xxx");
    fixture_do(&f, "LPUSH asynq:{q}:active gone");
    fixture_do(&f, "ZADD asynq:{q}:lease %lld gone", over);
    leave_active("good", 0, 5, (double)over);
    fixture_run(&f, "t", fixture_count, &ran);
    FIXTURE_AWAIT(ran == 1, 5000);
    FIXTURE_AWAIT(fixture_is_in(&f, "archived", "bad"), 3000);
    FIXTURE_AWAIT(fixture_int(&f, "LLEN asynq:{q}:active") == 0, 3000);
    fixture_stop(&f);
}

static void a_broken_queue_does_not_stop_another(void **state)
{
    atomic_int ran = 0;

    (void)state;
    f.queues[1] = (cronq_queue){ "w", 1 };
    f.options.queue_count = 2;
    fixture_push_many(&f, "w", "t", "a", 100);
    fixture_do(&f, "SET asynq:{q}:pending oops");
    fixture_do(&f, "SET asynq:{q}:lease oops");
    fixture_do(&f, "SET asynq:{q}:retry oops");
    fixture_do(&f, "SET asynq:{q}:completed oops");
    fixture_run(&f, "t", fixture_count, &ran);
    FIXTURE_AWAIT(ran == 100, 5000);
    FIXTURE_AWAIT(fixture_counts(&f)->done == 100, 5000);
    fixture_stop(&f);
}

static void an_outcome_that_its_queue_refuses_is_kept(void **state)
{
    fixture_gate g = { 0 };

    (void)state;
    f.options.lease_ms = 20000;
    fixture_push_many(&f, "q", "t", "a", 1);
    fixture_run(&f, "t", fixture_pass_gate, &g);
    FIXTURE_AWAIT(g.entered == 1, 3000);
    fixture_do(&f, "RENAME asynq:{q}:active asynq:{q}:aside");
    fixture_do(&f, "SET asynq:{q}:active oops");
    g.open = 1;
    cq_sleep_ms(1500);
    assert_int_equal(fixture_counts(&f)->done, 0);
    fixture_do(&f, "RENAME asynq:{q}:aside asynq:{q}:active");
    FIXTURE_AWAIT(fixture_counts(&f)->done == 1, 3000);
    fixture_stop(&f);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_stolen_lease_cancels_its_handler),
        TEST(an_outcome_without_its_lease_is_not_written),
        TEST(a_lease_is_extended_as_long_as_it_takes),
        TEST(the_tasks_of_a_dead_worker_run_again),
        TEST(a_recovered_task_is_charged_one_retry),
        TEST(what_was_never_started_is_put_back_once),
        TEST(the_start_of_a_last_attempt_is_marked),
        TEST(unreadable_tasks_are_archived_and_stop_nobody),
        TEST(unreadable_tasks_of_the_dead_are_archived_too),
        TEST(a_broken_queue_does_not_stop_another),
        TEST(an_outcome_that_its_queue_refuses_is_kept),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
