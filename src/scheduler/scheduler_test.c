/* SPDX-License-Identifier: MIT */
/* scheduler_test.c - schedulers side by side on a real Redis: one task a tick. */
#include "scheduler/scheduler.h"

#include "base/clock.h"
#include "codec/info.h"
#include "support/patience.h"
#include "support/redis_server.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof(a)[0])

enum { SCHEDULERS = 3, APART_MS = 400, RUN_MS = 5200, LATE_LIMIT_MS = 500 };

static redis_server *server;

static cronq_scheduler *open_scheduler(void)
{
    cronq_scheduler *scheduler = NULL;
    cronq_error err = { .text = "" };

    if (cronq_scheduler_new(redis_server_uri(server), NULL, &scheduler, &err))
        fail_msg("%s", err.text);
    return scheduler;
}

static void add(cronq_scheduler *scheduler, const char *spec,
                const cronq_entry_options *options)
{
    cronq_error err = { .text = "" };

    if (cronq_scheduler_add(scheduler, spec, "t", options, NULL, &err))
        fail_msg("%s", err.text);
}

static void start(cronq_scheduler *scheduler)
{
    cronq_error err = { .text = "" };

    if (cronq_scheduler_start(scheduler, &err))
        fail_msg("%s", err.text);
}

static long long pending(const char *queue)
{
    return redis_server_int(server, "LLEN asynq:{%s}:pending", queue);
}

/* Waits until a queue holds so many; fails after a while. */
static void wait_for(const char *queue, long long count)
{
    int64_t end_ms = cq_mono_ms() + 10000;

    while (pending(queue) < count) {
        if (cq_mono_ms() > end_ms)
            fail_msg("%s: %lld tasks, not %lld", queue, pending(queue), count);
        cq_sleep_ms(5);
    }
}

/* ---- several schedulers with the same entries, for some seconds ---- */

/* Each entry has a queue of its own. */
static void add_all(cronq_scheduler *scheduler)
{
    add(scheduler, "* * * * * *",
        CRONQ_ENTRY_OPTIONS(.name = "second", .task = CRONQ_TASK(.queue = "second")));
    add(scheduler, "@every 2s",
        CRONQ_ENTRY_OPTIONS(.name = "every", .task = CRONQ_TASK(.queue = "every")));
    add(scheduler, "* * * * * *",
        CRONQ_ENTRY_OPTIONS(.name = "skip", .overlap = CRONQ_OVERLAP_SKIP,
                            .task = CRONQ_TASK(.queue = "skip")));
    add(scheduler, "* * * * * *",
        CRONQ_ENTRY_OPTIONS(.name = "fixed",
                            .task = CRONQ_TASK(.queue = "fixed", .id = "mine",
                                               .retain_for_ms = 60000)));
}

static void check_listed(const char *key)
{
    redisReply *reply = redis_server_command(server, "LRANGE %s 0 -1", key);
    cq_entry_info info;
    cq_arena arena;

    assert_int_equal(reply->elements, 4);
    cq_arena_init(&arena, 1 << 16);
    for (size_t i = 0; i < reply->elements; i++) {
        cronq_bytes bytes = { reply->element[i]->str, reply->element[i]->len };

        assert_int_equal(cq_entry_info_decode(bytes, &arena, &info, NULL), CRONQ_OK);
        assert_true(cq_str_eq(info.task_type, CQ_STR("t")));
        assert_true(info.next.seconds > 1700000000);
    }
    cq_arena_release(&arena);
    freeReplyObject(reply);
    assert_in_range(redis_server_int(server, "TTL %s", key), 10, 20);
}

/* While they run: every scheduler is listed with its entries. */
static void check_schedulers(void)
{
    redisReply *reply = redis_server_command(server, "ZRANGE asynq:schedulers 0 -1");

    assert_int_equal(reply->elements, SCHEDULERS);
    for (size_t i = 0; i < reply->elements; i++)
        check_listed(reply->element[i]->str);
    freeReplyObject(reply);
}

static void set_state(const char *queue, const char *state)
{
    redisReply *reply =
        redis_server_command(server, "LINDEX asynq:{%s}:pending -1", queue);

    assert_non_null(reply->str);
    redis_server_do(server, "HSET asynq:{%s}:t:%s state %s", queue, reply->str, state);
    freeReplyObject(reply);
}

