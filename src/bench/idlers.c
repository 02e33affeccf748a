/* SPDX-License-Identifier: MIT */
/* idlers.c - many idle workers and one push: how many commands does it make all of them
 * send? Counted by MONITOR, without what scripts do. */
#include "base/clock.h"
#include "base/error.h"
#include "bench/bench.h"

#include <cronq/client.h>
#include <cronq/server.h>
#include <stdlib.h>
#include <string.h>

#define IDLERS_LIMIT 1000
#define SETTLE_MS    2000 /* until all wait */
#define QUIET_MS     100  /* then nothing more comes of a push */
#define PATIENCE_MS  2000
#define ARENA_BYTES  ((size_t)16 << 20)

struct idlers {
    cronq_server *servers[IDLERS_LIMIT];
    uint32_t count;
    cq_conn *monitor;
    cq_arena arena;
};

static cronq_status do_nothing(cronq_attempt *attempt, void *arg)
{
    (void)attempt, (void)arg;
    return CRONQ_OK;
}

static cronq_status start_one(struct idlers *idlers, const char *uri, const char *queue,
                              cronq_error *err)
{
    cronq_queue queues[] = { { queue, 1 } };
    cronq_server **server = &idlers->servers[idlers->count];
    cronq_status status = cronq_server_new(
        uri, CRONQ_SERVER_OPTIONS(.queues = queues, .queue_count = 1, .concurrency = 1),
        server, err);

    if (status)
        return status;
    idlers->count++;
    status = cronq_server_add(*server, "bench", do_nothing, NULL, NULL, err);
    return status ? status : cronq_server_start(*server, err);
}

/* Commands of clients until it is quiet. */
static cronq_status count_commands(struct idlers *idlers, uint32_t *count,
                                   cronq_error *err)
{
    int64_t until_ms = cq_mono_ms() + PATIENCE_MS;
    cronq_status status = CRONQ_OK;
    cq_reply *reply;

    for (*count = 0; cq_mono_ms() < until_ms;) {
        cq_arena_reset(&idlers->arena);
        status =
            cq_conn_read_within(idlers->monitor, QUIET_MS, &idlers->arena, &reply, err);
        if (status || !reply)
            return status;
        *count += !memmem(reply->text.data, reply->text.len, " lua] ", 6);
    }
    return status;
}

static cronq_status count_pushes(struct idlers *idlers, const cq_bench_options *options,
                                 const char *queue, double *counts, uint32_t pushes,
                                 cronq_error *err)
{
    cronq_task task = { .struct_size = sizeof task, .type = "bench", .queue = queue };
    cronq_client *client = NULL;
    cronq_status status = cronq_client_new(options->uri, NULL, &client, err);
    uint32_t count;

    if (!status) /* what a first push does is not of interest */
        status = cronq_client_push(client, &task, NULL, err);
    if (!status)
        status = count_commands(idlers, &count, err);
    for (uint32_t i = 0; i < pushes && !status; i++) {
        status = cronq_client_push(client, &task, NULL, err);
        if (!status)
            status = count_commands(idlers, &count, err);
        counts[i] = count;
    }
    cronq_client_free(client);
    return status;
}

static cronq_status start_monitor(struct idlers *idlers, const char *uri,
                                  const char *queue, cronq_error *err)
{
    cq_reply *reply;
    cronq_status status = cq_bench_connect(uri, queue, &idlers->monitor, err);

    cq_arena_init(&idlers->arena, ARENA_BYTES);
    if (!status)
        status = cq_conn_call(idlers->monitor, &idlers->arena, &reply, err, 1, "MONITOR");
    if (!status && reply->type == CQ_REPLY_ERROR)
        status = cq_conn_reply_failure(reply, err);
    return status;
}

static void stop_all(struct idlers *idlers)
{
    cq_conn_free(idlers->monitor);
    cq_arena_release(&idlers->arena);
    for (uint32_t i = 0; i < idlers->count; i++)
        cronq_server_free(idlers->servers[i]);
}

cronq_status cq_bench_idlers(const cq_bench_options *options, uint32_t many,
                             uint32_t pushes, cq_bench_report *report, cronq_error *err)
{
    static const cq_bench_series series = { .key = "commands",
                                            .name = "commands by a push to idle workers",
                                            .unit = "commands",
                                            .wanted = 300,
                                            .at_most = true };
    struct idlers *idlers = calloc(1, sizeof *idlers);
    double *counts = calloc(pushes + 1, sizeof *counts);
    char name[64];
    const char *queue = cq_bench_queue(name);
    cronq_status status = CRONQ_OK;

    if (!idlers || !counts)
        status = cq_fail_nomem(err);
    if (!status && many > IDLERS_LIMIT)
        status =
            cq_fail(err, CRONQ_EINVAL, "idlers: %u is more than %d", many, IDLERS_LIMIT);
    for (uint32_t i = 0; i < many && !status; i++)
        status = start_one(idlers, options->uri, queue, err);
    cq_sleep_ms(SETTLE_MS);
    if (!status)
        status = start_monitor(idlers, options->uri, queue, err);
    if (!status)
        status = count_pushes(idlers, options, queue, counts, pushes, err);
    if (!status)
        cq_bench_add(report, "idlers", &series,
                     cq_bench_spread_of(counts, pushes).median);
    if (idlers)
        stop_all(idlers);
    free(idlers);
    free(counts);
    cq_bench_empty(options->uri, queue, NULL);
    return status;
}
