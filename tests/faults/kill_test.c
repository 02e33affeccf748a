/* SPDX-License-Identifier: MIT */
/* faults/kill_test.c - processes that share a file and are killed at random points: what
 * was accepted is there, and those who live go on. 100 times, or 1,000 with CRONQ_FULL,
 * each with the checker behind it. */
#include "faults/ledger.h"

#include "base/clock.h"
#include "base/random.h"
#include "support/scratch.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORKERS 2
#define TRIES   200

typedef struct world {
    ledger *ledger;
    char folder[SCRATCH_ROOM], path[128], uri[192];
} world;

/* Push, take, finish, for as long as it lives. Any failure ends it with a code. */
static void live(const world *w, uint32_t fence)
{
    cq_broker *broker = ledger_open(w->uri, 10000);
    ledger_worker worker;
    cronq_error err = { 0 };
    cronq_status status;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    ledger_worker_init(&worker, broker, fence);
    status = ledger_recover(w->ledger, broker, &err);
    while (!status && atomic_load(&w->ledger->next) < LEDGER_TASKS - 100) {
        status = ledger_push(w->ledger, broker, 1 + fence % 20, &err);
        if (!status)
            status = ledger_exchange(w->ledger, &worker, 15, &err);
    }
    if (status)
        fprintf(stderr, "worker: %s\n", err.text);
    _exit(status ? 1 : 0);
}

static pid_t start(const world *w, uint32_t fence)
{
    pid_t pid = fork();

    if (pid == 0)
        live(w, fence);
    assert_true(pid > 0);
    return pid;
}

static void kill_now(pid_t pid)
{
    int code;

    kill(pid, SIGKILL);
    waitpid(pid, &code, 0);
    if (!WIFSIGNALED(code) || WTERMSIG(code) != SIGKILL)
        fail_msg("a worker ended by itself, with %d", code);
}

/* The other one stands still meanwhile, in whatever it was doing; where that keeps the
 * file from being read, it moves on a little. */
static void check_beside(const world *w, pid_t other, const char *when)
{
    bool checked = false;

    for (int i = 0; i < TRIES && !checked; i++) {
        kill(other, SIGSTOP);
        assert_int_equal(waitpid(other, NULL, WUNTRACED), other);
        checked = ledger_check_busy(w->ledger, w->path, when);
        kill(other, SIGCONT);
        if (!checked)
            usleep(2000);
    }
    if (!checked)
        fail_msg("%s: the file could not be read", when);
}

static uint32_t count_repeats(const ledger *l)
{
    uint32_t repeats = 0;

    for (uint32_t i = 0; i < atomic_load(&l->next); i++)
        repeats += atomic_load(&l->runs[i]) > 1;
    return repeats;
}

/* In a process of its own, so that none is forked with a connection. */
static void make_tables(const world *w)
{
    pid_t pid = fork();
    int code;

    if (pid == 0) {
        cq_broker *broker = ledger_open(w->uri, 10000);
        cronq_status status = broker->ops->ping(broker, NULL);

        broker->ops->free(broker);
        _exit(status ? 1 : 0);
    }
    waitpid(pid, &code, 0);
    assert_int_equal(code, 0);
}

static void kill_in_turn(const char *parameters)
{
    int rounds = getenv("CRONQ_FULL") ? 1000 : 100;
    pid_t pids[WORKERS];
    cq_random random;
    uint32_t fence = 1;
    world w;

    cq_random_seed(&random, 7);
    w.ledger = ledger_new();
    snprintf(w.path, sizeof w.path, "%s/cronq.db", scratch_new(w.folder));
    snprintf(w.uri, sizeof w.uri, "sqlite:%s%s", w.path, parameters);
    make_tables(&w);
    for (int i = 0; i < WORKERS; i++)
        pids[i] = start(&w, fence++);
    for (int round = 0; round < rounds; round++) {
        char when[64];

        usleep((useconds_t)(3000 + cq_random_below(&random, 30000)));
        kill_now(pids[round % WORKERS]);
        snprintf(when, sizeof when, "after kill %d", round);
        check_beside(&w, pids[(round + 1) % WORKERS], when);
        pids[round % WORKERS] = start(&w, fence++);
    }
    for (int i = 0; i < WORKERS; i++)
        kill_now(pids[i]);
    ledger_check(w.ledger, w.path, "at the end");
    print_message("%d kills, %u tasks pushed, %u of them taken again, with a cause\n",
                  rounds, atomic_load(&w.ledger->next), count_repeats(w.ledger));
    assert_true(atomic_load(&w.ledger->next) > (uint32_t)rounds);
    assert_true(count_repeats(w.ledger) > 0);
    scratch_remove(w.folder);
    ledger_free(w.ledger);
}

static void killed_workers_lose_nothing(void **state)
{
    (void)state;
    kill_in_turn("");
}

static void killed_workers_lose_nothing_with_synchronous_normal(void **state)
{
    (void)state;
    kill_in_turn("?synchronous=normal");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(killed_workers_lose_nothing),
        cmocka_unit_test(killed_workers_lose_nothing_with_synchronous_normal),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
