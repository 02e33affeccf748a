/* SPDX-License-Identifier: MIT */
/* main.c - runs rows of the table and prints what came of them.
 *
 * chaos [--short | --soak MINUTES [SEED] | ROW...] */
#include "chaos/chaos.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define RESULT_LIMIT 4096

static chaos_result results[RESULT_LIMIT];
static size_t result_count;

static void run_row(void **state)
{
    chaos_result *result = &results[result_count++];

    *result = (chaos_result){ .row = *state, .cpu_percent = -1 };
    snprintf(result->why, sizeof result->why, "did not come to its end");
    chaos_run(*state, result);
    if (!result->passed)
        fail_msg("%s: %s", result->row->name, result->why);
}

static int abandon(void **state)
{
    (void)state;
    chaos_abandon();
    return 0;
}

static void print_result(const chaos_result *r)
{
    char recovery[32], cpu[16] = "";

    if (r->recovery_ms < 0)
        snprintf(recovery, sizeof recovery, "never");
    else
        snprintf(recovery, sizeof recovery, "%.2f", (double)r->recovery_ms / 1000);
    if (r->cpu_percent >= 0)
        snprintf(cpu, sizeof cpu, "%d %%", r->cpu_percent);
    printf("%-10s %-32s %8zu %6zu %6zu/%zu %5zu %8s %6.1f %5s  %s %s\n", r->row->name,
           r->row->what, r->verdict.accepted, r->verdict.done, r->verdict.caused,
           r->verdict.uncaused, r->verdict.lost, recovery,
           (double)r->row->recovery_ms / 1000, cpu, r->passed ? "pass" : "FAIL",
           r->passed ? r->note : r->why);
}

static void print_results(void)
{
    printf("\n%-10s %-32s %8s %6s %8s %5s %8s %6s %5s\n", "fault", "", "accepted", "done",
           "again", "lost", "recovery", "bound", "cpu");
    for (size_t i = 0; i < result_count; i++)
        print_result(&results[i]);
    printf("again: runs too many, with/without a logged cause; recovery and bound in "
           "seconds\n");
}

/* cmocka's macro wants an array whose length it sees. */
static int run_one(const chaos_row *row)
{
    const struct CMUnitTest test[] = {
        { row->name, run_row, NULL, abandon, (void *)(uintptr_t)row },
    };

    return cmocka_run_group_tests_name(row->what, test, NULL, NULL);
}

static bool is_wanted(const chaos_row *row, int argc, char **argv)
{
    if (argc < 2)
        return true;
    if (strcmp(argv[1], "--short") == 0)
        return row->flags & CHAOS_SHORT;
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], row->name) == 0)
            return true;
    return false;
}

/* Rows at random until the time is up. */
static int soak(int minutes, unsigned seed)
{
    time_t end = time(NULL) + (time_t)minutes * 60;
    int failed = 0;

    printf("seed %u\n", seed);
    while (time(NULL) < end && result_count < RESULT_LIMIT)
        failed += run_one(&chaos_rows[(size_t)rand_r(&seed) % chaos_row_count]);
    return failed;
}

int main(int argc, char **argv)
{
    int failed = 0;

    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc > 2 && strcmp(argv[1], "--soak") == 0) {
        failed = soak(atoi(argv[2]), argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10)
                                              : (unsigned)time(NULL));
    } else {
        for (size_t i = 0; i < chaos_row_count; i++)
            if (is_wanted(&chaos_rows[i], argc, argv))
                failed += run_one(&chaos_rows[i]);
    }
    print_results();
    return failed || result_count == 0;
}
