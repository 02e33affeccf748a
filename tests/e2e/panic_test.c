/* SPDX-License-Identifier: MIT */
/* panic_test.c - handlers that crash in all ways among good ones: every good task is done
 * once or has a cause, every bad one is archived, and the service goes on.
 *
 * The short form has 5 of each kind among 1,000 good tasks; CRONQ_FULL=1: 50 among
 * 10,000. */
#include "support/process.h"
#include "support/redis_server.h"
#include "support/scratch.h"

#include <cronq/client.h>
#include <cronq/inspector.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define ALL_DONE_MS 120000

struct world {
    redis_server *redis; /* NULL: an embedded store */
    cronq_client *client;
    cronq_inspector *inspector;
    char folder[SCRATCH_ROOM], uri[256], history[128];
};

static bool is_full(void)
{
    const char *full = getenv("CRONQ_FULL");

    return full && strcmp(full, "1") == 0;
}

static int set_up(void **state, bool embedded)
{
    struct world *world = calloc(1, sizeof *world);

    assert_non_null(world);
    scratch_new(world->folder);
    snprintf(world->history, sizeof world->history, "%s/history", world->folder);
    if (!embedded)
        world->redis = redis_server_start(NULL);
    if (embedded)
        snprintf(world->uri, sizeof world->uri, "sqlite:%s/store", world->folder);
    else
        snprintf(world->uri, sizeof world->uri, "%s", redis_server_uri(world->redis));
    assert_int_equal(cronq_client_new(world->uri, NULL, &world->client, NULL), CRONQ_OK);
    assert_int_equal(cronq_inspector_new(world->uri, NULL, &world->inspector, NULL),
                     CRONQ_OK);
    *state = world;
    return 0;
}

static int set_up_redis(void **state)
{
    return set_up(state, false);
}

static int set_up_embedded(void **state)
{
    return set_up(state, true);
}

static int tear_down(void **state)
{
    struct world *world = *state;

    cronq_client_free(world->client);
    cronq_inspector_free(world->inspector);
    redis_server_stop(world->redis);
    scratch_remove(world->folder);
    free(world);
    return 0;
}

static void push(struct world *world, const char *id, const char *payload)
{
    cronq_error err = { CRONQ_OK, "" };
    cronq_task task = { .struct_size = sizeof task, .type = "t", .id = id };

    task.payload = (cronq_bytes){ payload, strlen(payload) };
    if (strcmp(payload, "loop") == 0) {
        task.timeout_ms = 1000;
        task.max_retry = CRONQ_NO_RETRY;
    }
    if (cronq_client_push(world->client, &task, NULL, &err))
        fail_msg("push %s: %s", id, err.text);
}

static pid_t start(struct world *world, const char *mode)
{
    const char *const argv[] = { TEST_CRASHER, world->uri, world->history, mode, NULL };
    char log[160];

    snprintf(log, sizeof log, "%s.log", world->history);
    return process_start_logged(argv, log);
}

/* The error of an archived task; it must be archived within the time. */
static void await_archived(struct world *world, const char *id, char text[256])
{
    for (int i = 0; i < ALL_DONE_MS / 20; i++, usleep(20000)) {
        cronq_task_info *info;
        bool archived;

        if (cronq_inspector_task(world->inspector, "default", id, &info, NULL))
            continue;
        archived = cronq_task_info_state(info) == CRONQ_STATE_ARCHIVED;
        snprintf(text, 256, "%s", cronq_task_info_error(info));
        cronq_task_info_free(info);
        if (archived)
            return;
    }
    fail_msg("%s was not archived", id);
}

/* Good ones are done once, or as often as there is a cause for one time more. Returns the
 * longest time in which nothing was done. */
static int64_t judge_history(struct world *world, int good)
{
    int *ends = calloc((size_t)good, sizeof *ends),
        *causes = calloc((size_t)good, sizeof *causes);
    int64_t last_ms = 0, gap_ms = 0;
    int again = 0;
    size_t count;
    history_line *lines = history_read(world->history, &count);

    for (size_t i = 0; i < count; i++) {
        int number = -1;

        if (sscanf(lines[i].id, "good-%d", &number) != 1 || number < 0 || number >= good)
            continue;
        if (strcmp(lines[i].what, "cause") == 0)
            causes[number]++;
        if (strcmp(lines[i].what, "end") != 0)
            continue;
        ends[number]++;
        if (last_ms && lines[i].at_ms - last_ms > gap_ms)
            gap_ms = lines[i].at_ms - last_ms;
        last_ms = lines[i].at_ms;
    }
    for (int i = 0; i < good; i++) {
        if (ends[i] < 1 || ends[i] > 1 + causes[i])
            fail_msg("good-%d was done %d times with %d causes", i, ends[i], causes[i]);
        again += ends[i] - 1;
    }
    print_message("%d good tasks, %d runs more with a logged cause\n", good, again);
    free(ends);
    free(causes);
    free(lines);
    return gap_ms;
}

