/* SPDX-License-Identifier: MIT */
/* process.c - a server that works a queue of no-op tasks off. */
#include "base/clock.h"
#include "base/error.h"
#include "bench/bench.h"
#include "bench/gear.h"

#include <cronq/server.h>
#include <stdatomic.h>
#include <sys/mman.h>

#define PATIENCE_MS 300000

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

static cronq_status work_off(cronq_server *server, const cq_bench_options *options,
                             const cronq_queue *queues, int flags, struct run *run,
                             cronq_error *err)
{
    const char *pushed_to = flags & CQ_BENCH_PUSHING ? queues[0].name : NULL;
    cronq_isolation isolation =
        flags & CQ_BENCH_CHILDREN ? CRONQ_ISOLATION_PROCESS : CRONQ_ISOLATION_THREAD;
    int64_t until_ms = cq_mono_ms() + PATIENCE_MS;
    cronq_status status =
        cronq_server_add(server, "bench", count_task, run,
                         CRONQ_HANDLER_OPTIONS(.isolation = isolation), err);

    if (!status)
        status = cronq_server_start(server, err);
    if (!status && pushed_to)
        status = cq_bench_push(options, pushed_to, 1, true, err);
    while (!status && !atomic_load(&run->last_ns)) {
        cq_sleep_ms(1);
        if (cq_mono_ms() > until_ms)
            status =
                cq_fail(err, CRONQ_ETIMEDOUT, "%u of %u tasks were done in %d s",
                        atomic_load(&run->done), run->task_count, PATIENCE_MS / 1000);
    }
    if (!status)
        status = cronq_server_stop(server, err);
    return status;
}

cronq_status cq_bench_process(const cq_bench_options *options, const char *queue,
                              int flags, cq_bench_sample *out, cronq_error *err)
{
    cronq_queue queues[] = { { queue, 1 } };

    return cq_bench_process_queues(options, queues, 1, flags, out, err);
}

cronq_status cq_bench_process_queues(const cq_bench_options *options,
                                     const cronq_queue *queues, size_t count, int flags,
                                     cq_bench_sample *out, cronq_error *err)
{
    struct run *run = mmap(NULL, sizeof *run, PROT_READ | PROT_WRITE,
                           MAP_SHARED | MAP_ANONYMOUS, -1, 0); /* with children */
    cronq_server *server = NULL;
    cq_bench_gear gear;
    cq_bench_meter meter;
    cronq_status status = cq_bench_gear_open(&gear, flags, err);

    if (!status && run == MAP_FAILED)
        status = cq_fail_nomem(err);
    if (status) {
        cq_bench_gear_close(&gear);
        return status;
    }
    run->task_count = options->task_count;
    if (!status)
        status = cronq_server_new(
            options->uri,
            CRONQ_SERVER_OPTIONS(.queues = queues, .queue_count = count,
                                 .concurrency = options->concurrency,
                                 .no_take_ahead = !(flags & CQ_BENCH_AHEAD),
                                 .metrics = gear.metrics, .tracer = gear.tracer,
                                 .logger = gear.logger),
            &server, err);
    cq_bench_meter_start(&meter, options->uri);
    if (!status)
        status = work_off(server, options, queues, flags, run, err);
    cq_bench_meter_costs(&meter, options->uri, options->task_count, out);
    out->value = (double)options->task_count * (double)CQ_NS_PER_S /
                 (double)(run->last_ns - run->first_ns + 1);
    cronq_server_free(server);
    cq_bench_gear_close(&gear);
    munmap(run, sizeof *run);
    return status;
}
