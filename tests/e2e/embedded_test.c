/* SPDX-License-Identifier: MIT */
/* embedded_test.c - processes that share one database file: how soon they hear of each
 * other, when due tasks start, and what a lock held by someone else does to them. */
#include "base/clock.h"
#include "base/random.h"
#include "support/patience.h"
#include "support/process.h"
#include "support/scratch.h"

#include <cronq/client.h>
#include <cronq/server.h>
#include <setjmp.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define TASKS       4096
#define PATIENCE_MS 20000
#define TRIES       5

/* What both processes see. A task's payload is its number. */
typedef struct shared {
    _Atomic bool ready, lock, locked;
    _Atomic uint32_t started;
    _Atomic int64_t mono_ns[TASKS], wall_ns[TASKS]; /* of the first start */
    _Atomic uint32_t runs[TASKS];
} shared;

typedef struct world {
    char folder[SCRATCH_ROOM], path[128], uri[192];
    shared *shared;
    pid_t worker;
    cronq_client *client;
} world;

/* ---- the worker process ---- */

static cronq_status note_start(cronq_attempt *attempt, void *arg)
{
    shared *all = arg;
    int64_t mono_ns = cq_mono_ns(), wall_ns = cq_wall_ns();
    cronq_bytes payload = cronq_attempt_payload(attempt);
    uint32_t number;

    if (payload.len != sizeof number)
        return cronq_attempt_skip_retry(attempt, "a foreign payload");
    memcpy(&number, payload.data, sizeof number);
    if (atomic_fetch_add(&all->runs[number], 1) == 0) {
        atomic_store(&all->wall_ns[number], wall_ns);
        atomic_store(&all->mono_ns[number], mono_ns);
    }
    atomic_fetch_add(&all->started, 1);
    return CRONQ_OK;
}

static void work(const world *w)
{
    cronq_server *server;
    cronq_error err = { 0 };

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (cronq_server_new(w->uri, CRONQ_SERVER_OPTIONS(.concurrency = 2), &server, &err) ||
        cronq_server_add(server, "t", note_start, w->shared, NULL, &err) ||
        cronq_server_start(server, &err)) {
        fprintf(stderr, "worker: %s\n", err.text);
        _exit(1);
    }
    atomic_store(&w->shared->ready, true);
    for (;;)
        pause();
}

/* ---- the world ---- */

static bool comes(const _Atomic bool *flag)
{
    int64_t until_ms = cq_mono_ms() + PATIENCE_MS;

    while (!atomic_load(flag) && cq_mono_ms() < until_ms)
        cq_sleep_ms(1);
    return atomic_load(flag);
}

static int set_up(void **state)
{
    world *w = calloc(1, sizeof *w);
    cronq_error err = { 0 };

    snprintf(w->path, sizeof w->path, "%s/cronq.db", scratch_new(w->folder));
    snprintf(w->uri, sizeof w->uri, "sqlite:%s", w->path);
    w->shared = mmap(NULL, sizeof *w->shared, PROT_READ | PROT_WRITE,
                     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(w->shared != MAP_FAILED);
    w->worker = fork();
    if (w->worker == 0)
        work(w);
    assert_true(comes(&w->shared->ready));
    if (cronq_client_new(w->uri, NULL, &w->client, &err))
        fail_msg("%s", err.text);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    world *w = *state;

    cronq_client_free(w->client);
    process_end(w->worker, SIGKILL);
    munmap(w->shared, sizeof *w->shared);
    scratch_remove(w->folder);
    free(w);
    return 0;
}

static cronq_status push(world *w, uint32_t number, int64_t in_ms, cronq_task_info **info,
                         cronq_error *err)
{
    return cronq_client_push(w->client,
                             CRONQ_TASK(.type = "t", .process_in_ms = in_ms,
                                        .payload = { &number, sizeof number }),
                             info, err);
}

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return x < y ? -1 : x > y;
}

/* ---- waking ---- */

/* From before the push until the handler runs, in an order that can be cut in per cents.
 */
static void time_pushes(world *w, uint32_t first, int64_t *took_ns, uint32_t count)
{
    cronq_error err = { 0 };
    cq_random random;

    cq_random_seed(&random, 5);
    for (uint32_t i = 0; i < count; i++) {
        const _Atomic int64_t *started_ns = &w->shared->mono_ns[first + i];
        int64_t begun_ns, until_ms = cq_mono_ms() + PATIENCE_MS;

        cq_sleep_ms(5 + (int64_t)cq_random_below(&random, 10)); /* it is idle again */
        begun_ns = cq_mono_ns();
        if (push(w, first + i, 0, NULL, &err))
            fail_msg("%s", err.text);
        while (!atomic_load(started_ns) && cq_mono_ms() < until_ms)
            usleep(50);
        took_ns[i] = atomic_load(started_ns) - begun_ns;
    }
    qsort(took_ns, count, sizeof *took_ns, compare);
}

/* The aim is 5 ms; a machine that is busy with other tests gets ten times that, and the
 * best of some rounds. Without the bell it would be up to a second. */
