/* SPDX-License-Identifier: MIT */
/* e2e/failover_test.c - a worker and a client behind sentinels while the master is killed
 * or replaced: what was accepted is run, and work goes on soon after. */
#include <cronq/cronq.h>

#include "base/clock.h"
#include "support/sentinel.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TASKS_LIMIT 1000000
#define BATCH       20
#define BATCH_MS    10   /* 2,000 pushes a second */
#define RESUME_MS   3000 /* with CRONQ_FULL; ten times as much beside other tests */
#define PATIENCE_MS 60000

typedef struct scene {
    sentinel_group group;
    cronq_client *client;
    cronq_server *server;
    pthread_t pusher;
    atomic_bool ending;
    size_t pushed; /* the pusher's */
    bool accepted[TASKS_LIMIT];
    atomic_bool ran[TASKS_LIMIT];
    atomic_llong last_run_ms;
} scene;

static void sleep_ms(long ms)
{
    cq_sleep_ms(ms);
}

static void print_line(void *arg, const cronq_log_record *record)
{
    (void)arg;
    fprintf(stderr, "    %s\n", record->text);
}

static cronq_status run(cronq_attempt *attempt, void *arg)
{
    const char *id = cronq_attempt_task_id(attempt);
    scene *s = arg;
    long number = strtol(id, NULL, 10);

    assert_true(number >= 0 && number < TASKS_LIMIT);
    atomic_store(&s->ran[number], true);
    atomic_store(&s->last_run_ms, cq_mono_ms());
    return CRONQ_OK;
}

static void *push(void *arg)
{
    scene *s = arg;
    cronq_task tasks[BATCH];
    const cronq_task *pointers[BATCH];
    cronq_status statuses[BATCH];
    char ids[BATCH][16];

    for (; !atomic_load(&s->ending) && s->pushed + BATCH <= TASKS_LIMIT;
         s->pushed += BATCH) {
        for (size_t i = 0; i < BATCH; i++) {
            snprintf(ids[i], sizeof ids[i], "%zu", s->pushed + i);
            tasks[i] = (cronq_task){
                .struct_size = sizeof tasks[i], .type = "t", .id = ids[i], .queue = "q"
            };
            pointers[i] = &tasks[i];
        }
        if (cronq_client_push_many(s->client, pointers, BATCH, statuses, NULL, NULL) == 0)
            memset(statuses, 0, sizeof statuses);
        for (size_t i = 0; i < BATCH; i++)
            s->accepted[s->pushed + i] = statuses[i] == CRONQ_OK;
        sleep_ms(BATCH_MS);
    }
    return NULL;
}

static void must(cronq_status status, const cronq_error *err)
{
    if (status)
        fail_msg("%s", err->text);
}

static scene *begin(uint32_t wait_count)
{
    const cronq_store_options *store =
        CRONQ_STORE_OPTIONS(.wait_replica_count = wait_count, .wait_timeout_ms = 1500,
                            .pool_size = 4);
    scene *s = calloc(1, sizeof *s);
    cronq_queue queue = { "q", 1 };
    cronq_error err = { 0 };

    assert_non_null(s);
    sentinel_group_start(&s->group, NULL);
    must(cronq_client_new(s->group.uri,
                          CRONQ_CLIENT_OPTIONS(.store = store, .push_timeout_ms = 30000),
                          &s->client, &err),
         &err);
    must(cronq_server_new(
             s->group.uri,
             CRONQ_SERVER_OPTIONS(.queues = &queue, .queue_count = 1, .concurrency = 4,
                                  .logger = { print_line, NULL, CRONQ_LOG_WARN },
                                  .lease_ms = 4000, .heartbeat_ms = 1000,
                                  .recover_interval_ms = 1000),
             &s->server, &err),
         &err);
    must(cronq_server_add(s->server, "t", run, s, NULL, &err), &err);
    must(cronq_server_start(s->server, &err), &err);
    assert_int_equal(pthread_create(&s->pusher, NULL, push, s), 0);
    sleep_ms(1000);
    assert_true(atomic_load(&s->last_run_ms) > 0);
    return s;
}

static size_t missing(const scene *s)
{
    size_t count = 0;

    for (size_t i = 0; i < s->pushed; i++)
        count += s->accepted[i] && !atomic_load(&s->ran[i]);
    return count;
}

/* Right after the sentinels have named another master. */
static void must_resume(scene *s)
{
    int64_t began = cq_mono_ms();
    int64_t bound_ms = getenv("CRONQ_FULL") ? RESUME_MS : 10 * RESUME_MS;

    while (atomic_load(&s->last_run_ms) <= began) {
        if (cq_mono_ms() - began > bound_ms)
            fail_msg("nothing runs %lld ms after the switch", (long long)bound_ms);
        sleep_ms(5);
    }
    print_message("    work goes on %lld ms after the switch\n",
                  (long long)(cq_mono_ms() - began));
}

static void end(scene *s)
{
    int64_t began = cq_mono_ms();
    size_t accepted = 0;
    cronq_error err = { 0 };

    atomic_store(&s->ending, true);
    pthread_join(s->pusher, NULL);
    while (missing(s) && cq_mono_ms() - began < PATIENCE_MS)
        sleep_ms(20);
    for (size_t i = 0; i < s->pushed; i++)
        accepted += s->accepted[i];
    print_message("    %zu of %zu pushes accepted, %zu of them lost\n", accepted,
                  s->pushed, missing(s));
    assert_int_equal(missing(s), 0);
    assert_true(accepted > 1000);
    must(cronq_server_stop(s->server, &err), &err);
    cronq_server_free(s->server);
    cronq_client_free(s->client);
    sentinel_group_stop(&s->group);
    free(s);
}

/* Once, or 20 times with CRONQ_FULL: the old master is back each time. */
static void fail_over(scene *s, void (*change)(sentinel_group *group))
{
    int rounds = getenv("CRONQ_FULL") ? 20 : 1;

    for (int i = 0; i < rounds; i++) {
        if (i > 0)
            sentinel_group_heal(&s->group);
        change(&s->group);
        must_resume(s);
    }
    sleep_ms(500);
    end(s);
}

static void nothing_accepted_by_one_replica_is_lost_when_the_master_dies(void **state)
{
    (void)state;
    fail_over(begin(1), sentinel_group_kill_master);
}

static void nothing_accepted_by_all_replicas_is_lost_when_the_master_changes(void **state)
{
    (void)state;
    fail_over(begin(2), sentinel_group_switch_master);
}

static void a_master_that_hangs_is_left_behind(void **state)
{
    scene *s = begin(1);
    size_t master = sentinel_group_master(&s->group);

    (void)state;
    redis_server_pause(s->group.servers[master]);
    while (sentinel_group_master(&s->group) == master)
        sleep_ms(10);
    must_resume(s);
    redis_server_resume(s->group.servers[master]);
    sleep_ms(500);
    end(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_accepted_by_one_replica_is_lost_when_the_master_dies),
        cmocka_unit_test(
            nothing_accepted_by_all_replicas_is_lost_when_the_master_changes),
        cmocka_unit_test(a_master_that_hangs_is_left_behind),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
