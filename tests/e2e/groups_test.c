/* SPDX-License-Identifier: MIT */
/* groups_test.c - servers that merge groups and are killed while they do: each task is in
 * exactly one merged task, and that runs. */
#include "support/process.h"
#include "support/redis_server.h"
#include "support/scratch.h"

#include <cronq/client.h>
#include <cronq/inspector.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define TASKS       1000
#define GROUPS      50
#define SERVERS     2
#define KILLS       3
#define KILLS_FULL  20
#define PATIENCE_MS 60000

typedef struct world {
    redis_server *redis; /* or NULL: a file */
    char scratch[SCRATCH_ROOM];
    char uri[256], history[96], log[96];
    pid_t pids[SERVERS];
} world;

static void nap(void)
{
    const struct timespec rest = { 0, 10000000 };

    nanosleep(&rest, NULL);
}

static pid_t start(const world *w)
{
    const char *const argv[] = { TEST_WORKER,
                                 w->uri,
                                 w->history,
                                 "merge=7",
                                 "merge_ms=40",
                                 "set_age_ms=2000",
                                 "lease_ms=2000",
                                 "heartbeat_ms=500",
                                 "recover_ms=300",
                                 "causes=1",
                                 NULL };

    return process_start_logged(argv, w->log);
}

static void push_all(const world *w)
{
    cronq_client *client;
    cronq_error err = { 0 };

    assert_int_equal(cronq_client_new(w->uri, NULL, &client, NULL), CRONQ_OK);
    for (int i = 0; i < TASKS; i++) {
        char id[16], group[16];

        snprintf(id, sizeof id, "t%d", i);
        snprintf(group, sizeof group, "g%d", i % GROUPS);
        if (cronq_client_push(client,
                              CRONQ_TASK(.type = "t", .id = id, .group = group,
                                         .payload = { id, strlen(id) }),
                              NULL, &err))
            fail_msg("push %s: %s", id, err.text);
    }
    cronq_client_free(client);
}

/* ---- killing ---- */

/* Whoever began to merge last has a set in its hands: waits for one, and kills it. False
 * when nobody merges any more. */
static bool kill_a_merger(world *w)
{
    size_t before = history_count(w->history, "merge", NULL), count;
    history_line *lines;
    pid_t merger = 0;

    for (int i = 0; i < 300 && !merger; i++) {
        nap();
        lines = history_read(w->history, &count);
        if (history_count(w->history, "merge", NULL) > before)
            for (size_t k = 0; k < count; k++)
                merger = strcmp(lines[k].what, "merge") == 0 ? lines[k].pid : merger;
        free(lines);
    }
    for (size_t i = 0; i < SERVERS && merger; i++) {
        if (w->pids[i] != merger)
            continue;
        process_end(merger, SIGKILL);
        w->pids[i] = start(w);
        return true;
    }
    return false;
}

/* ---- judging ---- */

/* Which merged task each payload was in: the first, and whether there was another. */
typedef struct verdict {
    char in[TASKS][40];
    size_t ran, twice;
} verdict;

static void read_parts(const world *w, verdict *out)
{
    size_t count;
    history_line *lines = history_read(w->history, &count);

    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < count; i++) {
        const char *at = strchr(lines[i].id, '@');
        int number = atoi(lines[i].id + 1);

        if (strcmp(lines[i].what, "part") != 0 || !at)
            continue;
        assert_in_range(number, 0, TASKS - 1);
        if (!out->in[number][0]) {
            snprintf(out->in[number], sizeof out->in[number], "%s", at + 1);
            out->ran++;
        } else if (strcmp(out->in[number], at + 1) != 0) {
            print_message("t%d is in %s and in %s\n", number, out->in[number], at + 1);
            out->twice++;
        }
    }
    free(lines);
}

/* A merged task that ran twice was named: its worker was killed. */
static void expect_causes(const world *w)
{
    size_t count;
    history_line *lines = history_read(w->history, &count);

    for (size_t i = 0; i < count; i++) {
        size_t starts;

        if (strcmp(lines[i].what, "start") != 0)
            continue;
        starts = history_count(w->history, "start", lines[i].id);
        if (starts > 1 && history_count(w->history, "cause", lines[i].id) + 1 < starts)
            fail_msg("%s was started %zu times, and nobody said why", lines[i].id,
                     starts);
    }
    free(lines);
}

