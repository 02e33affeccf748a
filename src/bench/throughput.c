/* SPDX-License-Identifier: MIT */
/* throughput.c - no-op tasks a second from a full queue, beside the bare loop. */
#include "base/clock.h"
#include "base/error.h"
#include "bench/bench.h"

#include <cronq/server.h>
#include <stdatomic.h>

#define ROUNDS_LIMIT 99

static cronq_status count_task(cronq_attempt *attempt, void *arg)
{
    (void)attempt;
    atomic_fetch_add_explicit((atomic_uint *)arg, 1, memory_order_relaxed);
    return CRONQ_OK;
}

/* From the start of a server until it has run them all; outcomes of the last tasks are
 * written within the stop, which is measured too. */
static cronq_status run_server(const cq_bench_options *options, const char *queue,
                               bool take_ahead, double *rate, cronq_error *err)
{
    cronq_queue queues[] = { { queue, 1 } };
    atomic_uint done = 0;
    cronq_server *server;
    int64_t begun_ns;
    cronq_status status =
        cronq_server_new(options->uri,
                         CRONQ_SERVER_OPTIONS(.queues = queues, .queue_count = 1,
                                              .concurrency = options->concurrency,
                                              .no_take_ahead = !take_ahead),
                         &server, err);

    if (status)
        return status;
    status = cronq_server_add(server, "bench", count_task, &done, NULL, err);
    begun_ns = cq_mono_ns();
    if (!status)
        status = cronq_server_start(server, err);
    while (!status && atomic_load(&done) < options->task_count)
        cq_sleep_ms(1);
    if (!status)
        status = cronq_server_stop(server, err);
    *rate = (double)options->task_count * (double)CQ_NS_PER_S /
            (double)(cq_mono_ns() - begun_ns);
    cronq_server_free(server);
    return status;
}

static cronq_status one_round(const cq_bench_options *options, double *bare, double *ours,
                              double *not_ahead, cronq_error *err)
{
    char name[64];
    const char *queue = cq_bench_queue(name);
    cronq_status status = cq_bench_fill(options, queue, err);

    if (!status)
        status = cq_bare_redis(options->uri, queue, options->task_count, bare, err);
    for (int ahead = 1; !status && ahead >= 0; ahead--) {
        status = cq_bench_empty(options->uri, queue, err);
        if (!status)
            status = cq_bench_fill(options, queue, err);
        if (!status)
            status = run_server(options, queue, ahead, ahead ? ours : not_ahead, err);
    }
    cq_bench_empty(options->uri, queue, NULL);
    return status;
}

cronq_status cq_bench_throughput_run(const cq_bench_options *options,
                                     cq_bench_throughput *out, cronq_error *err)
{
    double rates[3][ROUNDS_LIMIT], ratios[2][ROUNDS_LIMIT];
    uint32_t rounds = options->rounds;

    if (rounds == 0 || rounds > ROUNDS_LIMIT)
        return cq_fail(err, CRONQ_EINVAL, "rounds: %u is not between 1 and %d", rounds,
                       ROUNDS_LIMIT);
    for (uint32_t i = 0; i < rounds; i++) {
        cronq_status status =
            one_round(options, &rates[0][i], &rates[1][i], &rates[2][i], err);

        if (status)
            return status;
        ratios[0][i] = rates[1][i] / rates[0][i];
        ratios[1][i] = rates[2][i] / rates[0][i];
    }
    *out = (cq_bench_throughput){
        .bare = cq_bench_spread_of(rates[0], rounds),
        .ours = cq_bench_spread_of(rates[1], rounds),
        .not_ahead = cq_bench_spread_of(rates[2], rounds),
        .ratio = cq_bench_spread_of(ratios[0], rounds),
        .not_ahead_ratio = cq_bench_spread_of(ratios[1], rounds),
    };
    return CRONQ_OK;
}
