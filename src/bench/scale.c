/* SPDX-License-Identifier: MIT */
/* scale.c - does the rate of work depend on how much there is of something? Each row runs
 * beside the same with little of it: how long the backlog is, how many tasks others keep
 * active, how many queues there are, how large payloads are. */
#include "base/clock.h"
#include "base/error.h"
#include "bench/bench.h"

#include <cronq/server.h>
#include <stdio.h>
#include <stdlib.h>

#define BACKLOG_MOST  100000
#define QUEUES_MOST   256
#define OTHERS_ACTIVE 9990
#define ENOUGH_BYTES  ((uint32_t)256 << 20) /* of payloads a run */
#define BATCHED_BYTES 65536 /* a batch of larger ones is too large for one request */

/* ---- backlog: take task_count off a queue that holds more ---- */

static cronq_status backlog(const cq_bench_options *options,
                            const cq_bench_series *series, cq_bench_sample *out,
                            cronq_error *err)
{
    cq_bench_options more = *options;
    char name[64];
    const char *queue = cq_bench_queue(name);
    uint32_t most = options->most ? options->most : BACKLOG_MOST;
    cronq_status status;

    more.task_count += series->arg ? most : 1000;
    status = cq_bench_push(&more, queue, 1, true, err);
    if (!status)
        status = cq_bench_process(options, queue, CQ_BENCH_AHEAD, out, err);
    cq_bench_empty(options->uri, queue, NULL);
    return status;
}

static const cq_bench_series backlog_series[] = {
    { "few", "1,000 behind", "tasks/s", backlog, 0, NULL, 0, false },
    { "many", "as many as asked for behind", "tasks/s", backlog, 1, "few", 0.9, false },
};

/* ---- crowd: others keep thousands active ---- */

/* Tasks that no worker of this process has: as the reference's workers take them. */
static cronq_status make_active(const char *uri, const char *queue, uint32_t count,
                                cronq_error *err)
{
    char active[128], lease[128], id[64], score[32];
    cq_conn *conn;
    cq_arena arena;
    cq_reply *reply;
    cronq_status status = cq_bench_connect(uri, queue, &conn, err);

    if (status)
        return status;
    snprintf(active, sizeof active, "asynq:{%s}:active", queue);
    snprintf(lease, sizeof lease, "asynq:{%s}:lease", queue);
    snprintf(score, sizeof score, "%lld", (long long)(cq_wall_ns() / CQ_NS_PER_S + 3600));
    cq_arena_init(&arena, 1 << 20);
    for (uint32_t i = 0; i < count && !status; i++) {
        snprintf(id, sizeof id, "00000000-0000-4000-8000-%012u", i);
        cq_arena_reset(&arena);
        status = cq_conn_call(conn, &arena, &reply, err, 3, "LPUSH", active, id);
        if (!status)
            status = cq_conn_call(conn, &arena, &reply, err, 4, "ZADD", lease, score, id);
    }
    cq_arena_release(&arena);
    cq_conn_free(conn);
    return status;
}

static cronq_status crowd(const cq_bench_options *options, const cq_bench_series *series,
                          cq_bench_sample *out, cronq_error *err)
{
    char name[64];
    const char *queue = cq_bench_queue(name);
    cronq_status status = make_active(options->uri, queue, (uint32_t)series->arg, err);

    if (!status)
        status = cq_bench_push(options, queue, 1, true, err);
    if (!status)
        status = cq_bench_process(options, queue, CQ_BENCH_AHEAD, out, err);
    cq_bench_empty(options->uri, queue, NULL);
    return status;
}

static const cq_bench_series crowd_series[] = {
    { "alone", "nobody else's active", "tasks/s", crowd, 0, NULL, 0, false },
    { "crowd", "9,990 of others active", "tasks/s", crowd, OTHERS_ACTIVE, "alone", 0.9,
      false },
};

/* ---- queues: the same tasks in one, and spread over many ---- */

struct queues {
    uint32_t count;
    cronq_queue list[QUEUES_MOST];
    char names[QUEUES_MOST][80];
};

static struct queues *new_queues(uint32_t count, cronq_error *err)
{
    struct queues *queues = calloc(1, sizeof *queues);
    char name[64];

