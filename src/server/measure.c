/* SPDX-License-Identifier: MIT */
/* measure.c - what a server tells who reads metrics, and whether it is ready.
 *
 * Sizes of queues are asked of the store at most once a second. While it does not answer
 * they are unknown, and left out. */
#include "base/clock.h"
#include "base/error.h"
#include "server/server.h"

#include <stdlib.h>

#define SIZES_KEPT_NS CQ_NS_PER_S

struct cq_server_sizes {
    int64_t asked_mono_ns;
    size_t known_count; /* of values; all queues, or what came before a failure */
    double (*values)[CQ_QUEUE_VALUES];
};

static void set_values(const cq_queue_counts *counts, double values[CQ_QUEUE_VALUES])
{
    const double row[CQ_QUEUE_VALUES] = {
        [CQ_QUEUE_ACTIVE] = (double)counts->active,
        [CQ_QUEUE_PENDING] = (double)counts->pending,
        [CQ_QUEUE_SCHEDULED] = (double)counts->scheduled,
        [CQ_QUEUE_RETRY] = (double)counts->retry,
        [CQ_QUEUE_ARCHIVED] = (double)counts->archived,
        [CQ_QUEUE_COMPLETED] = (double)counts->completed,
        [CQ_QUEUE_SIZE] = (double)(counts->active + counts->pending + counts->scheduled +
                                   counts->retry + counts->archived + counts->completed +
                                   counts->aggregating),
        [CQ_QUEUE_AGGREGATING] = (double)counts->aggregating,
        [CQ_QUEUE_GROUPS] = (double)counts->groups,
        [CQ_QUEUE_LATENCY_S] = (double)counts->latency_ns / (double)CQ_NS_PER_S,
        [CQ_QUEUE_PROCESSED] = (double)counts->processed,
        [CQ_QUEUE_FAILED] = (double)counts->failed,
        [CQ_QUEUE_PAUSED] = counts->paused,
        [CQ_QUEUE_MEMORY_BYTES] = (double)counts->memory_bytes,
    };

    memcpy(values, row, sizeof row);
}

/* A queue to which nothing was pushed yet is empty. */
static void ask(cronq_server *server)
{
    cq_server_sizes *sizes = server->sizes;
    cq_broker *broker = server->broker;

    sizes->known_count = 0;
    while (sizes->known_count < server->options.queue_count) {
        const char *name = server->options.queues[sizes->known_count].name;
        cq_queue_counts counts = { .brief = true };
        cronq_status status = broker->inspect->counts(
            broker, cq_str_of(name), broker->ops->now_ns(broker), &counts, NULL);

        if (status && status != CRONQ_ENOENT)
            break;
        if (status)
            counts = (cq_queue_counts){ 0 };
        set_values(&counts, sizes->values[sizes->known_count++]);
    }
    sizes->asked_mono_ns = cq_mono_ns();
}

static void tell(void *arg, cq_collection *out)
{
    cronq_server *server = arg;
    cq_server_sizes *sizes = server->sizes;
    size_t count = server->options.queue_count;

    pthread_mutex_lock(&server->looking);
    if (server->broker) {
        if (cq_mono_ns() - sizes->asked_mono_ns > SIZES_KEPT_NS)
            ask(server);
        for (size_t i = 0; i < sizes->known_count; i++)
            cq_collection_queue(out, server->options.queues[i].name, sizes->values[i]);
        cq_collection_tell(out, CQ_TOLD_STORE_UP, sizes->known_count == count);
        cq_collection_tell(out, CQ_TOLD_CONNECTIONS,
                           (double)atomic_load(&server->broker->opened_count));
    }
    pthread_mutex_unlock(&server->looking);
}

cronq_status cq_server_tell_begin(cronq_server *server, cronq_error *err)
{
    cq_server_sizes *sizes;

    if (!server->options.metrics)
        return CRONQ_OK;
    sizes = cq_arena_calloc(&server->arena, 1, sizeof *sizes);
    if (sizes)
        sizes->values = cq_arena_calloc(&server->arena, server->options.queue_count,
                                        sizeof *sizes->values);
    if (!sizes || !sizes->values)
        return cq_fail_nomem(err);
    sizes->asked_mono_ns = INT64_MIN / 2;
    server->sizes = sizes;
    return cq_metrics_add_source(server->options.metrics, tell, server, err);
}

void cq_server_tell_end(cronq_server *server)
{
    cq_metrics_remove_source(server->options.metrics, tell, server);
}

cronq_status cronq_server_alive(cronq_server *server, cronq_error *err)
{
    cronq_status status = CRONQ_OK;

    pthread_mutex_lock(&server->looking);
    if (!server->broker || atomic_load(&server->draining))
        status = cq_fail(err, CRONQ_ESTATE, "stopping");
    else if (!atomic_load(&server->started))
        status = cq_fail(err, CRONQ_ESTATE, "not started yet");
    else if (!cq_worker_is_alive(server->worker))
        status = cq_fail(err, CRONQ_ETIMEDOUT, "its threads do not go round any more");
    pthread_mutex_unlock(&server->looking);
    return status;
}

cronq_status cronq_server_ready(cronq_server *server, cronq_error *err)
{
    cronq_status status;

    pthread_mutex_lock(&server->looking);
    if (!server->broker || atomic_load(&server->draining))
        status = cq_fail(err, CRONQ_ESTATE, "draining: no new tasks are taken");
    else if (!atomic_load(&server->started))
        status = cq_fail(err, CRONQ_ESTATE, "not started yet");
    else
        status = server->broker->ops->ping(server->broker, err);
    pthread_mutex_unlock(&server->looking);
    return status;
}
