/* SPDX-License-Identifier: MIT */
/* group_test.c - groups that are merged by a worker, and tasks that are cancelled for
 * good while they run. */
#include "base/clock.h"
#include "support/redis_server.h"
#include "worker/fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static fixture f;
static cq_arena arena;

static int set_up(void **state)
{
    (void)state;
    fixture_init(&f, NULL);
    cq_arena_init(&arena, (size_t)1 << 24);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fixture_release(&f);
    cq_arena_release(&arena);
    return 0;
}

static void push_grouped(const char *id, const char *group)
{
    cq_message message = fixture_task(id);
    cq_push item = { .kind = CQ_PUSH_GROUP,
                     .queue = CQ_STR("q"),
                     .id = cq_str_of(id),
                     .group = cq_str_of(group) };
    cq_buf buf;

    if (!f.pusher) {
        const cq_broker_options options = { .uri = redis_server_uri(f.server) };

        assert_int_equal(cq_broker_open(&options, &f.pusher, NULL), CRONQ_OK);
    }
    cq_buf_init(&buf, 4096);
    message.payload = (cronq_bytes){ id, strlen(id) };
    message.group = cq_str_of(group);
    assert_int_equal(cq_message_encode(&message, &buf, NULL), CRONQ_OK);
    item.message = (cronq_bytes){ buf.data, buf.len };
    assert_int_equal(
        f.pusher->ops->push(f.pusher, &item, 1, f.pusher->ops->now_ns(f.pusher), NULL),
        CRONQ_OK);
    assert_int_equal(item.status, CRONQ_OK);
    cq_buf_release(&buf);
}

/* ---- aggregators and the handler of what they make ---- */

typedef struct merging {
    atomic_int called, slow_open, failures;
    atomic_int ran;
    pthread_mutex_t mutex;
    char seen[65536]; /* payloads that ran, each between blanks */
} merging;

static merging m;

/* The payloads, with blanks between them. */
static cronq_status join(cronq_aggregation *a, void *arg, cronq_error *err)
{
    char text[8192] = " ";
    size_t at = 1;

    (void)arg;
    m.called++;
    if (strcmp(cronq_aggregation_group(a), "slow") == 0)
        while (!m.slow_open)
            cq_sleep_ms(2);
    if (m.failures > 0 && m.failures--)
        return CRONQ_EFAILED;
    for (size_t i = 0; i < cronq_aggregation_count(a); i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "%.*s ",
                               (int)cronq_aggregation_payload(a, i).len,
                               (const char *)cronq_aggregation_payload(a, i).data);
    return cronq_aggregation_merge(
        a, CRONQ_TASK(.type = "merged", .payload = { text, at }), err);
}

static cronq_status note(cronq_attempt *attempt, void *arg)
{
    cronq_bytes payload = cronq_attempt_payload(attempt);

    (void)arg;
    pthread_mutex_lock(&m.mutex);
    if (strlen(m.seen) + payload.len < sizeof m.seen)
        strncat(m.seen, payload.data, payload.len);
    pthread_mutex_unlock(&m.mutex);
    m.ran++;
    return CRONQ_OK;
}

static void start_merging(uint32_t max_size)
{
    memset(&m, 0, sizeof m);
    pthread_mutex_init(&m.mutex, NULL);
    f.options.aggregator = join;
    f.options.group_grace_ms = 1000;
    f.options.group_max_delay_ms = 300000;
    f.options.group_max_size = max_size;
    fixture_run(&f, "merged", note, NULL);
}

static size_t times(const char *id)
{
    char word[32];
    size_t count = 0;

    snprintf(word, sizeof word, " %s ", id);
    for (const char *at = m.seen; (at = strstr(at, word)); at++)
        count++;
    return count;
}

/* ---- groups ---- */

static void a_group_becomes_one_task(void **state)
{
    (void)state;
    push_grouped("a", "G");
    push_grouped("b", "G");
    push_grouped("c", "H");
    start_merging(0);
    FIXTURE_AWAIT(m.ran == 2, 6000);
    fixture_stop(&f);
    assert_int_equal(times("a") + times("b") + times("c"), 3);
    assert_int_equal(fixture_int(&f, "SCARD asynq:{q}:groups"), 0);
    assert_int_equal(fixture_int(&f, "EXISTS asynq:{q}:t:a"), 0);
    assert_int_equal(fixture_int(&f, "ZCARD asynq:{q}:aggregation_sets"), 0);
    assert_true(fixture_logged(&f, "merged 2 tasks of group G into task"));
}

static void every_task_of_many_groups_runs_once(void **state)
{
    enum { GROUPS = 50, TASKS = 1000 };
    size_t total = 0;

    (void)state;
    for (int i = 0; i < TASKS; i++) {
        char id[16], group[16];

        snprintf(id, sizeof id, "t%d", i);
        snprintf(group, sizeof group, "g%d", i % GROUPS);
        push_grouped(id, group);
    }
    start_merging(7);
    FIXTURE_AWAIT(m.ran >= 150, 20000); /* 20 tasks a group, 7 at most */
    fixture_stop(&f);
    for (int i = 0; i < TASKS; i++) {
        char id[16];

        snprintf(id, sizeof id, "t%d", i);
        assert_int_equal(times(id), 1);
        total++;
    }
    assert_int_equal(total, TASKS);
}

