/* SPDX-License-Identifier: MIT */
/* ticks.c - how late after its second the task of a cron entry starts. */
#include "base/clock.h"
#include "base/error.h"
#include "bench/bench.h"

#include <cronq/scheduler.h>
#include <cronq/server.h>
#include <stdatomic.h>
#include <stdlib.h>

struct ticks {
    double *late_ms;
    uint32_t room;
    atomic_uint count;
};

static cronq_status note(cronq_attempt *attempt, void *arg)
{
    struct ticks *ticks = arg;
    uint32_t at = atomic_fetch_add(&ticks->count, 1);

    (void)attempt;
    if (at < ticks->room)
        ticks->late_ms[at] = (double)(cq_wall_ns() % CQ_NS_PER_S) / (double)CQ_NS_PER_MS;
    return CRONQ_OK;
}

static cronq_status tick(const cq_bench_options *options, const char *queue,
                         struct ticks *ticks, cronq_error *err)
{
    cronq_task task = { .struct_size = sizeof task, .queue = queue };
    cronq_scheduler *scheduler = NULL;
    cronq_server *server = NULL;
    cronq_status status = cq_bench_serve(options, queue, note, ticks, &server, err);

    if (!status)
        status = cronq_scheduler_new(options->uri, NULL, &scheduler, err);
    if (!status)
        status = cronq_scheduler_add(scheduler, "* * * * * *", "bench",
                                     CRONQ_ENTRY_OPTIONS(.task = &task), NULL, err);
    if (!status)
        status = cronq_scheduler_start(scheduler, err);
    if (!status)
        cq_sleep_ms((int64_t)(ticks->room + 1) * CQ_MS_PER_S);
    cronq_scheduler_free(scheduler);
    cronq_server_free(server);
    return status;
}

cronq_status cq_bench_ticks(const cq_bench_options *options, uint32_t count,
                            cq_bench_report *report, cronq_error *err)
{
    static const cq_bench_series series[] = {
        { .key = "p50", .name = "tick of an entry, p50", .unit = "ms" },
        { .key = "max", .name = "tick of an entry, worst", .unit = "ms" },
    };
    struct ticks ticks = { .room = count };
    char name[64];
    const char *queue = cq_bench_queue(name);
    cq_bench_spread spread;
    cronq_status status;

    if (count == 0)
        return CRONQ_OK;
    ticks.late_ms = calloc(count, sizeof *ticks.late_ms);
    if (!ticks.late_ms)
        return cq_fail_nomem(err);
    status = tick(options, queue, &ticks, err);
    if (!status && atomic_load(&ticks.count) == 0)
        status = cq_fail(err, CRONQ_ETIMEDOUT, "no tick in %u s", count + 1);
    if (!status) {
        if (atomic_load(&ticks.count) < count)
            count = atomic_load(&ticks.count);
        spread = cq_bench_spread_of(ticks.late_ms, count);
        cq_bench_add(report, "ticks", &series[0], spread.median);
        cq_bench_add(report, "ticks", &series[1], spread.highest);
    }
    free(ticks.late_ms);
    cq_bench_empty(options->uri, queue, NULL);
    return status;
}
