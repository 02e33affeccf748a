/* SPDX-License-Identifier: MIT */
/* common.c - what the measurements share: their queue, filling it, emptying it, spreads.
 */
#include "base/error.h"
#include "bench/bench.h"
#include "net/conn.h"

#include <cronq/client.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define BATCH 100

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

cq_bench_spread cq_bench_spread_of(double *values, size_t count)
{
    qsort(values, count, sizeof values[0], compare);
    return (cq_bench_spread){ values[0], values[count / 2], values[count - 1] };
}

const char *cq_bench_queue(char name[64])
{
    snprintf(name, 64, "cronq-bench-%d", (int)getpid());
    return name;
}

cronq_status cq_bench_fill(const cq_bench_options *options, const char *queue,
                           cronq_error *err)
{
    const cronq_task *tasks[BATCH];
    cronq_client *client;
    char *payload = calloc(1, options->payload_bytes + 1);
    cronq_task task = { .struct_size = sizeof task,
                        .type = "bench",
                        .queue = queue,
                        .payload = { payload, options->payload_bytes } };
    cronq_status status;

    if (!payload)
        return cq_fail_nomem(err);
    for (size_t i = 0; i < BATCH; i++)
        tasks[i] = &task;
    status = cronq_client_new(options->uri, NULL, &client, err);
    for (uint32_t left = options->task_count; !status && left > 0;) {
        uint32_t count = left < BATCH ? left : BATCH;

        status = cronq_client_push_many(client, tasks, count, NULL, NULL, err);
        left -= count;
    }
    cronq_client_free(client);
    free(payload);
    return status;
}

/* One step of a scan: delete the keys that it found. */
static cronq_status delete_found(cq_conn *conn, const cq_reply *keys, cq_arena *arena,
                                 cronq_error *err)
{
    cq_reply *reply;

    if (keys->count == 0)
        return CRONQ_OK;
    cq_conn_command(conn, keys->count + 1);
    cq_conn_arg_text(conn, "UNLINK");
    for (size_t i = 0; i < keys->count; i++)
        cq_conn_arg_str(conn, keys->elements[i].text);
    return cq_conn_read(conn, arena, &reply, err);
}

static cronq_status scan_and_delete(cq_conn *conn, const char *pattern, cronq_error *err)
{
    char cursor[32] = "0";
    cq_arena arena;
    cronq_status status;

    cq_arena_init(&arena, (size_t)64 << 20);
    do {
        cq_reply *reply;

        cq_arena_reset(&arena);
        status = cq_conn_call(conn, &arena, &reply, err, 6, "SCAN", cursor, "MATCH",
                              pattern, "COUNT", "1000");
        if (status)
            break;
        if (reply->type != CQ_REPLY_ARRAY || reply->count != 2) {
            status = cq_conn_reply_failure(reply, err);
            break;
        }
        snprintf(cursor, sizeof cursor, "%.*s", CQ_FMT(reply->elements[0].text));
        status = delete_found(conn, &reply->elements[1], &arena, err);
    } while (!status && cursor[0] != '0');
    cq_arena_release(&arena);
    return status;
}

static cronq_status empty_redis(const char *uri, const char *queue, cronq_error *err)
{
    char pattern[128];
    cq_endpoint endpoint;
    cq_conn *conn = NULL;
    cq_arena arena;
    cq_reply *reply;
    cronq_status status = cq_endpoint_init(&endpoint, uri, NULL, err);

    if (status)
        return status;
    snprintf(pattern, sizeof pattern, "asynq:{%s}:*", queue);
    cq_arena_init(&arena, 1 << 16);
    status = cq_conn_open(&endpoint, &conn, err);
    if (!status)
        status = scan_and_delete(conn, pattern, err);
    if (!status)
        status =
            cq_conn_call(conn, &arena, &reply, err, 3, "SREM", "asynq:queues", queue);
    cq_conn_free(conn);
    cq_arena_release(&arena);
    cq_endpoint_release(&endpoint);
    return status;
}

cronq_status cq_bench_empty(const char *uri, const char *queue, cronq_error *err)
{
    return cq_bench_is_sqlite(uri) ? cq_bench_sqlite_empty(uri, queue, err)
                                   : empty_redis(uri, queue, err);
}