static void a_slow_group_does_not_hold_up_others(void **state)
{
    (void)state;
    push_grouped("s", "slow");
    start_merging(0);
    FIXTURE_AWAIT(m.called == 1, 6000);
    push_grouped("a", "fast");
    FIXTURE_AWAIT(m.ran == 1, 6000);
    assert_int_equal(times("a"), 1);
    m.slow_open = 1;
    FIXTURE_AWAIT(m.ran == 2, 6000);
    fixture_stop(&f);
}

static void what_can_not_be_merged_is_left_for_later(void **state)
{
    (void)state;
    memset(&m, 0, sizeof m);
    push_grouped("a", "G");
    start_merging(0);
    m.failures = 1;
    FIXTURE_AWAIT(fixture_logged(&f, "not merged"), 6000);
    assert_int_equal(fixture_int(&f, "ZCARD asynq:{q}:aggregation_sets"), 1);
    fixture_stop(&f);
    assert_int_equal(fixture_int(&f, "EXISTS asynq:{q}:t:a"), 1);
}

static void a_task_that_is_garbage_is_archived_and_the_others_merged(void **state)
{
    (void)state;
    push_grouped("a", "G");
    push_grouped("bad", "G");
    fixture_do(&f, "HSET asynq:{q}:t:bad msg garbage");
    start_merging(0);
    FIXTURE_AWAIT(m.ran == 1, 6000);
    fixture_stop(&f);
    assert_int_equal(times("a"), 1);
    assert_int_equal(fixture_int(&f, "ZCARD asynq:{q}:archived"), 1);
    assert_int_equal(fixture_int(&f, "HEXISTS asynq:{q}:t:bad raw"), 1);
}

/* ---- cancelling ---- */

static cronq_status until_cancelled(cronq_attempt *attempt, void *arg)
{
    atomic_int *entered = arg;

    ++*entered;
    while (!cronq_attempt_cancelled(attempt))
        cq_sleep_ms(2);
    return CRONQ_EFAILED;
}

static void cancel(const char *id)
{
    assert_int_equal(f.pusher->inspect->cancel(f.pusher, CQ_STR("q"), cq_str_of(id),
                                               f.pusher->ops->now_ns(f.pusher), NULL),
                     CRONQ_OK);
}

static void a_cancelled_task_is_archived_as_cancelled(void **state)
{
    atomic_int entered = 0;
    cq_message message;

    (void)state;
    fixture_push_many(&f, "q", "t", "a", 1);
    fixture_run(&f, "t", until_cancelled, &entered);
    FIXTURE_AWAIT(entered == 1, 3000);
    cancel("a-0");
    FIXTURE_AWAIT(fixture_int(&f, "ZCARD asynq:{q}:archived") == 1, 3000);
    fixture_stop(&f);
    message = fixture_message(&f, "a-0", &arena);
    assert_true(cq_str_eq(message.error_msg, CQ_STR("cancelled")));
    assert_int_equal(fixture_int(&f, "HEXISTS asynq:{q}:t:a-0 cronq_cancel"), 0);
}

/* The mark is enough: the message may have been missed. */
static void a_cancellation_that_was_not_heard_is_seen_by_the_heartbeat(void **state)
{
    atomic_int entered = 0;

    (void)state;
    fixture_push_many(&f, "q", "t", "a", 1);
    fixture_run(&f, "t", until_cancelled, &entered);
    FIXTURE_AWAIT(entered == 1, 3000);
    fixture_do(&f, "HSET asynq:{q}:t:a-0 cronq_cancel 1");
    FIXTURE_AWAIT(fixture_int(&f, "ZCARD asynq:{q}:archived") == 1, 3000);
    fixture_stop(&f);
}

/* The message alone is the reference's way: the task is retried. */
static void a_message_without_a_mark_makes_it_retry(void **state)
{
    atomic_int entered = 0;

    (void)state;
    fixture_push_many(&f, "q", "t", "a", 1);
    fixture_run(&f, "t", until_cancelled, &entered);
    FIXTURE_AWAIT(entered == 1, 3000);
    FIXTURE_AWAIT(fixture_int(&f, "PUBLISH asynq:cancel a-0") >= 1, 3000);
    FIXTURE_AWAIT(fixture_int(&f, "ZCARD asynq:{q}:retry") == 1, 3000);
    fixture_stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_group_becomes_one_task, set_up, tear_down),
        cmocka_unit_test_setup_teardown(every_task_of_many_groups_runs_once, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_slow_group_does_not_hold_up_others, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_can_not_be_merged_is_left_for_later, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(
            a_task_that_is_garbage_is_archived_and_the_others_merged, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_cancelled_task_is_archived_as_cancelled, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(
            a_cancellation_that_was_not_heard_is_seen_by_the_heartbeat, set_up,
            tear_down),
        cmocka_unit_test_setup_teardown(a_message_without_a_mark_makes_it_retry, set_up,
                                        tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