    if (!queues) {
        cq_fail_nomem(err);
        return NULL;
    }
    queues->count = count;
    for (uint32_t i = 0; i < count; i++) {
        snprintf(queues->names[i], sizeof queues->names[i], "%s-%u", cq_bench_queue(name),
                 i);
        queues->list[i] = (cronq_queue){ queues->names[i], 1 };
    }
    return queues;
}

static cronq_status fill(const cq_bench_options *options, const struct queues *queues,
                         cronq_error *err)
{
    cq_bench_options share = *options;
    cronq_status status = CRONQ_OK;

    for (uint32_t i = 0; i < queues->count && !status; i++) {
        share.task_count = options->task_count / queues->count +
                           (i < options->task_count % queues->count);
        if (share.task_count)
            status = cq_bench_push(&share, queues->names[i], 1, true, err);
    }
    return status;
}

static cronq_status spread(const cq_bench_options *options, const cq_bench_series *series,
                           cq_bench_sample *out, cronq_error *err)
{
    struct queues *queues = new_queues((uint32_t)series->arg, err);
    cronq_status status;

    if (!queues)
        return CRONQ_ENOMEM;
    status = fill(options, queues, err);
    if (!status)
        status = cq_bench_process_queues(options, queues->list, queues->count,
                                         CQ_BENCH_AHEAD, out, err);
    for (uint32_t i = 0; i < queues->count; i++)
        cq_bench_empty(options->uri, queues->names[i], NULL);
    free(queues);
    return status;
}

static const cq_bench_series queue_series[] = {
    { "one", "1 queue", "tasks/s", spread, 1, NULL, 0, false },
    { "ten", "10 queues", "tasks/s", spread, 10, "one", 0, false },
    { "most", "256 queues, the most of a server", "tasks/s", spread, QUEUES_MOST, "one",
      0, false },
};

/* ---- payload ---- */

static cronq_status payload(const cq_bench_options *options,
                            const cq_bench_series *series, cq_bench_sample *out,
                            cronq_error *err)
{
    cq_bench_options sized = *options;
    char name[64];
    const char *queue = cq_bench_queue(name);
    cronq_status status;

    sized.payload_bytes = (uint32_t)series->arg;
    if (sized.payload_bytes && sized.task_count > ENOUGH_BYTES / sized.payload_bytes)
        sized.task_count = ENOUGH_BYTES / sized.payload_bytes;
    status = cq_bench_push(&sized, queue, 1, sized.payload_bytes < BATCHED_BYTES, err);
    if (!status)
        status = cq_bench_process(&sized, queue, CQ_BENCH_AHEAD, out, err);
    cq_bench_empty(options->uri, queue, NULL);
    return status;
}

static const cq_bench_series payload_series[] = {
    { "0", "no payload", "tasks/s", payload, 0, NULL, 0, false },
    { "100", "100 bytes", "tasks/s", payload, 100, NULL, 0, false },
    { "1k", "1 KiB", "tasks/s", payload, 1024, NULL, 0, false },
    { "16k", "16 KiB", "tasks/s", payload, 16384, NULL, 0, false },
    { "1m", "1 MiB", "tasks/s", payload, 1048576, NULL, 0, false },
};

/* ---- all of it ---- */

#define SECTION(name, series)                          \
    {                                                  \
        name, series, sizeof series / sizeof series[0] \
    }

cronq_status cq_bench_scale(const cq_bench_options *options, cq_bench_report *report,
                            cronq_error *err)
{
    const struct {
        const char *name;
        const cq_bench_series *series;
        size_t count;
    } sections[] = {
        SECTION("backlog", backlog_series),      SECTION("crowd", crowd_series),
        SECTION("active", cq_bench_held_series), SECTION("queues", queue_series),
        SECTION("payload", payload_series),
    };
    bool embedded = cq_bench_is_sqlite(options->uri);
    cronq_status status = CRONQ_OK;

    for (size_t i = 0; i < sizeof sections / sizeof sections[0] && !status; i++) {
        if (embedded && sections[i].series == crowd_series) /* made by hand on Redis */
            continue;
        status = cq_bench_rounds(options, sections[i].name, sections[i].series,
                                 sections[i].count, report, err);
    }
    return status;
}
