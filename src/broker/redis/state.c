/* SPDX-License-Identifier: MIT */
/* broker/redis/state.c - what servers and schedulers tell about themselves. */
#include "broker/redis/redis.h"

#include "base/error.h"
#include "codec/key.h"

/* Commands sent in one transaction, so that no reader sees half of it. */
typedef struct transaction {
    cq_conn *conn;
    size_t count;
} transaction;

static void begin(transaction *t, cq_conn *conn)
{
    *t = (transaction){ conn, 0 };
    cq_conn_command(conn, 1);
    cq_conn_arg_text(conn, "MULTI");
}

static void add(transaction *t, const char *name, size_t argc)
{
    t->count++;
    cq_conn_command(t->conn, argc);
    cq_conn_arg_text(t->conn, name);
}

/* EXEC; all replies read. The first error is the failure. */
static cronq_status commit(transaction *t, cq_arena *arena, cronq_error *err)
{
    cronq_status status, first = CRONQ_OK;
    cq_reply *reply;

    cq_conn_command(t->conn, 1);
    cq_conn_arg_text(t->conn, "EXEC");
    for (size_t i = 0; i < t->count + 2; i++) {
        status = cq_conn_read(t->conn, arena, &reply, err);
        if (status)
            return status;
        if (reply->type == CQ_REPLY_ERROR && !first)
            first = cq_conn_reply_failure(reply, err);
    }
    for (size_t i = 0; reply->type == CQ_REPLY_ARRAY && i < reply->count; i++)
        if (reply->elements[i].type == CQ_REPLY_ERROR && !first)
            first = cq_conn_reply_failure(&reply->elements[i], err);
    return first;
}

typedef void fill_fn(transaction *t, const void *arg);

static cronq_status transact(cq_broker *broker, fill_fn *fill, const void *arg,
                             cronq_error *err)
{
    cq_redis *redis = cq_redis_of(broker);
    cronq_status status;
    cq_arena arena;
    transaction t;
    cq_conn *conn;

    status = cq_pool_take(redis->pool, &conn, err);
    if (status)
        return status;
    cq_arena_init(&arena, CQ_REDIS_ARENA_BYTES);
    begin(&t, conn);
    fill(&t, arg);
    status = commit(&t, &arena, err);
    cq_arena_release(&arena);
    cq_pool_give(redis->pool, conn);
    return status;
}

/* ---- servers ---- */

typedef struct beat_args {
    const cq_beat *beat;
    cq_str server, workers; /* keys */
} beat_args;

static void add_expiry(transaction *t, const char *set, cq_str key, int64_t at_s)
{
    add(t, "ZADD", 4);
    cq_conn_arg_text(t->conn, set);
    cq_conn_arg_int(t->conn, at_s);
    cq_conn_arg_str(t->conn, key);
}

static void add_del(transaction *t, cq_str key)
{
    add(t, "DEL", 2);
    cq_conn_arg_str(t->conn, key);
}

static void fill_beat(transaction *t, const void *arg)
{
    const beat_args *args = arg;
    const cq_beat *beat = args->beat;
    int64_t expiry_s = cq_ns_to_s(beat->now_ns) + beat->ttl_s;

    add_expiry(t, CQ_KEY_SERVERS, args->server, expiry_s);
    add_expiry(t, CQ_KEY_WORKERS, args->workers, expiry_s);
    add(t, "SETEX", 4);
    cq_conn_arg_str(t->conn, args->server);
    cq_conn_arg_int(t->conn, beat->ttl_s);
    cq_conn_arg(t->conn, beat->info.data, beat->info.len);
    add_del(t, args->workers);
    if (!beat->worker_count)
        return;
    add(t, "HSET", 2 + 2 * beat->worker_count);
    cq_conn_arg_str(t->conn, args->workers);
    for (size_t i = 0; i < beat->worker_count; i++) {
        cq_conn_arg_str(t->conn, beat->workers[i].task_id);
        cq_conn_arg(t->conn, beat->workers[i].info.data, beat->workers[i].info.len);
    }
    add(t, "EXPIRE", 3);
    cq_conn_arg_str(t->conn, args->workers);
    cq_conn_arg_int(t->conn, beat->ttl_s);
}

static void add_zrem(transaction *t, const char *set, cq_str key)
{
    add(t, "ZREM", 3);
    cq_conn_arg_text(t->conn, set);
    cq_conn_arg_str(t->conn, key);
}

static void fill_clear(transaction *t, const void *arg)
{
    const beat_args *args = arg;

    add_zrem(t, CQ_KEY_SERVERS, args->server);
    add_zrem(t, CQ_KEY_WORKERS, args->workers);
    add_del(t, args->server);
    add_del(t, args->workers);
}

static cronq_status with_keys(cq_broker *broker, const cq_beat *beat, fill_fn *fill,
                              cronq_error *err)
{
    cronq_status status;
    cq_buf server, workers;

    cq_buf_init(&server, 4096);
    cq_buf_init(&workers, 4096);
    cq_key_server(&server, beat->host, beat->pid, beat->server_id);
    cq_key_workers(&workers, beat->host, beat->pid, beat->server_id);
    if (server.status || workers.status)
        status = cq_fail(err, server.status ? server.status : workers.status,
                         "the key of a server does not fit");
    else
        status = transact(broker, fill,
                          &(beat_args){ beat, cq_buf_str(&server), cq_buf_str(&workers) },
                          err);
    cq_buf_release(&server);
    cq_buf_release(&workers);
    return status;
}

cronq_status cq_redis_beat(cq_broker *broker, const cq_beat *beat, cronq_error *err)
{
    return with_keys(broker, beat, fill_beat, err);
}

cronq_status cq_redis_beat_clear(cq_broker *broker, const cq_beat *beat, cronq_error *err)
{
    return with_keys(broker, beat, fill_clear, err);
}
