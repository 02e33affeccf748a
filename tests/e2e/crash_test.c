/* SPDX-License-Identifier: MIT */
/* crash_test.c - workers that are killed: nothing is lost, and it does not take long. */
#include "support/process.h"
#include "support/redis_server.h"

#include <cronq/client.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define RECOVERED_WITHIN_MS \
    38000 /* lease 30 s, grace 2 s, a look every 5 s, rounding 1 s */
#define TASKS 200
#define KILLS 5

struct world {
    redis_server *redis;
    cronq_client *client;
    char history[64];
};

static int set_up(void **state)
{
    struct world *world = calloc(1, sizeof *world);
    int fd;

    assert_non_null(world);
    world->redis = redis_server_start(NULL);
    strcpy(world->history, "/tmp/cronq-history-XXXXXX");
    fd = mkstemp(world->history);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(
        cronq_client_new(redis_server_uri(world->redis), NULL, &world->client, NULL),
        CRONQ_OK);
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;

    cronq_client_free(world->client);
    redis_server_stop(world->redis);
    unlink(world->history);
    free(world);
    return 0;
}

static void push(struct world *world, const char *id, const char *payload)
{
    cronq_error err = { CRONQ_OK, "" };
    cronq_task task = { .struct_size = sizeof task, .type = "t", .id = id };

    task.payload = (cronq_bytes){ payload, strlen(payload) };
    if (cronq_client_push(world->client, &task, NULL, &err))
        fail_msg("push %s: %s", id, err.text);
}

static pid_t start_worker(const struct world *world, bool short_periods)
{
    const char *uri = redis_server_uri(world->redis);
    const char *const usual[] = { TEST_WORKER, uri, world->history, NULL };
    const char *const hurried[] = {
        TEST_WORKER,      uri, world->history, "lease_ms=2000", "heartbeat_ms=500",
        "recover_ms=300", NULL
    };

    return process_start(short_periods ? hurried : usual);
}

static void task_of_a_killed_worker_runs_again_with_default_periods(void **state)
{
    struct world *world = *state;
    pid_t pid = start_worker(world, false);
    size_t count;
    history_line *lines;

    push(world, "victim", "sleep 1500");
    assert_true(history_wait(world->history, "start", "victim", 1, 5000));
    process_end(pid, SIGKILL);
    pid = start_worker(world, false);
    assert_true(
        history_wait(world->history, "end", "victim", 1, RECOVERED_WITHIN_MS + 5000));
    assert_int_equal(process_end(pid, SIGTERM), 0);

    lines = history_read(world->history, &count);
    assert_int_equal(count, 3);
    print_message("ran again after %.1f s\n",
                  (double)(lines[1].at_ms - lines[0].at_ms) / 1000.0);
    assert_true(lines[1].at_ms - lines[0].at_ms <= RECOVERED_WITHIN_MS);
    assert_int_equal(lines[1].retry_count, 1);
    free(lines);
}

static void nothing_is_lost_when_workers_are_killed_under_load(void **state)
{
    struct world *world = *state;
    pid_t pids[3];
    char id[32];

    for (int i = 0; i < 3; i++)
        pids[i] = start_worker(world, true);
    for (int i = 0; i < TASKS; i++) {
        snprintf(id, sizeof id, "task-%d", i);
        push(world, id, "sleep 40");
        if (i % (TASKS / KILLS) == TASKS / KILLS / 2) {
            process_end(pids[i % 3], SIGKILL);
            pids[i % 3] = start_worker(world, true);
        }
        usleep(5000);
    }
    for (int i = 0; i < TASKS; i++) {
        snprintf(id, sizeof id, "task-%d", i);
        if (!history_wait(world->history, "end", id, 1, 20000))
            fail_msg("%s was accepted and has not run to its end", id);
    }
    for (int i = 0; i < 3; i++)
        assert_int_equal(process_end(pids[i], SIGTERM), 0);
}

static void worker_that_was_stopped_does_not_answer_for_anothers_run(void **state)
{
    struct world *world = *state;
    pid_t stopped = start_worker(world, true), other;

    push(world, "slow", "sleep 500");
    assert_true(history_wait(world->history, "start", "slow", 1, 5000));
    kill(stopped, SIGSTOP);
    other = start_worker(world, true);
    assert_true(history_wait(world->history, "start", "slow", 2, 15000));
    kill(stopped, SIGCONT);
    assert_true(history_wait(world->history, "end", "slow", 2, 10000));
    assert_int_equal(process_end(stopped, SIGTERM), 0);
    assert_int_equal(process_end(other, SIGTERM), 0);
    /* The recovery, and one success. */
    assert_int_equal(redis_server_int(world->redis, "INCRBY asynq:{default}:processed 0"),
                     2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            nothing_is_lost_when_workers_are_killed_under_load, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            worker_that_was_stopped_does_not_answer_for_anothers_run, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            task_of_a_killed_worker_runs_again_with_default_periods, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