static bool logged(const world *w, const char *text)
{
    FILE *log = fopen(w->log, "r");
    char line[2048];
    bool found = false;

    assert_non_null(log);
    while (!found && fgets(line, sizeof line, log))
        found = strstr(line, text) != NULL;
    fclose(log);
    return found;
}

static void report_finding(const cronq_finding *finding, void *arg)
{
    print_message("%s %s: %s\n", cronq_finding_kind_name(finding->kind), finding->id,
                  finding->text);
    ++*(size_t *)arg;
}

static size_t count_left(cronq_inspector *inspector)
{
    cronq_queue_info info = { .struct_size = sizeof info };

    assert_int_equal(cronq_inspector_queue_info(inspector, "default", &info, NULL),
                     CRONQ_OK);
    return info.aggregating_count + info.pending_count + info.active_count +
           info.retry_count + info.archived_count + info.group_count;
}

/* What a killed server had run to its end and not yet told runs again. */
static void await_an_empty_and_sound_queue(const world *w)
{
    cronq_inspector *inspector;
    size_t findings = 0;

    assert_int_equal(cronq_inspector_new(w->uri, NULL, &inspector, NULL), CRONQ_OK);
    for (int waited = 0; count_left(inspector) && waited < PATIENCE_MS; waited += 10)
        nap();
    assert_int_equal(count_left(inspector), 0);
    assert_int_equal(cronq_inspector_check(inspector, "default", false, report_finding,
                                           &findings, NULL),
                     CRONQ_OK);
    assert_int_equal(findings, 0);
    cronq_inspector_free(inspector);
}

static void merge_under_kills(world *w)
{
    int kills = getenv("CRONQ_FULL") ? KILLS_FULL : KILLS, killed = 0;
    verdict *v = malloc(sizeof *v);

    assert_non_null(v);
    push_all(w);
    for (size_t i = 0; i < SERVERS; i++)
        w->pids[i] = start(w);
    while (killed < kills && kill_a_merger(w))
        killed++;
    assert_true(killed > 0);
    read_parts(w, v);
    for (int waited = 0; v->ran < TASKS && waited < PATIENCE_MS; waited += 100) {
        for (int i = 0; i < 10; i++)
            nap();
        read_parts(w, v);
    }
    print_message("%d kills, %zu merges begun, %zu merged tasks run\n", killed,
                  history_count(w->history, "merge", NULL),
                  history_count(w->history, "end", NULL));
    await_an_empty_and_sound_queue(w);
    for (size_t i = 0; i < SERVERS; i++)
        assert_int_equal(process_end(w->pids[i], SIGTERM), 0);
    read_parts(w, v);
    assert_int_equal(v->ran, TASKS);
    assert_int_equal(v->twice, 0);
    free(v);
    expect_causes(w);
    assert_true(logged(w, "stale sets of queue default back to their groups"));
}

static void begin(world *w)
{
    memset(w, 0, sizeof *w);
    scratch_new(w->scratch);
    snprintf(w->history, sizeof w->history, "%s/history", w->scratch);
    snprintf(w->log, sizeof w->log, "%s/log", w->scratch);
    close(open(w->history, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
}

static void each_task_is_merged_once_on_redis(void **state)
{
    world w;

    (void)state;
    begin(&w);
    w.redis = redis_server_start(NULL);
    snprintf(w.uri, sizeof w.uri, "%s", redis_server_uri(w.redis));
    merge_under_kills(&w);
    redis_server_stop(w.redis);
    scratch_remove(w.scratch);
}

static void each_task_is_merged_once_in_a_file(void **state)
{
    world w;

    (void)state;
    begin(&w);
    snprintf(w.uri, sizeof w.uri, "sqlite:%s/db", w.scratch);
    merge_under_kills(&w);
    scratch_remove(w.scratch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_task_is_merged_once_on_redis),
        cmocka_unit_test(each_task_is_merged_once_in_a_file),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
