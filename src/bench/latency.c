/* SPDX-License-Identifier: MIT */
/* latency.c - how soon an idle worker runs what is pushed or falls due, and what waiting
 * costs. */
#include "base/clock.h"
#include "base/error.h"
#include "base/random.h"
#include "base/thread.h"
#include "bench/bench.h"

#include <cronq/client.h>
#include <cronq/server.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define IDLE_LOOK_MS 2000
#define PATIENCE_MS  30000
#define COUNT_LIMIT  100000

/* A distribution in microseconds. */
struct distribution {
    double p50_us, p99_us, max_us;
};

struct latencies {
    struct distribution pick_up, lateness;
    double idle_cpu_percent, idle_private_dirty_mib;
};

/* Handlers note when they ran; the payload says which sample it is. */
struct samples {
    double *values_us;
    uint32_t count;
    bool due; /* value: after the whole second; else: after the moment in begun_ns */
    int64_t begun_ns;
    cq_event ran;
};

static cronq_status note(cronq_attempt *attempt, void *arg)
{
    struct samples *samples = arg;
    int64_t mono_ns = cq_mono_ns(), wall_ns = cq_wall_ns();
    cronq_bytes payload = cronq_attempt_payload(attempt);
    struct {
        uint32_t index;
        int64_t due_s;
    } sent;

    if (payload.len != sizeof sent)
        return cronq_attempt_skip_retry(attempt, "a foreign payload");
    memcpy(&sent, payload.data, sizeof sent);
    if (sent.index < samples->count)
        samples->values_us[sent.index] =
            samples->due ? (double)(wall_ns - sent.due_s * CQ_NS_PER_S) / 1000.0
                         : (double)(mono_ns - samples->begun_ns) / 1000.0;
    cq_event_set(&samples->ran);
    return CRONQ_OK;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static void summarise(const struct samples *samples, struct distribution *out)
{
    uint32_t n = samples->count;

    *out = (struct distribution){ 0 };
    if (n == 0)
        return;
    qsort(samples->values_us, n, sizeof samples->values_us[0], compare);
    out->p50_us = samples->values_us[n / 2];
    out->p99_us = samples->values_us[(uint64_t)n * 99 / 100];
    out->max_us = samples->values_us[n - 1];
}

static cronq_status push_sample(cronq_client *client, const char *queue, uint32_t index,
                                int64_t due_s, cronq_error *err)
{
    struct {
        uint32_t index;
        int64_t due_s;
    } sent;
    cronq_task task = { .struct_size = sizeof task, .type = "bench", .queue = queue };

    memset(&sent, 0, sizeof sent);
    sent.index = index;
    sent.due_s = due_s;
    task.payload = (cronq_bytes){ &sent, sizeof sent };
    task.process_at_ms = due_s * CQ_MS_PER_S;
    return cronq_client_push(client, &task, NULL, err);
}

static cronq_status measure_pick_up(struct samples *samples, cronq_client *client,
                                    const char *queue, cronq_error *err)
{
    cq_random random;

    cq_random_init(&random);
    for (uint32_t i = 0; i < samples->count; i++) {
        cronq_status status;

        cq_sleep_ms(5 + (int64_t)cq_random_below(&random, 10)); /* it is idle again */
        samples->begun_ns = cq_mono_ns();
        status = push_sample(client, queue, i, 0, err);
        if (status)
            return status;
        if (!cq_event_wait(&samples->ran, PATIENCE_MS))
            return cq_fail(err, CRONQ_ETIMEDOUT, "a pushed task did not run in %d ms",
                           PATIENCE_MS);
        cq_event_clear(&samples->ran);
    }
    return CRONQ_OK;
}

static cronq_status measure_lateness(struct samples *samples, cronq_client *client,
                                     const char *queue, cronq_error *err)
{
    int64_t now_s = cq_wall_ns() / CQ_NS_PER_S;

    /* A few a second, from the second after next. */
    for (uint32_t i = 0; i < samples->count; i++) {
        cronq_status status = push_sample(client, queue, i, now_s + 2 + i / 4, err);

        if (status)
            return status;
    }
    cq_sleep_ms((int64_t)(samples->count / 4 + 4) * CQ_MS_PER_S);
    return CRONQ_OK;
}

static double private_dirty_mib(void)
{
    char line[256];
    long kib = 0;
    FILE *file = fopen("/proc/self/smaps_rollup", "r");

    if (!file)
        return -1;
    while (fgets(line, sizeof line, file))
        if (sscanf(line, "Private_Dirty: %ld", &kib) == 1)
            break;
    fclose(file);
    return (double)kib / 1024.0;
}

static void measure_idleness(struct latencies *out)
{
    double before_us;

    cq_sleep_ms(500);
    before_us = cq_bench_own_cpu_us();
    cq_sleep_ms(IDLE_LOOK_MS);
    out->idle_cpu_percent = (cq_bench_own_cpu_us() - before_us) / 10.0 / IDLE_LOOK_MS;
    out->idle_private_dirty_mib = private_dirty_mib();
}

/* One server with one kind of sample, from start to stop. */
static cronq_status with_server(const cq_bench_options *options, struct samples *samples,
                                struct latencies *out, cronq_error *err)
{
    char name[64];
    cronq_client *client = NULL;
    cronq_server *server = NULL;
    cronq_status status =
        cq_bench_serve(options, cq_bench_queue(name), note, samples, &server, err);

    if (!status && !samples->due)
        measure_idleness(out);
    if (!status)
        status = cronq_client_new(options->uri, NULL, &client, err);
    if (!status && samples->due)
        status = measure_lateness(samples, client, name, err);
    else if (!status)
        status = measure_pick_up(samples, client, name, err);
    cronq_client_free(client);
    cronq_server_free(server);
    return status;
}

static cronq_status take_samples(const cq_bench_options *options, uint32_t count,
                                 bool due, struct latencies *out, cronq_error *err)
{
    struct samples samples = { .count = count, .due = due };
    cronq_status status;

    if (count > COUNT_LIMIT)
        return cq_fail(err, CRONQ_EINVAL, "count: %u is more than %d", count,
                       COUNT_LIMIT);
    samples.values_us = malloc((count + 1) * sizeof samples.values_us[0]);
    if (!samples.values_us)
        return cq_fail_nomem(err);
    for (uint32_t i = 0; i < count; i++)
        samples.values_us[i] = PATIENCE_MS * 1000.0; /* what never ran shows */
    status = cq_event_init(&samples.ran, err);
    if (!status)
        status = with_server(options, &samples, out, err);
    if (!status)
        summarise(&samples, due ? &out->lateness : &out->pick_up);
    cq_event_release(&samples.ran);
    free(samples.values_us);
    return status;
}

static void add_rows(const struct latencies *found, bool embedded, uint32_t pick_up_count,
                     uint32_t due_count, cq_bench_report *report)
{
    const struct {
        const char *section;
        cq_bench_series series;
        double value;
        bool measured;
    } rows[] = {
        { "pick_up",
          { .key = "p50",
            .name = "idle worker, p50",
            .unit = "ms",
            .wanted = embedded ? 0.1 : 0.3 },
          found->pick_up.p50_us / 1000,
          pick_up_count > 0 },
        { "pick_up",
          { .key = "p99",
            .name = "idle worker, p99",
            .unit = "ms",
            .wanted = embedded ? 0.5 : 2 },
          found->pick_up.p99_us / 1000,
          pick_up_count > 0 },
        { "pick_up",
          { .key = "max", .name = "idle worker, worst", .unit = "ms" },
          found->pick_up.max_us / 1000,
          pick_up_count > 0 },
        { "due",
          { .key = "p50", .name = "due task, after its second, p50", .unit = "ms" },
          found->lateness.p50_us / 1000,
          due_count > 0 },
        { "due",
          { .key = "p99",
            .name = "due task, after its second, p99",
            .unit = "ms",
            .wanted = 20 },
          found->lateness.p99_us / 1000,
          due_count > 0 },
        { "due",
          { .key = "max", .name = "due task, after its second, worst", .unit = "ms" },
          found->lateness.max_us / 1000,
          due_count > 0 },
        { "idle",
          { .key = "cpu", .name = "CPU of a core", .unit = "%", .wanted = 0.3 },
          found->idle_cpu_percent,
          true },
        { "idle",
          { .key = "memory", .name = "private dirty memory", .unit = "MiB", .wanted = 4 },
          found->idle_private_dirty_mib,
          true },
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        cq_bench_series series = rows[i].series;

        series.at_most = true;
        if (rows[i].measured)
            cq_bench_add(report, rows[i].section, &series, rows[i].value);
    }
}

cronq_status cq_bench_latency(const cq_bench_options *options, uint32_t pick_up_count,
                              uint32_t due_count, cq_bench_report *report,
                              cronq_error *err)
{
    struct latencies found = { 0 };
    char name[64];
    cronq_status status = take_samples(options, pick_up_count, false, &found, err);

    if (!status)
        status = take_samples(options, due_count, true, &found, err);
    cq_bench_empty(options->uri, cq_bench_queue(name), NULL);
    if (!status)
        add_rows(&found, cq_bench_is_sqlite(options->uri), pick_up_count, due_count,
                 report);
    return status;
}
