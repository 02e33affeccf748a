/* SPDX-License-Identifier: MIT */
/* held.c - exchanges with many tasks in hand, which end in the order in which they came:
 * what it costs the store to find the oldest of many active ones. No threads, no
 * handlers: in each exchange the oldest end and as many are taken. */
#include "base/clock.h"
#include "base/error.h"
#include "bench/bench.h"
#include "broker/broker.h"

#include <stdlib.h>

#define BATCH     128
#define MOST_HELD 10000
#define ID_ROOM   64

struct held {
    cq_broker *broker;
    cq_intake *intake;
    cq_arena arena;
    uint32_t fence, first, count, room;
    struct {
        char id[ID_ROOM];
        size_t id_len;
        uint32_t fence;
        int64_t taken_at_ns;
    } * tasks; /* a ring */
    cq_outcome outcomes[BATCH];
};

static void end_oldest(struct held *held, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        uint32_t at = (held->first + i) % held->room;

        held->outcomes[i] = (cq_outcome){
            .kind = CQ_DONE,
            .fence = held->tasks[at].fence,
            .taken_at_ns = held->tasks[at].taken_at_ns,
            .id = { held->tasks[at].id, held->tasks[at].id_len },
        };
    }
}

static void keep(struct held *held, const cq_exchange *exchange)
{
    for (size_t i = 0; i < exchange->delivery_count; i++) {
        uint32_t at = (held->first + held->count++) % held->room;
        cq_str id = exchange->deliveries[i].id;

        held->tasks[at].id_len = id.len < ID_ROOM ? id.len : ID_ROOM;
        memcpy(held->tasks[at].id, id.data, held->tasks[at].id_len);
        held->tasks[at].fence = exchange->fence;
        held->tasks[at].taken_at_ns = exchange->now_ns;
    }
}

/* End so many of the oldest and take as many more. */
static cronq_status exchange(struct held *held, uint32_t ended, uint32_t taken,
                             cronq_error *err)
{
    cq_want want = { 0, taken };
    cq_exchange exchange = { .now_ns = held->broker->ops->now_ns(held->broker),
                             .fence = held->fence = held->fence % 1000 + 1,
                             .wants = &want,
                             .want_count = 1,
                             .budget = taken,
                             .outcomes = held->outcomes,
                             .outcome_count = ended,
                             .arena = &held->arena };
    cronq_status status;

    cq_arena_reset(&held->arena);
    end_oldest(held, ended);
    status = held->intake->ops->exchange_send(held->intake, &exchange, err);
    if (!status)
        status = held->intake->ops->exchange_recv(held->intake, &exchange, err);
    for (uint32_t i = 0; i < ended && !status; i++)
        if (held->outcomes[i].status)
            status = cq_fail(err, CRONQ_ESTATE, "the outcome of a task was refused");
    if (status)
        return status;
    held->first = (held->first + ended) % held->room;
    held->count -= ended;
    keep(held, &exchange);
    return CRONQ_OK;
}

static cronq_status open_held(struct held *held, const char *uri, const char *queue,
                              cronq_error *err)
{
    cq_broker_options options = { .uri = uri };
    cq_str name = cq_str_of(queue);
    cronq_status status = cq_broker_open(&options, &held->broker, err);

    held->room = MOST_HELD + BATCH;
    held->tasks = calloc(held->room, sizeof *held->tasks);
    cq_arena_init(&held->arena, (size_t)64 << 20);
    if (!held->tasks)
        return cq_fail_nomem(err);
    if (!status)
        status = held->broker->ops->sync_clock(held->broker, err);
    if (!status)
        status =
            held->broker->ops->intake_open(held->broker, &name, 1, &held->intake, err);
    return status;
}

static void close_held(struct held *held)
{
    if (held->intake)
        held->broker->ops->intake_close(held->intake);
    if (held->broker)
        held->broker->ops->free(held->broker);
    cq_arena_release(&held->arena);
    free(held->tasks);
}

static cronq_status work(struct held *held, const cq_bench_options *options,
                         uint32_t many, cq_bench_sample *out, cronq_error *err)
{
    cronq_status status = CRONQ_OK;
    cq_bench_meter meter;
    uint32_t done = 0;

    while (held->count < many && !status)
        status = exchange(held, 0,
                          many - held->count < BATCH ? many - held->count : BATCH, err);
    cq_bench_meter_start(&meter, options->uri);
    for (; done < options->task_count && !status; done += BATCH)
        status = exchange(held, BATCH, BATCH, err);
    cq_bench_meter_stop(&meter, options->uri, done, out);
    return status;
}

static cronq_status hold(const cq_bench_options *options, const cq_bench_series *series,
                         cq_bench_sample *out, cronq_error *err)
{
    struct held *held = calloc(1, sizeof *held);
    cq_bench_options more = *options;
    char name[64];
    const char *queue = cq_bench_queue(name);
    cronq_status status;

    if (!held)
        return cq_fail_nomem(err);
    more.task_count += (uint32_t)series->arg + 2 * BATCH;
    status = cq_bench_push(&more, queue, 1, true, err);
    if (!status)
        status = open_held(held, options->uri, queue, err);
    if (!status)
        status = work(held, options, (uint32_t)series->arg, out, err);
    close_held(held);
    free(held);
    cq_bench_empty(options->uri, queue, NULL);
    return status;
}

const cq_bench_series cq_bench_held_series[2] = {
    { "few", "256 active, ending in order", "tasks/s", hold, 256, NULL, 0, false },
    { "many", "10,000 active, ending in order", "tasks/s", hold, MOST_HELD, "few", 0.9,
      false },
};
