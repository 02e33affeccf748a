/* SPDX-License-Identifier: MIT */
/* throughput.c - no-op tasks a second from a full queue, beside the bare loop. */
#include "base/clock.h"
#include "base/error.h"
#include "bench/bench.h"

#include <cronq/server.h>
#include <stdatomic.h>

#define ROUNDS_LIMIT 99

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
                               bool take_ahead, double *rate, cronq_error *err)
{
    struct run run = { .task_count = options->task_count };
    cronq_queue queues[] = { { queue, 1 } };
    cronq_server *server;
    cronq_status status =
        cronq_server_new(options->uri,
                         CRONQ_SERVER_OPTIONS(.queues = queues, .queue_count = 1,
                                              .concurrency = options->concurrency,
                                              .no_take_ahead = !take_ahead),
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

static cronq_status one_round(const cq_bench_options *options, double *bare, double *ours,
                              double *not_ahead, cronq_error *err)
{
    char name[64];
    const char *queue = cq_bench_queue(name);
    cronq_status (*bare_loop)(const char *, const char *, uint32_t, double *,
                              cronq_error *) =
        cq_bench_is_sqlite(options->uri) ? cq_bare_sqlite : cq_bare_redis;
    cronq_status status = cq_bench_fill(options, queue, err);

    if (!status)
        status = bare_loop(options->uri, queue, options->task_count, bare, err);
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