static int run_side_by_side(void **state)
{
    cronq_scheduler *schedulers[SCHEDULERS];

    (void)state;
    server = redis_server_start(NULL);
    for (int i = 0; i < SCHEDULERS; i++) {
        schedulers[i] = open_scheduler();
        add_all(schedulers[i]);
        start(schedulers[i]);
        cq_sleep_ms(APART_MS);
    }
    cq_sleep_ms(RUN_MS / 2);
    check_schedulers();
    assert_int_equal(pending("skip"), 1);
    set_state("skip", "archived");
    set_state("fixed", "completed");
    cq_sleep_ms(RUN_MS / 2);
    for (int i = 0; i < SCHEDULERS; i++)
        cronq_scheduler_free(schedulers[i]);
    return 0;
}

static int stop_server(void **state)
{
    (void)state;
    redis_server_stop(server);
    server = NULL;
    return 0;
}

/* The ticks of a queue's tasks, oldest first, from their ids. Returns how many. */
static size_t read_ticks(const char *queue, const char *prefix, int64_t *ticks,
                         size_t room)
{
    redisReply *reply =
        redis_server_command(server, "LRANGE asynq:{%s}:pending 0 -1", queue);
    size_t count = reply->elements;

    assert_true(count <= room);
    for (size_t i = 0; i < count; i++) {
        const char *id = reply->element[i]->str;

        assert_memory_equal(id, prefix, strlen(prefix));
        ticks[count - 1 - i] = atoll(id + strlen(prefix));
    }
    freeReplyObject(reply);
    return count;
}

/* As many as fit into the time, none missing, none twice. */
static void check_ticks(const char *queue, const char *prefix, int64_t period_s)
{
    int64_t ticks[64];
    size_t count = read_ticks(queue, prefix, ticks, COUNT(ticks));

    assert_in_range(count, (size_t)(RUN_MS / 1000 / period_s),
                    (size_t)((RUN_MS + SCHEDULERS * APART_MS) / 1000 / period_s + 1));
    for (size_t i = 1; i < count; i++)
        assert_int_equal(ticks[i] - ticks[i - 1], period_s);
}

static void each_second_is_one_task(void **state)
{
    (void)state;
    check_ticks("second", "second:", 1);
}

static void all_schedulers_share_the_phase_of_every(void **state)
{
    (void)state;
    check_ticks("every", "every:", 2);
}

static void a_retained_run_blocks_no_tick(void **state)
{
    (void)state;
    check_ticks("fixed", "mine:", 1);
}

static void a_tick_is_never_early_and_hardly_late(void **state)
{
    int64_t ticks[64];
    size_t count = read_ticks("second", "second:", ticks, COUNT(ticks));

    (void)state;
    for (size_t i = 0; i < count; i++) {
        redisReply *reply = redis_server_command(
            server, "HGET asynq:{second}:t:second:%lld pending_since",
            (long long)ticks[i]);
        int64_t late_ns = atoll(reply->str) - ticks[i] * CQ_NS_PER_S;

        freeReplyObject(reply);
        assert_in_range(late_ns / CQ_NS_PER_MS, 0, LATE_LIMIT_MS);
    }
}

static void an_overlap_is_skipped_until_the_run_is_archived(void **state)
{
    int64_t ticks[64];

    (void)state;
    assert_int_equal(read_ticks("skip", "skip:", ticks, COUNT(ticks)), 2);
    assert_true(ticks[1] - ticks[0] >= 2);
}

static void the_history_holds_each_run_once(void **state)
{
    redisReply *reply = redis_server_command(
        server, "ZRANGE asynq:scheduler_history:second 0 -1 WITHSCORES");
    cq_enqueue_event event;
    cq_arena arena;

    (void)state;
    cq_arena_init(&arena, 1 << 16);
    assert_int_equal(reply->elements, 2 * pending("second"));
    for (size_t i = 0; i < reply->elements; i += 2) {
        cronq_bytes bytes = { reply->element[i]->str, reply->element[i]->len };

        assert_int_equal(cq_enqueue_event_decode(bytes, &arena, &event, NULL), CRONQ_OK);
        assert_true(cq_str_starts(event.task_id, CQ_STR("second:")));
        assert_int_equal(event.enqueued_at.seconds, atoll(reply->element[i + 1]->str));
        assert_int_equal(event.enqueued_at.seconds, atoll(event.task_id.data + 7));
    }
    cq_arena_release(&arena);
    freeReplyObject(reply);
}

static void who_has_stopped_is_not_listed(void **state)
{
    (void)state;
    assert_int_equal(redis_server_int(server, "EXISTS asynq:schedulers"), 0);
}

/* ---- one scheduler ---- */

