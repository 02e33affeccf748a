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

/* ---- schedulers ---- */

#define HISTORY_COUNT 1000
#define PHASE_TTL_S   ((int64_t)90 * 24 * 3600)

typedef struct entries_args {
    cq_str key;
    const cronq_bytes *entries;
    size_t count;
    int64_t expiry_s, ttl_s;
} entries_args;

static void fill_entries(transaction *t, const void *arg)
{
    const entries_args *args = arg;

    add_expiry(t, CQ_KEY_SCHEDULERS, args->key, args->expiry_s);
    add_del(t, args->key);
    if (!args->count)
        return;
    add(t, "LPUSH", 2 + args->count);
    cq_conn_arg_str(t->conn, args->key);
    for (size_t i = 0; i < args->count; i++)
        cq_conn_arg(t->conn, args->entries[i].data, args->entries[i].len);
    add(t, "EXPIRE", 3);
    cq_conn_arg_str(t->conn, args->key);
    cq_conn_arg_int(t->conn, args->ttl_s);
}

static void fill_no_entries(transaction *t, const void *arg)
{
    const entries_args *args = arg;

    add_zrem(t, CQ_KEY_SCHEDULERS, args->key);
    add_del(t, args->key);
}

static cronq_status with_scheduler(cq_broker *broker, cq_str scheduler_id, fill_fn *fill,
                                   entries_args *args, cronq_error *err)
{
    cronq_status status;
    cq_buf key;

    cq_buf_init(&key, 4096);
    cq_key_scheduler(&key, scheduler_id);
    args->key = cq_buf_str(&key);
    status = key.status ? cq_fail(err, key.status, "a scheduler's id does not fit")
                        : transact(broker, fill, args, err);
    cq_buf_release(&key);
    return status;
}

cronq_status cq_redis_write_entries(cq_broker *broker, cq_str scheduler_id,
                                    const cronq_bytes *entries, size_t count,
                                    int64_t now_ns, int64_t ttl_s, cronq_error *err)
{
    entries_args args = { .entries = entries,
                          .count = count,
                          .expiry_s = cq_ns_to_s(now_ns) + ttl_s,
                          .ttl_s = ttl_s };

    return with_scheduler(broker, scheduler_id, fill_entries, &args, err);
}

cronq_status cq_redis_clear_entries(cq_broker *broker, cq_str scheduler_id,
                                    cronq_error *err)
{
    return with_scheduler(broker, scheduler_id, fill_no_entries, &(entries_args){ 0 },
                          err);
}

typedef struct event_args {
    cq_str key;
    cronq_bytes event;
    int64_t at_s;
} event_args;

static void fill_event(transaction *t, const void *arg)
{
    const event_args *args = arg;

    add(t, "ZADD", 4);
    cq_conn_arg_str(t->conn, args->key);
    cq_conn_arg_int(t->conn, args->at_s);
    cq_conn_arg(t->conn, args->event.data, args->event.len);
    add(t, "ZREMRANGEBYRANK", 4);
    cq_conn_arg_str(t->conn, args->key);
    cq_conn_arg_int(t->conn, 0);
    cq_conn_arg_int(t->conn, -HISTORY_COUNT - 1);
}

cronq_status cq_redis_record_event(cq_broker *broker, cq_str entry_id, cronq_bytes event,
                                   int64_t now_ns, cronq_error *err)
{
    cronq_status status;
    cq_buf key;

    cq_buf_init(&key, 4096);
    cq_key_history(&key, entry_id);
    status =
        key.status
            ? cq_fail(err, key.status, "an entry's id does not fit")
            : transact(broker, fill_event,
                       &(event_args){ cq_buf_str(&key), event, cq_ns_to_s(now_ns) }, err);
    cq_buf_release(&key);
    return status;
}

cronq_status cq_redis_every_phase(cq_broker *broker, cq_str queue, cq_str entry_id,
                                  int64_t mine_s, int64_t *out_s, cronq_error *err)
{
    cq_redis *redis = cq_redis_of(broker);
    cronq_status status;
    cq_reply *reply;
    cq_arena arena;
    cq_str key, ttl;

    cq_arena_init(&arena, CQ_REDIS_ARENA_BYTES);
    key = cq_redis_key(&arena, cq_redis_prefix(&arena, queue), "cronq:every:", entry_id);
    ttl = cq_redis_int(&arena, PHASE_TTL_S);
    status =
        cq_redis_command(redis,
                         (cq_str[]){ CQ_STR("SET"), key, cq_redis_int(&arena, mine_s),
                                     CQ_STR("NX"), CQ_STR("EX"), ttl },
                         6, &arena, &reply, err);
    if (!status)
        status =
            cq_redis_command(redis, (cq_str[]){ CQ_STR("GETEX"), key, CQ_STR("EX"), ttl },
                             4, &arena, &reply, err);
    if (!status && reply->type != CQ_REPLY_STRING)
        status = cq_fail(err, CRONQ_EPROTO, "the phase of an @every entry is not there");
    if (!status)
        *out_s = cq_reply_int(reply, mine_s);
    cq_arena_release(&arena);
    return status;
}
