/* SPDX-License-Identifier: MIT */
/* control_test.c - withdrawing tasks, giving them another time under a race, and waiting
 * for them, on both stores. */
#include <cronq/client.h>
#include <cronq/inspector.h>

#include "base/clock.h"
#include "base/thread.h"
#include "broker/broker.h"
#include "support/redis_server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static redis_server *server;
static const char *uri;
static cronq_client *client;
static cronq_inspector *inspector;
static cronq_error err;

#define OK(call)                                 \
    do {                                         \
        if (call)                                \
            fail_msg("%s: %s", #call, err.text); \
    } while (0)

static void push(const char *id, int64_t in_ms, int64_t retain_ms)
{
    OK(cronq_client_push(client,
                         CRONQ_TASK(.type = "t", .queue = "q", .id = id,
                                    .payload = CRONQ_LIT("old"), .process_in_ms = in_ms,
                                    .retain_for_ms = retain_ms),
                         NULL, &err));
}

static cronq_state state_of(const char *id, char *payload)
{
    cronq_task_info *info = NULL;
    cronq_state state;
    cronq_bytes bytes;

    if (cronq_inspector_task(inspector, "q", id, &info, &err))
        return (cronq_state)0;
    state = cronq_task_info_state(info);
    bytes = cronq_task_info_payload(info);
    if (payload)
        snprintf(payload, 64, "%.*s", (int)bytes.len, (const char *)bytes.data);
    cronq_task_info_free(info);
    return state;
}

static int64_t now_ms(void)
{
    return (int64_t)time(NULL) * 1000;
}

static void a_waiting_task_is_withdrawn(void **state)
{
    (void)state;
    push("now", 0, 0);
    push("later", 60000, 0);
    OK(cronq_client_cancel_task(client, "q", "now", CRONQ_CANCEL_WAITING, &err));
    OK(cronq_client_cancel_task(client, "q", "later", CRONQ_CANCEL_RUNNING, &err));
    assert_int_equal(state_of("now", NULL), 0);
    assert_int_equal(
        cronq_client_cancel_task(client, "q", "later", CRONQ_CANCEL_RUNNING, &err),
        CRONQ_ENOENT);
    push("ended", 0, 0);
    OK(cronq_inspector_archive(inspector, "q", "ended", &err));
    assert_int_equal(
        cronq_client_cancel_task(client, "q", "ended", CRONQ_CANCEL_RUNNING, &err),
        CRONQ_ESTATE);
    assert_non_null(strstr(err.text, "archived"));
}

static void a_task_gets_another_time_and_payload(void **state)
{
    const cronq_bytes fresh = CRONQ_LIT("new");
    char payload[64];

    (void)state;
    push("a", 60000, 0);
    OK(cronq_client_reschedule_task(client, "q", "a", now_ms() + 90000, NULL, &err));
    assert_int_equal(state_of("a", payload), CRONQ_STATE_SCHEDULED);
    assert_string_equal(payload, "old");
    OK(cronq_client_reschedule_task(client, "q", "a", 0, &fresh, &err));
    assert_int_equal(state_of("a", payload), CRONQ_STATE_PENDING);
    assert_string_equal(payload, "new");
    assert_int_equal(cronq_client_reschedule_task(client, "q", "no", 0, NULL, &err),
                     CRONQ_ENOENT);
    assert_int_equal(cronq_client_reschedule_task(client, "q", "a", -1, NULL, &err),
                     CRONQ_EINVAL);
    assert_int_equal(cronq_client_reschedule_task(client, "a{b", "a", 0, NULL, &err),
                     CRONQ_EINVAL);
    OK(cronq_inspector_delete(inspector, "q", "a", &err));
}

/* ---- the race ---- */

enum { CALLERS = 8 };

/* The forwarder's clock is ahead of others': what is due SOON_MS from now it takes at
 * once, what is due LATE_MS from now nobody takes. */
#define SOON_MS  60000
#define AHEAD_NS ((SOON_MS + 1000) * CQ_NS_PER_MS)
#define LATE_MS  3600000

typedef struct race {
    atomic_bool over, rarely; /* rarely: mostly LATE, so that some tasks remain */
    char id[32];
    cq_broker *broker;
    _Atomic int ran, moved;
} race;

static void *call(void *arg)
{
    race *r = arg;
    const cronq_bytes fresh = CRONQ_LIT("new");
    static _Atomic unsigned turn;

    for (int i = 0; i < 4; i++) {
        unsigned n = turn++;
        int64_t at_ms[] = { 0, now_ms() + SOON_MS, now_ms() + LATE_MS };
        unsigned when = r->rarely ? 2 - (n % 16 == 0) : n % 3;
        cronq_status status = cronq_client_reschedule_task(
            client, "q", r->id, at_ms[when], n % 4 ? NULL : &fresh, NULL);

        r->moved += status == CRONQ_OK;
    }
    return NULL;
}

/* A worker: what it takes it finishes. */
static void *work(void *arg)
{
    race *r = arg;
    const cq_str queue = CQ_STR("q");
    const cq_want want = { 0, 0 };
    cq_intake *intake;
    cq_arena arena;
    uint32_t k = 1;

    assert_int_equal(r->broker->ops->intake_open(r->broker, &queue, 1, &intake, NULL),
                     CRONQ_OK);
    cq_arena_init(&arena, 1 << 24);
    while (!r->over) {
        cq_exchange x = { .fence = ++k,
                          .now_ns = r->broker->ops->now_ns(r->broker),
                          .forward = true,
                          .wants = &want,
                          .want_count = 1,
                          .budget = 1,
                          .arena = &arena };
        cq_outcome done = { .kind = CQ_DONE, .fence = k };

        cq_arena_reset(&arena);
        assert_int_equal(intake->ops->exchange_send(intake, &x, NULL), CRONQ_OK);
        assert_int_equal(intake->ops->exchange_recv(intake, &x, NULL), CRONQ_OK);
        if (!x.delivery_count)
            continue;
        done.id = x.deliveries[0].id;
        done.taken_at_ns = x.now_ns;
        x.budget = 0;
        x.outcomes = &done;
        x.outcome_count = 1;
        assert_int_equal(intake->ops->exchange_send(intake, &x, NULL), CRONQ_OK);
        assert_int_equal(intake->ops->exchange_recv(intake, &x, NULL), CRONQ_OK);
        assert_int_equal(done.status, CRONQ_OK);
        r->ran++;
    }
    cq_arena_release(&arena);
    intake->ops->intake_close(intake);
    return NULL;
}

static void *forward(void *arg)
{
    race *r = arg;
    size_t moved;

    while (!r->over) {
        r->broker->ops->forward(r->broker, CQ_STR("q"),
                                r->broker->ops->now_ns(r->broker) + AHEAD_NS, 10, &moved,
                                NULL);
        cq_sleep_ms(1);
    }
    return NULL;
}

/* It is gone, or waits for a time that does not come. */
static bool is_at_rest(const char *id)
{
    cronq_task_info *info = NULL;
    bool is_at_rest;

    if (cronq_inspector_task(inspector, "q", id, &info, NULL))
        return true;
    is_at_rest = cronq_task_info_state(info) == CRONQ_STATE_SCHEDULED &&
                 cronq_task_info_next_at_ms(info) > now_ms() + LATE_MS / 2;
    cronq_task_info_free(info);
    return is_at_rest;
}

/* Ran once, or is there once. */
static void check(const race *r, int ran_before)
{
    cronq_queue_info info = { .struct_size = sizeof info };
    uint64_t there;

    OK(cronq_inspector_queue_info(inspector, "q", &info, &err));
    there = info.pending_count + info.scheduled_count + info.active_count;
    if ((uint64_t)(r->ran - ran_before) + there != 1)
        fail_msg("%s: ran %d times, and there are %llu", r->id, r->ran - ran_before,
                 (unsigned long long)there);
    if (there)
        OK(cronq_inspector_delete(inspector, "q", r->id, &err));
}

static void one_task_remains_or_ran_whoever_reschedules_it(void **state)
{
    int rounds = getenv("CRONQ_FULL") ? 1000 : 100, ran = 0;
    cq_broker_options options = { .uri = uri };
    pthread_t worker, forwarder, callers[CALLERS];
    race r = { .ran = 0 };

    (void)state;
    OK(cq_broker_open(&options, &r.broker, &err));
    OK(cq_thread_start(&worker, "worker", work, &r, &err));
    OK(cq_thread_start(&forwarder, "forwarder", forward, &r, &err));
    for (int i = 0; i < rounds; i++) {
        int before = r.ran;

        snprintf(r.id, sizeof r.id, "race-%d", i);
        r.rarely = i % 2;
        push(r.id, LATE_MS, 0);
        for (int c = 0; c < CALLERS; c++)
            OK(cq_thread_start(&callers[c], "caller", call, &r, &err));
        for (int c = 0; c < CALLERS; c++)
            pthread_join(callers[c], NULL);
        while (!is_at_rest(r.id))
            cq_sleep_ms(1);
        /* The worker counts when it has the answer. */
        for (int n = 0; n < 2000 && r.ran == before && !state_of(r.id, NULL); n++)
            cq_sleep_ms(1);
        ran += r.ran > before;
        check(&r, before);
    }
    r.over = true;
    pthread_join(worker, NULL);
    pthread_join(forwarder, NULL);
    r.broker->ops->free(r.broker);
    assert_true(r.moved >= rounds);
    print_message("%d rounds: %d ran, %d remained\n", rounds, ran, rounds - ran);
    assert_in_range(ran, 1, rounds - 1);
}

/* ---- waiting ---- */

static void *complete_soon(void *arg)
{
    cq_broker_options options = { .uri = uri };
    const cq_str queue = CQ_STR("q");
    const cq_want want = { 0, 0 };
    cq_broker *broker;
    cq_intake *intake;
    cq_arena arena;
    cq_exchange x = { .fence = 5, .wants = &want, .want_count = 1, .budget = 1 };
    cq_outcome outcome = { .kind = CQ_COMPLETE, .fence = 5 };

    (void)arg;
    cq_sleep_ms(100);
    cq_arena_init(&arena, 1 << 24);
    x.arena = &arena;
    assert_int_equal(cq_broker_open(&options, &broker, NULL), CRONQ_OK);
    assert_int_equal(broker->ops->sync_clock(broker, NULL), CRONQ_OK);
    assert_int_equal(broker->ops->intake_open(broker, &queue, 1, &intake, NULL),
                     CRONQ_OK);
    x.now_ns = broker->ops->now_ns(broker);
    assert_int_equal(intake->ops->exchange_send(intake, &x, NULL), CRONQ_OK);
    assert_int_equal(intake->ops->exchange_recv(intake, &x, NULL), CRONQ_OK);
    assert_int_equal(x.delivery_count, 1);
    assert_int_equal(broker->ops->write_result(broker, queue, CQ_STR("w"), 5,
                                               (cronq_bytes)CRONQ_LIT("42"), NULL),
                     CRONQ_OK);
    outcome.id = CQ_STR("w");
    outcome.message = x.deliveries[0].message;
    outcome.taken_at_ns = x.now_ns;
    outcome.at_ms = x.now_ns / CQ_NS_PER_MS + 60 * CQ_MS_PER_S;
    x.budget = 0;
    x.outcomes = &outcome;
    x.outcome_count = 1;
    assert_int_equal(intake->ops->exchange_send(intake, &x, NULL), CRONQ_OK);
    assert_int_equal(intake->ops->exchange_recv(intake, &x, NULL), CRONQ_OK);
    intake->ops->intake_close(intake);
    broker->ops->free(broker);
    cq_arena_release(&arena);
    return NULL;
}

static void the_result_of_a_task_is_waited_for(void **state)
{
    cronq_task_info *info = NULL;
    pthread_t thread;

    (void)state;
    push("w", 0, 60000);
    assert_int_equal(cronq_client_wait(client, "q", "w", 30, &info, &err),
                     CRONQ_ETIMEDOUT);
    OK(cq_thread_start(&thread, "soon", complete_soon, NULL, &err));
    OK(cronq_client_wait(client, "q", "w", 20000, &info, &err));
    pthread_join(thread, NULL);
    assert_int_equal(cronq_task_info_state(info), CRONQ_STATE_COMPLETED);
    assert_int_equal(cronq_task_info_result(info).len, 2);
    assert_memory_equal(cronq_task_info_result(info).data, "42", 2);
    cronq_task_info_free(info);
    assert_int_equal(cronq_client_wait(client, "q", "no", 10, NULL, &err), CRONQ_ENOENT);
}

/* ---- on which store ---- */

static int open_both(const char *where)
{
    uri = where;
    OK(cronq_client_new(uri, NULL, &client, &err));
    OK(cronq_inspector_new(uri, NULL, &inspector, &err));
    return 0;
}

static int start_redis(void **state)
{
    (void)state;
    server = redis_server_start(NULL);
    return open_both(redis_server_uri(server));
}

static int stop_redis(void **state)
{
    (void)state;
    cronq_client_free(client);
    cronq_inspector_free(inspector);
    redis_server_stop(server);
    return 0;
}

static char path[64] = "/tmp/cronq-control-XXXXXX", file_uri[128];

static int start_file(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(path));
    snprintf(file_uri, sizeof file_uri, "sqlite:%s/q.db", path);
    return open_both(file_uri);
}

static int stop_file(void **state)
{
    char command[128];

    (void)state;
    cronq_client_free(client);
    cronq_inspector_free(inspector);
    snprintf(command, sizeof command, "rm -rf '%s'", path);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_waiting_task_is_withdrawn),
        cmocka_unit_test(a_task_gets_another_time_and_payload),
        cmocka_unit_test(the_result_of_a_task_is_waited_for),
        cmocka_unit_test(one_task_remains_or_ran_whoever_reschedules_it),
    };
    int failed = cmocka_run_group_tests_name("redis", tests, start_redis, stop_redis);

    return failed + cmocka_run_group_tests_name("sqlite", tests, start_file, stop_file);
}