static int start_server(void **state)
{
    (void)state;
    server = redis_server_start("appendonly yes");
    return 0;
}

static void entries_come_and_go_while_it_runs(void **state)
{
    cronq_scheduler *scheduler = open_scheduler();
    const cronq_entry_options *options = CRONQ_ENTRY_OPTIONS(.name = "e");
    cronq_error err = { .text = "" };
    const char *id = NULL;
    long long count;

    (void)state;
    start(scheduler);
    assert_int_equal(cronq_scheduler_start(scheduler, &err), CRONQ_ESTATE);
    assert_int_equal(
        cronq_scheduler_add(scheduler, "* * * * * *", "t", options, &id, &err), CRONQ_OK);
    assert_string_equal(id, "e");
    assert_int_equal(cronq_scheduler_add(scheduler, "@daily", "t", options, NULL, &err),
                     CRONQ_EEXIST);
    assert_int_equal(cq_scheduler_count(scheduler), 1);
    wait_for("default", 1);
    assert_int_equal(cronq_scheduler_remove(scheduler, "e", &err), CRONQ_OK);
    count = pending("default");
    assert_int_equal(cronq_scheduler_remove(scheduler, "e", &err), CRONQ_ENOENT);
    cq_sleep_ms(1200);
    assert_int_equal(pending("default"), count);

    cronq_scheduler_stop(scheduler);
    cronq_scheduler_stop(scheduler);
    add(scheduler, "* * * * * *", options);
    start(scheduler);
    wait_for("default", count + 1);
    cronq_scheduler_free(scheduler);
}

static void entries_that_are_due_together_share_round_trips(void **state)
{
    enum { ENTRIES = 600 };
    cronq_scheduler *scheduler = open_scheduler();
    const char *calls = "cmdstat_evalsha:calls=";
    redisReply *reply;
    char name[16];

    (void)state;
    for (int i = 0; i < ENTRIES; i++) {
        snprintf(name, sizeof name, "m%d", i);
        add(scheduler, "* * * * * *",
            CRONQ_ENTRY_OPTIONS(.name = name, .task = CRONQ_TASK(.queue = "many")));
    }
    redis_server_do(server, "CONFIG RESETSTAT");
    start(scheduler);
    wait_for("many", ENTRIES);
    cronq_scheduler_free(scheduler);
    assert_int_equal(pending("many") % ENTRIES, 0);
    reply = redis_server_command(server, "INFO commandstats");
    assert_non_null(strstr(reply->str, calls));
    assert_true(atoll(strstr(reply->str, calls) + strlen(calls)) <=
                3 * pending("many") / 256);
    freeReplyObject(reply);
}

/* The store goes away half a second before a tick and is back half a second after it. */
static void a_tick_waits_for_its_store(void **state)
{
    cronq_scheduler *scheduler = open_scheduler();
    int64_t tick_s, now_ms, ticks[16];
    size_t count, late = 0;

    (void)state;
    redis_server_kill(server);
    add(scheduler, "*/4 * * * * *",
        CRONQ_ENTRY_OPTIONS(.name = "late", .task = CRONQ_TASK(.queue = "late")));
    start(scheduler);
    redis_server_restart(server);
    now_ms = cq_wall_ns() / CQ_NS_PER_MS;
    tick_s = ((now_ms + 700) / 4000 + 1) * 4;
    cq_sleep_ms(tick_s * 1000 - 500 - now_ms);
    redis_server_kill(server);
    cq_sleep_ms(1000);
    redis_server_restart(server);
    for (int i = 0; i < 100 && late == 0; i++) {
        cq_sleep_ms(100);
        count = read_ticks("late", "late:", ticks, 16);
        for (size_t k = 0; k < count; k++) /* on a slow machine it is not alone */
            late += ticks[k] == tick_s;
    }
    cronq_scheduler_free(scheduler);
    assert_int_equal(late, 1);
}

