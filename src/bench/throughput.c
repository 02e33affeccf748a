/* SPDX-License-Identifier: MIT */
/* throughput.c - no-op tasks a second from a full queue, beside the bare loop. */
#include "base/clock.h"
#include "base/error.h"
#include "bench/bench.h"

#include <cronq/server.h>
#include <stdatomic.h>

#define ROUNDS_LIMIT 99

enum { BARE, OURS, MEASURED, NOT_AHEAD, RATE_COUNT };

/* From the first handler's call to the last one's. As in the bare loop, connecting is not
 * counted, nor the outcomes of the last batch. */
struct run {
    uint32_t task_count;
    atomic_uint done;
    _Atomic int64_t first_ns, last_ns;
};

static cronq_status count_task(cronq_attempt *attempt, void *arg)
{
    struct run *run = arg;
    uint32_t done = atomic_fetch_add_explicit(&run->done, 1, memory_order_relaxed);

    (void)attempt;
    if (done == 0)
        atomic_store(&run->first_ns, cq_mono_ns());
    if (done + 1 == run->task_count)
        atomic_store(&run->last_ns, cq_mono_ns());
    return CRONQ_OK;
}

static cronq_status run_server(const cq_bench_options *options, const char *queue,
                               bool take_ahead, cronq_metrics *metrics, double *rate,
                               cronq_error *err)
{
    struct run run = { .task_count = options->task_count };
    cronq_queue queues[] = { { queue, 1 } };
    cronq_server *server;
    cronq_status status = cronq_server_new(
        options->uri,
        CRONQ_SERVER_OPTIONS(.queues = queues, .queue_count = 1,
                             .concurrency = options->concurrency,
                             .no_take_ahead = !take_ahead, .metrics = metrics),
        &server, err);

    if (status)
        return status;
    status = cronq_server_add(server, "bench", count_task, &run, NULL, err);
    if (!status)
        status = cronq_server_start(server, err);
    while (!status && !atomic_load(&run.last_ns))
        cq_sleep_ms(1);
    if (!status)
        status = cronq_server_stop(server, err);
    *rate = (double)options->task_count * (double)CQ_NS_PER_S /
            (double)(run.last_ns - run.first_ns + 1);
    cronq_server_free(server);
    return status;
}

static cronq_status run_one(const cq_bench_options *options, const char *queue, int what,
                            double *rate, cronq_error *err)
{
    cronq_metrics *metrics = NULL;
    cronq_status status = cq_bench_fill(options, queue, err);

    if (!status && what == MEASURED)
        status = cronq_metrics_new(&metrics, err);
    if (!status && what == BARE)
        status = (cq_bench_is_sqlite(options->uri) ? cq_bare_sqlite : cq_bare_redis)(
            options->uri, queue, options->task_count, rate, err);
    else if (!status)
        status = run_server(options, queue, what != NOT_AHEAD, metrics, rate, err);
    cronq_metrics_free(metrics);
    return status;
}

static cronq_status one_round(const cq_bench_options *options, double rates[RATE_COUNT],
                              cronq_error *err)
{
    char name[64];
    const char *queue = cq_bench_queue(name);
    cronq_status status = CRONQ_OK;

    for (int what = BARE; what < RATE_COUNT && !status; what++) {
        status = run_one(options, queue, what, &rates[what], err);
        cq_bench_empty(options->uri, queue, NULL);
    }
    return status;
}

cronq_status cq_bench_throughput_run(const cq_bench_options *options,
                                     cq_bench_throughput *out, cronq_error *err)
{
    double rates[RATE_COUNT][ROUNDS_LIMIT], ratios[3][ROUNDS_LIMIT];
    uint32_t rounds = options->rounds;

    if (rounds == 0 || rounds > ROUNDS_LIMIT)
        return cq_fail(err, CRONQ_EINVAL, "rounds: %u is not between 1 and %d", rounds,
                       ROUNDS_LIMIT);
    for (uint32_t i = 0; i < rounds; i++) {
        double round[RATE_COUNT];
        cronq_status status = one_round(options, round, err);

        if (status)
            return status;
        for (int what = BARE; what < RATE_COUNT; what++)
            rates[what][i] = round[what];
        ratios[0][i] = round[OURS] / round[BARE];
        ratios[1][i] = round[NOT_AHEAD] / round[BARE];
        ratios[2][i] = round[MEASURED] / round[OURS];
    }
    *out = (cq_bench_throughput){
        .bare = cq_bench_spread_of(rates[BARE], rounds),
        .ours = cq_bench_spread_of(rates[OURS], rounds),
        .not_ahead = cq_bench_spread_of(rates[NOT_AHEAD], rounds),
        .measured = cq_bench_spread_of(rates[MEASURED], rounds),
        .ratio = cq_bench_spread_of(ratios[0], rounds),
        .not_ahead_ratio = cq_bench_spread_of(ratios[1], rounds),
        .measured_ratio = cq_bench_spread_of(ratios[2], rounds),
    };
    return CRONQ_OK;
}
