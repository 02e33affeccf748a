/* SPDX-License-Identifier: MIT */
/* common.c - what the measurements share: their queue, connecting, emptying it. */
#include "base/error.h"
#include "bench/bench.h"
#include "net/conn.h"

#include <stdio.h>
#include <unistd.h>

const char *cq_bench_queue(char name[64])
{
    snprintf(name, 64, "cronq-bench-%d", (int)getpid());
    return name;
}

cronq_status cq_bench_serve(const cq_bench_options *options, const char *queue,
                            cronq_handler *handler, void *arg, cronq_server **out,
                            cronq_error *err)
{
    const cronq_queue queues[] = { { queue, 1 } };
    cronq_server *server = NULL;
    cronq_status status =
        cronq_server_new(options->uri,
                         CRONQ_SERVER_OPTIONS(.queues = queues, .queue_count = 1,
                                              .concurrency = options->concurrency),
                         &server, err);

    if (!status)
        status = cronq_server_add(server, "bench", handler, arg, NULL, err);
    if (!status)
        status = cronq_server_start(server, err);
    if (status)
        cronq_server_free(server);
    else
        *out = server;
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

/* A cluster's seed says which node has the queue: "MOVED slot host:port". */
static cronq_status move(const cq_endpoint *seed, cq_str moved, cq_conn **conn,
                         cronq_error *err)
{
    cq_endpoint endpoint;
    char host[256];
    unsigned port;
    cronq_status status;

    if (sscanf(moved.data, "MOVED %*u %255[^:]:%u", host, &port) != 2)
        return CRONQ_OK;
    status = cq_endpoint_copy_at(&endpoint, seed, host, (uint16_t)port, err);
    if (status)
        return status;
    cq_conn_free(*conn);
    *conn = NULL;
    status = cq_conn_open(&endpoint, conn, err);
    cq_endpoint_release(&endpoint);
    return status;
}

static cronq_status open_node(const cq_endpoint *endpoint, const char *queue,
                              cq_conn **out, cronq_error *err)
{
    char key[128];
    cq_arena arena;
    cq_reply *reply;
    cronq_status status = cq_conn_open(endpoint, out, err);

    if (status)
        return status;
    snprintf(key, sizeof key, "asynq:{%s}:pending", queue);
    cq_arena_init(&arena, 1 << 16);
    status = cq_conn_call(*out, &arena, &reply, err, 2, "EXISTS", key);
    if (!status && reply->type == CQ_REPLY_ERROR)
        status = move(endpoint, reply->text, out, err);
    cq_arena_release(&arena);
    return status;
}

cronq_status cq_bench_connect(const char *uri, const char *queue, cq_conn **out,
                              cronq_error *err)
{
    cq_endpoint endpoint, seed;
    cronq_status status = cq_endpoint_init(&endpoint, uri, NULL, err);

    *out = NULL;
    if (status)
        return status;
    if (endpoint.topology == CQ_TOPOLOGY_SINGLE) {
        status = open_node(&endpoint, queue, out, err);
    } else {
        status = cq_endpoint_copy_at(&seed, &endpoint, endpoint.seeds[0].host,
                                     endpoint.seeds[0].port, err);
        if (!status)
            status = open_node(&seed, queue, out, err);
        cq_endpoint_release(&seed);
    }
    if (status) {
        cq_conn_free(*out);
        *out = NULL;
    }
    cq_endpoint_release(&endpoint);
    return status;
}

static cronq_status empty_redis(const char *uri, const char *queue, cronq_error *err)
{
    char pattern[128];
    cq_conn *conn;
    cq_arena arena;
    cq_reply *reply;
    cronq_status status = cq_bench_connect(uri, queue, &conn, err);

    if (status)
        return status;
    snprintf(pattern, sizeof pattern, "asynq:{%s}:*", queue);
    cq_arena_init(&arena, 1 << 16);
    status = scan_and_delete(conn, pattern, err);
    if (!status)
        status =
            cq_conn_call(conn, &arena, &reply, err, 3, "SREM", "asynq:queues", queue);
    cq_conn_free(conn);
    cq_arena_release(&arena);
    return status;
}

cronq_status cq_bench_empty(const char *uri, const char *queue, cronq_error *err)
{
    return cq_bench_is_sqlite(uri) ? cq_bench_sqlite_empty(uri, queue, err)
                                   : empty_redis(uri, queue, err);
}