static int panic_total(struct world *world)
{
    char path[160], line[512];
    int total = -1;
    FILE *file;

    snprintf(path, sizeof path, "%s.metrics", world->history);
    file = fopen(path, "re");
    assert_non_null(file);
    while (fgets(line, sizeof line, file))
        sscanf(line, "cron_server_panic_total{task_type=\"t\"} %d", &total);
    fclose(file);
    return total;
}

static void check_text(const char *word, const char *text)
{
    static const struct {
        const char *word, *text;
    } rows[] = {
        { "null", "panic: SIGSEGV at 0x0" }, { "abort", "panic: SIGABRT" },
        { "overrun", "panic: SIGSEGV at " }, { "free", "panic: SIGABRT" },
        { "leak", "panic: SIGSEGV at 0x0" }, { "loop", "context deadline exceeded" },
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (strcmp(rows[i].word, word) == 0 &&
            strncmp(text, rows[i].text, strlen(rows[i].text)) != 0)
            fail_msg("%s was archived as: %s", word, text);
}

/* The bad ones spread among the good ones. */
static int push_all(struct world *world, const char *const *words, size_t kinds, int good)
{
    int each = is_full() ? 50 : 5, bad = 0;
    int step = good / (each * (int)kinds);
    char id[32];

    for (int i = 0; i < good; i++) {
        snprintf(id, sizeof id, "good-%d", i);
        push(world, id, "plain");
        if (i % step != step / 2 || bad == each * (int)kinds)
            continue;
        snprintf(id, sizeof id, "bad-%d", bad);
        push(world, id, words[(size_t)bad++ % kinds]);
    }
    return bad;
}

static int64_t crash_among_good_ones(struct world *world, const char *mode,
                                     const char *const *words, size_t kinds)
{
    int good = is_full() ? 10000 : 1000, panics = 0, bad;
    char id[32], text[256];
    pid_t pid;

    bad = push_all(world, words, kinds, good);
    pid = start(world, mode);
    for (int i = 0; i < bad; i++) {
        snprintf(id, sizeof id, "bad-%d", i);
        await_archived(world, id, text);
        check_text(words[(size_t)i % kinds], text);
        panics += strncmp(text, "panic: ", 7) == 0;
        if (!history_wait(world->history, "told", id, 1, ALL_DONE_MS))
            fail_msg("nobody was told that %s is archived", id);
    }
    assert_true(history_wait(world->history, "end", NULL, (size_t)good, ALL_DONE_MS));
    push(world, "last", "plain"); /* a worker that only starts has nothing to tell */
    assert_true(history_wait(world->history, "end", "last", 1, ALL_DONE_MS));
    assert_int_equal(process_end(pid, SIGTERM), 0);
    assert_int_equal(panic_total(world), panics);
    return judge_history(world, good);
}

static void crashes_in_children_end_one_attempt_each(void **state)
{
    static const char *const words[] = { "null", "abort", "overrun",
                                         "free", "leak",  "loop" };
    int64_t gap_ms = crash_among_good_ones(*state, "process", words, 6);

    print_message("process mode: at most %d ms without a task done\n", (int)gap_ms);
    assert_true(gap_ms < 1000);
}

static void crashes_in_threads_restart_the_worker(void **state)
{
    static const char *const words[] = { "null", "abort", "overrun", "free" };
    int64_t gap_ms = crash_among_good_ones(*state, "thread", words, 4);

    print_message("thread mode: at most %d ms without a task done\n", (int)gap_ms);
}

static void a_task_that_kills_its_worker_three_times_is_poison(void **state)
{
    struct world *world = *state;
    history_line *lines;
    char text[256];
    size_t count;
    pid_t pid = start(world, "thread");

    push(world, "poison", "wait");
    for (size_t i = 1; i <= 3; i++) {
        assert_true(history_wait(world->history, "start", "poison", i, 30000));
        lines = history_read(world->history, &count);
        for (size_t at = count; at-- > 0;)
            if (strcmp(lines[at].what, "start") == 0) {
                assert_true(lines[at].pid != pid);
                kill(lines[at].pid, SIGKILL);
                break;
            }
        free(lines);
    }
    await_archived(world, "poison", text);
    assert_string_equal(text, "poison: its worker died 3 times while it ran");
    push(world, "good-0", "plain");
    assert_true(history_wait(world->history, "end", "good-0", 1, 30000));
    assert_int_equal(process_end(pid, SIGTERM), 0);
}

#define TEST(name, where) cmocka_unit_test_setup_teardown(name, set_up_##where, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(crashes_in_children_end_one_attempt_each, redis),
        TEST(crashes_in_children_end_one_attempt_each, embedded),
        TEST(crashes_in_threads_restart_the_worker, redis),
        TEST(crashes_in_threads_restart_the_worker, embedded),
        TEST(a_task_that_kills_its_worker_three_times_is_poison, redis),
        TEST(a_task_that_kills_its_worker_three_times_is_poison, embedded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
