/* SPDX-License-Identifier: MIT */
/* e2e/reference_test.c - faults of the reference that need whole workers to be seen.
 * Where the others are tested is in docs/faults.md. */
#include <cronq/cronq.h>

#include "base/clock.h"
#include "support/process.h"
#include "support/redis_server.h"
#include "support/scratch.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static redis_server *redis;

static int set_up(void **state)
{
    (void)state;
    redis = redis_server_start(NULL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    redis_server_stop(redis);
    return 0;
}

static void must(cronq_status status, const cronq_error *err)
{
    if (status)
        fail_msg("%s", err->text);
}

static cronq_client *new_client(void)
{
    cronq_client *client = NULL;
    cronq_error err = { 0 };

    must(cronq_client_new(redis_server_uri(redis), NULL, &client, &err), &err);
    return client;
}

static cronq_status take_a_while(cronq_attempt *attempt, void *arg)
{
    (void)attempt;
    atomic_fetch_add((atomic_int *)arg, 1);
    cq_sleep_ms(5000); /* longer than a lease and the time until it is recovered */
    return CRONQ_OK;
}

/* There the second one's lease was not extended: it ran again. */
static void one_id_in_two_queues_runs_once_in_each(void **state)
{
    cronq_queue queues[] = { { "a", 1 }, { "b", 1 } };
    cronq_client *client = new_client();
    cronq_server *server;
    cronq_error err = { 0 };
    atomic_int runs = 0;

    (void)state;
    for (int i = 0; i < 2; i++)
        must(cronq_client_push(
                 client, CRONQ_TASK(.type = "t", .id = "same", .queue = queues[i].name),
                 NULL, &err),
             &err);
    must(cronq_server_new(redis_server_uri(redis),
                          CRONQ_SERVER_OPTIONS(.queues = queues, .queue_count = 2,
                                               .concurrency = 4, .lease_ms = 2000,
                                               .heartbeat_ms = 300,
                                               .recover_interval_ms = 300),
                          &server, &err),
         &err);
    must(cronq_server_add(server, "t", take_a_while, &runs, NULL, &err), &err);
    must(cronq_server_start(server, &err), &err);
    for (int i = 0; i < 800; i++) {
        if (redis_server_int(redis, "EXISTS asynq:{a}:t:same asynq:{b}:t:same") == 0)
            break;
        cq_sleep_ms(20);
    }
    assert_int_equal(redis_server_int(redis, "EXISTS asynq:{a}:t:same asynq:{b}:t:same"),
                     0);
    assert_int_equal(atomic_load(&runs), 2);
    must(cronq_server_stop(server, &err), &err);
    cronq_server_free(server);
    cronq_client_free(client);
}

static pid_t start_worker(const char *history, const char *shift_ms)
{
    const char *const argv[] = { TEST_WORKER,      redis_server_uri(redis),
                                 history,          "concurrency=1",
                                 "lease_ms=2000",  "heartbeat_ms=300",
                                 "recover_ms=300", NULL };
    pid_t pid;

    if (shift_ms) {
        setenv("LD_PRELOAD", CLOCK_SHIFT, 1);
        setenv("CLOCK_SHIFT_MS", shift_ms, 1);
    }
    pid = process_start(argv);
    unsetenv("LD_PRELOAD");
    unsetenv("CLOCK_SHIFT_MS");
    return pid;
}

/* There such a server takes living tasks from the others, and runs delayed ones early. */
static void a_worker_with_a_wrong_clock_takes_nothing_and_runs_nothing_early(void **state)
{
    static const char *const shifts[] = { "3600000", "-3600000" };
    char scratch[SCRATCH_ROOM], history[128];
    cronq_client *client = new_client();
    cronq_error err = { 0 };

    (void)state;
    snprintf(history, sizeof history, "%s/history", scratch_new(scratch));
    for (size_t i = 0; i < 2; i++) {
        pid_t right, wrong;
        int64_t began_ms;
        char id[16];

        right = start_worker(history, NULL);
        snprintf(id, sizeof id, "long-%zu", i);
        must(cronq_client_push(
                 client,
                 CRONQ_TASK(.type = "t", .id = id, .payload = { "sleep 6000", 10 }), NULL,
                 &err),
             &err);
        assert_true(history_wait(history, "start", id, 1, 10000));
        wrong = start_worker(history, shifts[i]);
        snprintf(id, sizeof id, "late-%zu", i);
        began_ms = cq_mono_ms();
        must(cronq_client_push_in(client, CRONQ_TASK(.type = "t", .id = id), 3000, NULL,
                                  &err),
             &err);
        assert_true(history_wait(history, "start", id, 1, 20000));
        assert_true(cq_mono_ms() - began_ms >= 3000);
        snprintf(id, sizeof id, "long-%zu", i);
        assert_true(history_wait(history, "end", id, 1, 20000));
        assert_int_equal(history_count(history, "start", id), 1);
        assert_int_equal(process_end(wrong, SIGTERM), 0);
        assert_int_equal(process_end(right, SIGTERM), 0);
    }
    scratch_remove(scratch);
    cronq_client_free(client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_id_in_two_queues_runs_once_in_each, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(
            a_worker_with_a_wrong_clock_takes_nothing_and_runs_nothing_early, set_up,
            tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
