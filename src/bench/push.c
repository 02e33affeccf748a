/* SPDX-License-Identifier: MIT */
/* push.c - tasks a second pushed: one by one, by many threads, in batches; and pushed
 * while they are worked off. */
#include "base/clock.h"
#include "base/error.h"
#include "base/thread.h"
#include "bench/bench.h"

#include <cronq/client.h>
#include <stdlib.h>

#define BATCH         100
#define THREADS_LIMIT 64

/* Batches of two threads are two in flight, as in the bare loop. */
struct pusher {
    cronq_client *client;
    const cronq_task *task;
    uint32_t count, at_once;
    cronq_status status;
    cronq_error err;
    pthread_t thread;
};

static void *push_all(void *arg)
{
    struct pusher *pusher = arg;
    const cronq_task *tasks[BATCH];

    for (size_t i = 0; i < BATCH; i++)
        tasks[i] = pusher->task;
    for (uint32_t left = pusher->count; left > 0 && !pusher->status;) {
        uint32_t count = left < pusher->at_once ? left : pusher->at_once;

        if (pusher->at_once == 1)
            pusher->status =
                cronq_client_push(pusher->client, pusher->task, NULL, &pusher->err);
        else
            pusher->status = cronq_client_push_many(pusher->client, tasks, count, NULL,
                                                    NULL, &pusher->err);
        left -= count;
    }
    return NULL;
}

static cronq_status run_pushers(struct pusher *pushers, uint32_t count, cronq_error *err)
{
    cronq_status status = CRONQ_OK;
    uint32_t started = 0;

    while (started < count && !status) {
        status = cq_thread_start(&pushers[started].thread, "cronq-pusher", push_all,
                                 &pushers[started], err);
        started += !status;
    }
    for (uint32_t i = 0; i < started; i++) {
        pthread_join(pushers[i].thread, NULL);
        if (pushers[i].status && !status)
            status = cq_fail(err, pushers[i].status, "%s", pushers[i].err.text);
    }
    return status;
}

cronq_status cq_bench_push(const cq_bench_options *options, const char *queue,
                           uint32_t threads, bool in_batches, cronq_error *err)
{
    struct pusher pushers[THREADS_LIMIT] = { 0 };
    char *payload = calloc(1, (size_t)options->payload_bytes + 1);
    cronq_task task = { .struct_size = sizeof task,
                        .type = "bench",
                        .queue = queue,
                        .payload = { payload, options->payload_bytes } };
    cronq_client *client = NULL;
    cronq_status status;

    threads = threads < THREADS_LIMIT ? threads : THREADS_LIMIT;
    if (!payload)
        return cq_fail_nomem(err);
    status = cronq_client_new(options->uri, NULL, &client, err);
    for (uint32_t i = 0; i < threads; i++)
        pushers[i] = (struct pusher){
            .client = client,
            .task = &task,
            .count = options->task_count / threads + (i < options->task_count % threads),
            .at_once = in_batches ? BATCH : 1,
        };
    if (!status)
        status = run_pushers(pushers, threads, err);
    cronq_client_free(client);
    free(payload);
    return status;
}

/* ---- the section ---- */

/* arg: how many threads, and whether in batches; or the bare loop. */
enum { BARE = 0, THREADS = 0xff, IN_BATCHES = 0x100 };

static cronq_status bare(const cq_bench_options *options, const char *queue,
                         cq_bench_sample *out, cronq_error *err)
{
    double rate = 0;
    cronq_status status = (cq_bench_is_sqlite(options->uri)
                               ? cq_bare_push_sqlite
                               : cq_bare_push_redis)(options, queue, &rate, err);

    out->value = rate;
    return status;
}

static cronq_status push(const cq_bench_options *options, const cq_bench_series *series,
                         cq_bench_sample *out, cronq_error *err)
{
    char name[64];
    const char *queue = cq_bench_queue(name);
    cq_bench_meter meter;
    cronq_status status;

    cq_bench_meter_start(&meter, options->uri);
    if (series->arg == BARE) {
        status = bare(options, queue, out, err);
        cq_bench_meter_costs(&meter, options->uri, options->task_count, out);
    } else {
        status = cq_bench_push(options, queue, (uint32_t)series->arg & THREADS,
                               series->arg & IN_BATCHES, err);
        cq_bench_meter_stop(&meter, options->uri, options->task_count, out);
    }
    cq_bench_empty(options->uri, queue, NULL);
    return status;
}

static const cq_bench_series redis_series[] = {
    { "bare", "bare loop, batches of 100", "tasks/s", push, BARE, NULL, 0, false },
    { "batches", "batches of 100, two threads", "tasks/s", push, IN_BATCHES + 2, "bare",
      0.85, false },
    { "alone", "batches of 100, one thread", "tasks/s", push, IN_BATCHES + 1, "bare", 0,
      false },
    { "one", "one by one", "tasks/s", push, 1, NULL, 0, false },
    { "threads", "one by one, 16 threads", "tasks/s", push, 16, NULL, 100000, false },
};

static const cq_bench_series sqlite_series[] = {
    { "bare", "bare loop, batches of 100", "tasks/s", push, BARE, NULL, 0, false },
    { "batches", "batches of 100", "tasks/s", push, IN_BATCHES + 1, "bare", 0.8, false },
    { "one", "one by one", "tasks/s", push, 1, NULL, 0, false },
    { "threads", "one by one, 16 threads", "tasks/s", push, 16, NULL, 0, false },
};

cronq_status cq_bench_push_run(const cq_bench_options *options, cq_bench_report *report,
                               cronq_error *err)
{
    bool embedded = cq_bench_is_sqlite(options->uri);
    cq_bench_options one = *options;
    char name[64];
    cronq_status status;

    one.task_count = 1; /* makes the file, where the store is one */
    status = cq_bench_push(&one, cq_bench_queue(name), 1, false, err);
    if (status)
        return status;
    cq_bench_empty(options->uri, name, NULL);
    return cq_bench_rounds(options, "push", embedded ? sqlite_series : redis_series,
                           embedded ? sizeof sqlite_series / sizeof sqlite_series[0]
                                    : sizeof redis_series / sizeof redis_series[0],
                           report, err);
}
