/* SPDX-License-Identifier: MIT */
/* suite.c - rounds in which series take turns, and what is measured around each run. */
#include "base/clock.h"
#include "base/error.h"
#include "bench/bench.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define ROUNDS_LIMIT 99
#define SERIES_LIMIT 24

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

cq_bench_spread cq_bench_spread_of(double *values, size_t count)
{
    qsort(values, count, sizeof values[0], compare);
    return (cq_bench_spread){ values[0], values[count / 2], values[count - 1] };
}

bool cq_bench_wanted(const cq_bench_options *options, const char *section,
                     const char *key)
{
    const char *only = options->only, *dot = only ? strchr(only, '.') : NULL;
    size_t len;

    if (!only)
        return true;
    len = dot ? (size_t)(dot - only) : strlen(only);
    if (strlen(section) != len || strncmp(only, section, len) != 0)
        return false;
    return !dot || !key || strcmp(dot + 1, key) == 0;
}

/* ---- costs ---- */

double cq_bench_own_cpu_us(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

/* The number behind a name in the text of INFO. */
static double info_number(cq_str text, const char *name)
{
    const char *at = strstr(text.data, name);

    return at ? strtod(at + strlen(name), NULL) : 0;
}

/* CPU time of the store that is a process of its own; negative when it is not. */
static double store_cpu_us(const char *uri)
{
    cq_conn *conn = NULL;
    cq_arena arena;
    cq_reply *reply;
    double us = -1;

    if (cq_bench_is_sqlite(uri))
        return -1;
    cq_arena_init(&arena, 1 << 20);
    if (!cq_bench_connect(uri, "cronq-bench", &conn, NULL) &&
        !cq_conn_call(conn, &arena, &reply, NULL, 2, "INFO", "cpu") &&
        reply->type == CQ_REPLY_STRING)
        us = (info_number(reply->text, "used_cpu_sys:") +
              info_number(reply->text, "used_cpu_user:")) *
             1e6;
    cq_conn_free(conn);
    cq_arena_release(&arena);
    return us;
}

/* Defined where allocations are counted: by a library put before the allocator's. */
extern uint64_t cronq_bench_allocations(void) __attribute__((weak));

static double allocation_count(void)
{
    return cronq_bench_allocations ? (double)cronq_bench_allocations() : -1;
}

void cq_bench_meter_start(cq_bench_meter *meter, const char *uri)
{
    meter->store_us = store_cpu_us(uri);
    meter->allocations = allocation_count();
    meter->own_us = cq_bench_own_cpu_us();
    meter->begun_ns = cq_mono_ns();
}

void cq_bench_meter_costs(const cq_bench_meter *meter, const char *uri, double count,
                          cq_bench_sample *out)
{
    out->own_us = (cq_bench_own_cpu_us() - meter->own_us) / count;
    out->allocations =
        meter->allocations < 0 ? -1 : (allocation_count() - meter->allocations) / count;
    out->store_us =
        meter->store_us < 0 ? -1 : (store_cpu_us(uri) - meter->store_us) / count;
}

void cq_bench_meter_stop(const cq_bench_meter *meter, const char *uri, double count,
                         cq_bench_sample *out)
{
    int64_t took_ns = cq_mono_ns() - meter->begun_ns;

    cq_bench_meter_costs(meter, uri, count, out);
    out->value = count * (double)CQ_NS_PER_S / (double)(took_ns + 1);
}

/* ---- rounds ---- */

/* What the rounds of one series gave. */
typedef struct results {
    double value[ROUNDS_LIMIT], own_us[ROUNDS_LIMIT], store_us[ROUNDS_LIMIT],
        allocations[ROUNDS_LIMIT];
} results;

static cq_bench_row *new_row(cq_bench_report *report, const char *section,
                             const cq_bench_series *series)
{
    cq_bench_row *row = &report->rows[report->count];

    if (report->count == CQ_BENCH_ROWS)
        return NULL;
    report->count++;
    *row = (cq_bench_row){ .section = section,
                           .key = series->key,
                           .name = series->name,
                           .unit = series->unit,
                           .wanted = series->wanted,
                           .at_most = series->at_most,
                           .own_us = -1,
                           .store_us = -1,
                           .allocations = -1 };
    return row;
}

void cq_bench_add(cq_bench_report *report, const char *section,
                  const cq_bench_series *series, double value)
{
    cq_bench_row *row = new_row(report, section, series);

    if (row)
        row->value = (cq_bench_spread){ value, value, value };
}

static const results *find(const cq_bench_series *series, const results *all,
                           size_t count, const char *key)
{
    for (size_t i = 0; key && i < count; i++)
        if (strcmp(series[i].key, key) == 0)
            return &all[i];
    return NULL;
}

/* Ratios are formed before spreads, which sort. */
static void make_row(const cq_bench_options *options, const char *section,
                     const cq_bench_series *series, size_t index, size_t count,
                     const results *all, cq_bench_report *report)
{
    const results *other = find(series, all, count, series[index].beside);
    results mine = all[index];
    cq_bench_row *row =
        mine.value[0] > 0 ? new_row(report, section, &series[index]) : NULL;
    double ratios[ROUNDS_LIMIT];
    uint32_t rounds = options->rounds;

    if (!row)
        return;
    for (uint32_t i = 0; other && i < rounds; i++)
        ratios[i] = other->value[i] > 0 ? mine.value[i] / other->value[i] : 0;
    if (other && other->value[0] > 0) {
        row->beside = series[index].beside;
        row->ratio = cq_bench_spread_of(ratios, rounds);
    }
    row->value = cq_bench_spread_of(mine.value, rounds);
    row->own_us = cq_bench_spread_of(mine.own_us, rounds).median;
    row->store_us = cq_bench_spread_of(mine.store_us, rounds).median;
    row->allocations = cq_bench_spread_of(mine.allocations, rounds).median;
}

/* A series that is not asked for runs when one that is asked for is beside it. */
static bool is_needed(const cq_bench_options *options, const char *section,
                      const cq_bench_series *series, size_t count, size_t index)
{
    if (cq_bench_wanted(options, section, series[index].key))
        return true;
    for (size_t i = 0; i < count; i++)
        if (series[i].beside && strcmp(series[i].beside, series[index].key) == 0 &&
            cq_bench_wanted(options, section, series[i].key))
            return true;
    return false;
}

static cronq_status run_round(const cq_bench_options *options, const char *section,
                              const cq_bench_series *series, size_t count, uint32_t round,
                              results *all, cronq_error *err)
{
    for (size_t i = 0; i < count; i++) {
        cq_bench_sample sample = { .own_us = -1, .store_us = -1, .allocations = -1 };
        cronq_status status;

        if (!is_needed(options, section, series, count, i))
            continue;
        status = series[i].run(options, &series[i], &sample, err);
        if (status)
            return status;
        all[i].value[round] = sample.value;
        all[i].own_us[round] = sample.own_us;
        all[i].store_us[round] = sample.store_us;
        all[i].allocations[round] = sample.allocations;
    }
    return CRONQ_OK;
}

cronq_status cq_bench_rounds(const cq_bench_options *options, const char *section,
                             const cq_bench_series *series, size_t count,
                             cq_bench_report *report, cronq_error *err)
{
    cronq_status status = CRONQ_OK;
    results *all;

    if (options->rounds == 0 || options->rounds > ROUNDS_LIMIT)
        return cq_fail(err, CRONQ_EINVAL, "rounds: %u is not between 1 and %d",
                       options->rounds, ROUNDS_LIMIT);
    if (count > SERIES_LIMIT || !cq_bench_wanted(options, section, NULL))
        return CRONQ_OK;
    all = calloc(count, sizeof *all);
    if (!all)
        return cq_fail_nomem(err);
    for (uint32_t round = 0; !status && round < options->rounds; round++)
        status = run_round(options, section, series, count, round, all, err);
    for (size_t i = 0; !status && i < count; i++)
        if (is_needed(options, section, series, count, i))
            make_row(options, section, series, i, count, all, report);
    free(all);
    return status;
}
