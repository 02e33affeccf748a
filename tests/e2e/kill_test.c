/* SPDX-License-Identifier: MIT */
/* kill_test.c - whole workers on one database file, killed at random moments while tasks
 * are pushed: accepted tasks are run, and run again only where the log says why. */
#include "base/clock.h"
#include "base/random.h"
#include "support/history.h"
#include "support/patience.h"
#include "support/process.h"
#include "support/scratch.h"

#include <cronq/client.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define WORKERS       3
#define PUSHES_A_KILL 10
#define DRAIN_MS      60000

typedef struct world {
    char folder[SCRATCH_ROOM], uri[128], history[128], log[128];
    cronq_client *client;
    int pushed;
} world;

static pid_t start(const world *w)
{
    const char *const argv[] = { TEST_WORKER,        w->uri,
                                 w->history,         "lease_ms=2000",
                                 "heartbeat_ms=500", "recover_ms=300",
                                 "causes=1",         NULL };

    return process_start_logged(argv, w->log);
}

static void push_some(world *w)
{
    for (int i = 0; i < PUSHES_A_KILL; i++) {
        cronq_error err = { 0 };
        char id[32];

        snprintf(id, sizeof id, "task-%d", w->pushed++);
        if (cronq_client_push(
                w->client,
                CRONQ_TASK(.type = "t", .id = id, .payload = CRONQ_LIT("sleep 5")), NULL,
                &err))
            fail_msg("%s: %s", id, err.text);
        history_note(w->history, "accept", id, getpid());
    }
}

static void kill_and_replace(const world *w, pid_t *pid)
{
    history_note(w->history, "crash", "-", *pid);
    assert_int_equal(process_end(*pid, SIGKILL), 128 + SIGKILL);
    *pid = start(w);
}

/* Nothing waits and nothing runs any more: leases of the dead are over. */
static void drain(const world *w)
{
    int64_t until_ms = cq_mono_ms() + DRAIN_MS * PATIENCE;

    while (history_undone(w->history) > 0 && cq_mono_ms() < until_ms)
        cq_sleep_ms(100);
    cq_sleep_ms(3000); /* the last lease of who had done its task and could not say so */
}

static void check(const world *w)
{
    const char *const fsck[] = { CRONQ_PROGRAM, "-u", w->uri, "fsck", NULL };
    const history_rules rules = { .is_stored = NULL };
    history_verdict verdict;

    history_judge(w->history, &rules, &verdict);
    print_message("%d pushed, %zu accepted, %zu done, %zu run again with a cause, %zu "
                  "without\n",
                  w->pushed, verdict.accepted, verdict.done, verdict.caused,
                  verdict.uncaused);
    if (verdict.text[0])
        fail_msg("%s", verdict.text);
    assert_int_equal(verdict.accepted, w->pushed);
    assert_int_equal(verdict.done, verdict.accepted);
    assert_int_equal(process_end(process_start(fsck), 0), 0);
}

static void killed_workers_lose_nothing_and_repeat_nothing_without_a_cause(void **state)
{
    int kills = getenv("CRONQ_FULL") ? 1000 : 30;
    pid_t pids[WORKERS];
    cq_random random;
    cronq_error err;
    world w = { .pushed = 0 };

    (void)state;
    cq_random_seed(&random, 17);
    snprintf(w.uri, sizeof w.uri, "sqlite:%s/cronq.db", scratch_new(w.folder));
    snprintf(w.history, sizeof w.history, "%s/history", w.folder);
    snprintf(w.log, sizeof w.log, "%s/log", w.folder);
    history_note(w.history, "begin", "-", getpid());
    if (cronq_client_new(w.uri, NULL, &w.client, &err))
        fail_msg("%s", err.text);
    for (int i = 0; i < WORKERS; i++)
        pids[i] = start(&w);
    for (int i = 0; i < kills; i++) {
        push_some(&w);
        cq_sleep_ms((int64_t)cq_random_below(&random, 60));
        kill_and_replace(&w, &pids[i % WORKERS]);
    }
    drain(&w);
    for (int i = 0; i < WORKERS; i++)
        assert_int_equal(process_end(pids[i], SIGTERM), 0);
    check(&w);
    cronq_client_free(w.client);
    scratch_remove(w.folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(killed_workers_lose_nothing_and_repeat_nothing_without_a_cause),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
