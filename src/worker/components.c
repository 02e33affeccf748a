/* SPDX-License-Identifier: MIT */
/* components.c - what is done from time to time: each a name, a period and a tick. */
#include "base/clock.h"
#include "worker/internal.h"

#define CLOCK_PERIOD_MS 60000
#define FORWARD_BATCH   500
#define COMPONENTS_MAX  8

static void janitor_tick(void *arg)
{
    cq_worker *worker = arg;
    cq_broker *broker = worker->broker;
    size_t limit = worker->options->janitor_batch_count;

    for (size_t i = 0; i < worker->options->queue_count; i++) {
        size_t deleted = limit;

        while (deleted == limit && !atomic_load(&worker->ending))
            if (broker->ops->purge(broker, worker->queues[i], cq_now_ns(worker), limit,
                                   &deleted, NULL))
                break;
    }
}

static void health_tick(void *arg)
{
    cq_worker *worker = arg;
    cronq_error err;
    cronq_status status = worker->broker->ops->ping(worker->broker, &err);

    worker->options->on_health(status ? &err : NULL, worker->options->on_health_arg);
}

static void clock_tick(void *arg)
{
    cq_worker *worker = arg;

    worker->broker->ops->sync_clock(worker->broker, NULL);
}

/* The fetcher forwards by itself whenever it exchanges. When all its slots are taken, or
 * wake-ups were lost, this is left. */
static void forwarder_tick(void *arg)
{
    cq_worker *worker = arg;
    cq_broker *broker = worker->broker;
    int64_t period_ns = worker->options->delayed_check_interval_ms * CQ_NS_PER_MS;

    if (cq_mono_ns() - atomic_load(&worker->fetcher.forwarded_mono_ns) < period_ns)
        return;
    for (size_t i = 0; i < worker->options->queue_count; i++) {
        size_t moved = FORWARD_BATCH;

        while (moved == FORWARD_BATCH && !atomic_load(&worker->ending))
            if (broker->ops->forward(broker, worker->queues[i], cq_now_ns(worker),
                                     FORWARD_BATCH, &moved, NULL))
                break;
    }
}

cronq_status cq_components_start(cq_worker *worker, cronq_error *err)
{
    const cronq_server_options *options = worker->options;
    cq_component components[COMPONENTS_MAX] = {
        { "recoverer", options->recover_interval_ms, cq_recoverer_tick,
          &worker->recoverer },
        { "forwarder", options->delayed_check_interval_ms, forwarder_tick, worker },
        { "janitor", options->janitor_interval_ms, janitor_tick, worker },
        { "clock", CLOCK_PERIOD_MS, clock_tick, worker },
        { "health", options->health_check_interval_ms, health_tick, worker },
    };

    return cq_ticker_start("cronq-ticker", components, options->on_health ? 5 : 4,
                           &worker->ticker, err);
}
