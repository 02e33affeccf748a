/* SPDX-License-Identifier: MIT */
/* cron_test.c - several processes with the same entries: one run a tick. */
#include "support/process.h"
#include "support/redis_server.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define PROCESSES 3
#define SHORT_S   8  /* make test */
#define FULL_S    30 /* make check-all, which sets CRONQ_FULL */
#define LATE_MS   500

static int compare_ticks(const void *a, const void *b)
{
    long long x = *(const long long *)a, y = *(const long long *)b;

    return x < y ? -1 : x > y;
}

/* The seconds of the runs of an entry, ascending; checks that each started on time. */
static long long *ticks_of(const char *history, const char *entry, size_t *count)
{
    size_t line_count, found = 0, entry_len = strlen(entry);
    history_line *lines = history_read(history, &line_count);
    long long *ticks = calloc(line_count + 1, sizeof *ticks);

    assert_non_null(ticks);
    for (size_t i = 0; i < line_count; i++) {
        if (strcmp(lines[i].what, "start") || strncmp(lines[i].id, entry, entry_len) ||
            lines[i].id[entry_len] != ':')
            continue;
        ticks[found] = atoll(lines[i].id + entry_len + 1);
        assert_in_range(lines[i].at_ms - ticks[found] * 1000, 0, LATE_MS);
        found++;
    }
    free(lines);
    qsort(ticks, found, sizeof *ticks, compare_ticks);
    *count = found;
    return ticks;
}

static void check_every(const char *history, const char *entry, long long period_s,
                        size_t least)
{
    size_t count;
    long long *ticks = ticks_of(history, entry, &count);

    print_message("%s: %zu runs\n", entry, count);
    assert_true(count >= least);
    for (size_t i = 1; i < count; i++)
        assert_int_equal(ticks[i] - ticks[i - 1], period_s);
    free(ticks);
}

static void a_tick_is_one_run_however_many_schedulers(void **state)
{
    redis_server *redis = redis_server_start(NULL);
    char history[] = "/tmp/cronq-history-XXXXXX";
    int fd = mkstemp(history), seconds = getenv("CRONQ_FULL") ? FULL_S : SHORT_S;
    const char *const argv[] = { TEST_WORKER,   redis_server_uri(redis),
                                 history,       "cron=* * * * * *",
                                 "name=second", "cron2=@every 2s",
                                 "name2=two",   NULL };
    pid_t pids[PROCESSES];

    (void)state;
    assert_true(fd >= 0);
    close(fd);
    for (int i = 0; i < PROCESSES; i++) {
        pids[i] = process_start(argv);
        usleep(400000);
    }
    sleep((unsigned)seconds);
    for (int i = 0; i < PROCESSES; i++)
        assert_int_equal(process_end(pids[i], SIGTERM), 0);
    check_every(history, "second", 1, (size_t)seconds - 1);
    check_every(history, "two", 2, (size_t)seconds / 2 - 1);
    redis_server_stop(redis);
    unlink(history);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tick_is_one_run_however_many_schedulers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