static void a_bad_task_is_refused_when_it_is_added(void **state)
{
    char name[1025];
    const cronq_task *bad[] = {
        CRONQ_TASK(.timeout_ms = -1),    CRONQ_TASK(.queue = "a{b"),
        CRONQ_TASK(.unique_for_ms = 10), CRONQ_TASK(.id = ""),
        CRONQ_TASK(.id = name),          CRONQ_TASK(.deadline_at_ms = 1),
    };
    cronq_scheduler *scheduler = open_scheduler();
    cronq_error err = { .text = "" };

    (void)state;
    memset(name, 'n', 1020); /* and the tick behind it */
    name[1020] = '\0';
    for (size_t i = 0; i < COUNT(bad); i++) {
        assert_int_equal(cronq_scheduler_add(scheduler, "@daily", "t",
                                             CRONQ_ENTRY_OPTIONS(.task = bad[i]), NULL,
                                             &err),
                         CRONQ_EINVAL);
        assert_int_not_equal(err.text[0], '\0');
    }
    assert_int_equal(cronq_scheduler_add(scheduler, "@daily", " ", NULL, NULL, &err),
                     CRONQ_EINVAL);
    assert_int_equal(cronq_scheduler_add(NULL, "@daily", "t", NULL, NULL, &err),
                     CRONQ_EINVAL);
    assert_int_equal(cronq_scheduler_remove(scheduler, NULL, &err), CRONQ_EINVAL);
    assert_int_equal(cronq_scheduler_start(NULL, &err), CRONQ_EINVAL);
    assert_int_equal(cq_scheduler_count(scheduler), 0);
    cronq_scheduler_stop(NULL);
    cronq_scheduler_free(NULL);
    cronq_scheduler_free(scheduler);
}

static void keep_warning(void *arg, const cronq_log_record *record)
{
    snprintf(arg, 1024, "%s", record->text);
}

static void what_looks_like_a_mistake_is_logged(void **state)
{
    char warning[1024] = "";
    cronq_scheduler *scheduler = NULL;
    cronq_error err = { .text = "" };

    (void)state;
    assert_int_equal(cronq_scheduler_new(
                         redis_server_uri(server),
                         CRONQ_SCHEDULER_OPTIONS(.logger = { .write = keep_warning,
                                                             .arg = warning,
                                                             .level = CRONQ_LOG_WARN }),
                         &scheduler, &err),
                     CRONQ_OK);
    add(scheduler, "0 0 30 2 *", CRONQ_ENTRY_OPTIONS(.name = "never"));
    assert_non_null(strstr(warning, "never fires"));
    warning[0] = '\0';
    add(scheduler, "0 1 * * *", CRONQ_ENTRY_OPTIONS(.name = "named"));
    add(scheduler, "0 2 * * *", NULL);
    assert_string_equal(warning, "");
    add(scheduler, "0 3 * * *", NULL);
    assert_non_null(strstr(warning, "0 2 * * *"));
    assert_non_null(strstr(warning, "0 3 * * *"));
    cronq_scheduler_free(scheduler);
}

static void bad_options_are_refused(void **state)
{
    const cronq_scheduler_options bad[] = {
        { .struct_size = 0 },
        { .struct_size = sizeof bad[0], .heartbeat_interval_ms = -1 },
        { .struct_size = sizeof bad[0], .heartbeat_interval_ms = INT64_MAX },
    };
    cronq_scheduler *none = NULL;
    cronq_error err = { .text = "" };

    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_int_equal(
            cronq_scheduler_new(redis_server_uri(server), &bad[i], &none, &err),
            CRONQ_EINVAL);
    assert_int_equal(cronq_scheduler_new(NULL, NULL, &none, &err), CRONQ_EINVAL);
    assert_int_equal(cronq_scheduler_new("nonsense", NULL, &none, &err), CRONQ_EINVAL);
    assert_null(none);
}

int main(void)
{
    const struct CMUnitTest side_by_side[] = {
        cmocka_unit_test(each_second_is_one_task),
        cmocka_unit_test(all_schedulers_share_the_phase_of_every),
        cmocka_unit_test(a_retained_run_blocks_no_tick),
        cmocka_unit_test(a_tick_is_never_early_and_hardly_late),
        cmocka_unit_test(an_overlap_is_skipped_until_the_run_is_archived),
        cmocka_unit_test(the_history_holds_each_run_once),
        cmocka_unit_test(who_has_stopped_is_not_listed),
    };
    const struct CMUnitTest alone[] = {
        cmocka_unit_test(entries_come_and_go_while_it_runs),
        cmocka_unit_test(entries_that_are_due_together_share_round_trips),
        cmocka_unit_test(a_tick_waits_for_its_store),
        cmocka_unit_test(a_bad_task_is_refused_when_it_is_added),
        cmocka_unit_test(what_looks_like_a_mistake_is_logged),
        cmocka_unit_test(bad_options_are_refused),
    };
    int failed = cmocka_run_group_tests(side_by_side, run_side_by_side, stop_server);

    return failed + cmocka_run_group_tests(alone, start_server, stop_server);
}