static void a_push_in_one_process_soon_starts_in_another(void **state)
{
    enum { COUNT = 200, LIMIT_MS = 50 * PATIENCE };
    world *w = *state;
    int64_t took_ns[COUNT], p99_ns = INT64_MAX;

    for (uint32_t try = 0; try < TRIES && p99_ns > LIMIT_MS * CQ_NS_PER_MS; try++) {
        time_pushes(w, try * COUNT, took_ns, COUNT);
        p99_ns = took_ns[COUNT * 99 / 100];
        print_message("push to start in another process: p50 %.2f ms, p99 %.2f ms\n",
                      (double)took_ns[COUNT / 2] / 1e6, (double)p99_ns / 1e6);
    }
    assert_in_range(took_ns[0], 0, LIMIT_MS * CQ_NS_PER_MS);
    assert_in_range(p99_ns, 0, LIMIT_MS * CQ_NS_PER_MS);
}

/* ---- due times ---- */

/* Were they whole seconds, half of these would be late by more than half a second. */
static void a_delayed_task_starts_at_its_millisecond(void **state)
{
    enum { COUNT = 40, STEP_MS = 37, LIMIT_MS = 200 * PATIENCE };
    world *w = *state;
    int64_t due_ms[COUNT], late_ns[COUNT], until_ms = cq_mono_ms() + PATIENCE_MS;
    cronq_error err = { 0 };

    for (uint32_t i = 0; i < COUNT; i++) {
        cronq_task_info *info = NULL;

        if (push(w, i, 300 + i * STEP_MS, &info, &err))
            fail_msg("%s", err.text);
        due_ms[i] = cronq_task_info_next_at_ms(info);
        cronq_task_info_free(info);
    }
    while (atomic_load(&w->shared->started) < COUNT && cq_mono_ms() < until_ms)
        cq_sleep_ms(5);
    for (uint32_t i = 0; i < COUNT; i++) {
        assert_int_equal(atomic_load(&w->shared->runs[i]), 1);
        late_ns[i] = atomic_load(&w->shared->wall_ns[i]) - due_ms[i] * CQ_NS_PER_MS;
    }
    qsort(late_ns, COUNT, sizeof *late_ns, compare);
    print_message("start after the due time: p50 %.2f ms, last %.2f ms\n",
                  (double)late_ns[COUNT / 2] / 1e6, (double)late_ns[COUNT - 1] / 1e6);
    assert_true(late_ns[0] >= -CQ_NS_PER_MS); /* the two read the clock apart */
    assert_true(late_ns[COUNT / 2] <= LIMIT_MS * CQ_NS_PER_MS);
}

/* ---- locked ---- */

/* Forked before the client connects: SQLite is not carried across a fork. It ends like a
 * crash, with nothing given back in order. */
static pid_t start_locker(const world *w, int64_t hold_ms)
{
    pid_t pid = fork();
    sqlite3 *db;

    if (pid)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (!comes(&w->shared->lock) || sqlite3_open(w->path, &db) ||
        sqlite3_busy_timeout(db, PATIENCE_MS) ||
        sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL))
        _exit(1);
    atomic_store(&w->shared->locked, true);
    cq_sleep_ms(hold_ms);
    _exit(0);
}

typedef struct pushes {
    world *world;
    uint32_t count;
    cronq_status statuses[TASKS];
    char text[256]; /* why one was refused */
} pushes;

static void push_on(pushes *p, int64_t until_ms)
{
    cronq_error err = { 0 };

    for (; cq_mono_ms() < until_ms && p->count < TASKS; p->count++) {
        p->statuses[p->count] = push(p->world, p->count, 0, NULL, &err);
        if (p->statuses[p->count])
            memcpy(p->text, err.text, sizeof p->text);
        cq_sleep_ms(10);
    }
}

/* Accepted tasks run, each once; of refused ones it is said whether they are stored. */
static void check_pushes(const pushes *p)
{
    const shared *all = p->world->shared;
    uint32_t accepted = 0, refused = 0;

    for (uint32_t i = 0; i < p->count; i++) {
        int64_t until_ms = cq_mono_ms() + PATIENCE_MS;

        if (p->statuses[i]) {
            assert_int_equal(p->statuses[i], CRONQ_EIO);
            refused++;
            continue;
        }
        accepted++;
        while (!atomic_load(&all->runs[i]) && cq_mono_ms() < until_ms)
            cq_sleep_ms(5);
        if (atomic_load(&all->runs[i]) != 1)
            fail_msg("task %u was accepted and ran %u times", i,
                     atomic_load(&all->runs[i]));
    }
    print_message("while locked and after: %u accepted, %u refused: %s\n", accepted,
                  refused, p->text);
    assert_true(accepted > 50);
    if (refused)
        assert_non_null(strstr(p->text, "has locked the database"));
}

static void a_database_that_another_process_locks_stops_nobody_for_good(void **state)
{
    world *w = *state;
    int64_t hold_ms = getenv("CRONQ_FULL") ? 30000 : 4000;
    pid_t locker = start_locker(w, hold_ms);
    pushes *p = calloc(1, sizeof *p);

    p->world = w;
    push_on(p, cq_mono_ms() + 500);
    atomic_store(&w->shared->lock, true);
    assert_true(comes(&w->shared->locked));
    push_on(p, cq_mono_ms() + hold_ms + 1000);
    assert_int_equal(process_end(locker, 0), 0);
    check_pushes(p);
    assert_int_equal(waitpid(w->worker, NULL, WNOHANG), 0); /* it lives */
    free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        CASE(a_push_in_one_process_soon_starts_in_another),
        CASE(a_delayed_task_starts_at_its_millisecond),
        CASE(a_database_that_another_process_locks_stops_nobody_for_good),
#undef CASE
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
