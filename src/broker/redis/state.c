/* SPDX-License-Identifier: MIT */
/* broker/redis/state.c - what servers and schedulers tell about themselves.
 *
 * A key and its entry in the set of all such keys are in different slots of a cluster:
 * they are written one after the other, the set first. */
#include "broker/redis/redis.h"

#include "base/error.h"
#include "codec/key.h"

#define HISTORY_COUNT 1000
#define PHASE_TTL_S   ((int64_t)90 * 24 * 3600)
#define KEY_BYTES     4096

/* ---- plain commands in one write ---- */

typedef struct pipeline {
    cq_conn *conn;
    size_t count;
} pipeline;

static void add(pipeline *p, const char *name, const char *set, size_t argc)
{
    p->count++;
    cq_conn_command(p->conn, argc);
    cq_conn_arg_text(p->conn, name);
    if (set)
        cq_conn_arg_text(p->conn, set);
}

static void add_expiry(pipeline *p, const char *set, cq_str key, int64_t at_s)
{
    add(p, "ZADD", set, 4);
    cq_conn_arg_int(p->conn, at_s);
    cq_conn_arg_str(p->conn, key);
}

static void add_zrem(pipeline *p, const char *set, cq_str key)
{
    add(p, "ZREM", set, 3);
    cq_conn_arg_str(p->conn, key);
}

static void add_del(pipeline *p, cq_str key)
{
    add(p, "DEL", NULL, 2);
    cq_conn_arg_str(p->conn, key);
}

/* Read all replies. That the store is full is no failure: the set keeps its old entry. */
static cronq_status finish(pipeline *p, cq_arena *arena, cronq_error *err)
{
    cronq_status status, first = CRONQ_OK;
    cq_reply *reply;

    for (size_t i = 0; i < p->count; i++) {
        status = cq_conn_read(p->conn, arena, &reply, first ? NULL : err);
        if (status)
            return status;
        if (reply->type == CQ_REPLY_ERROR && !cq_reply_is_error(reply, "OOM") && !first)
            first = cq_conn_reply_failure(reply, err);
    }
    return first;
}

/* ---- doing it: plain commands, then a script when there is one ---- */

typedef struct telling {
    cq_str key, other_key; /* other_key: of workers */
    void (*fill)(pipeline *p, const struct telling *t);
    cq_call_fn *encode; /* NULL: no script */
    cq_lua lua;
    const void *what;
    size_t count;
    int64_t at_s, ttl_s;
} telling;

static cronq_status tell(cq_broker *broker, const telling *t, cronq_error *err)
{
    cq_redis *redis = cq_redis_of(broker);
    cq_call call = { .lua = t->lua, .encode = t->encode, .arg = t };
    pipeline p = { 0 };
    cronq_status status;
    cq_arena arena;

    status = cq_pool_take(redis->pool, &p.conn, err);
    if (status)
        return status;
    cq_arena_init(&arena, CQ_REDIS_ARENA_BYTES);
    t->fill(&p, t);
    status = finish(&p, &arena, err);
    if (!status && t->encode)
        status = cq_redis_calls(redis, p.conn, &call, 1, &arena, err);
    if (!status && t->encode && call.reply->type == CQ_REPLY_ERROR)
        status = cq_conn_reply_failure(call.reply, err);
    cq_arena_release(&arena);
    cq_pool_give(redis->pool, p.conn);
    return status;
}

/* ---- servers ---- */

static void fill_beat(pipeline *p, const telling *t)
{
    add_expiry(p, CQ_KEY_SERVERS, t->key, t->at_s);
    add_expiry(p, CQ_KEY_WORKERS, t->other_key, t->at_s);
}

static void encode_beat(cq_conn *conn, const cq_script *script, const cq_call *call)
{
    const telling *t = call->arg;
    const cq_beat *beat = t->what;

    cq_script_call(conn, script, 2, 2 + 2 * beat->worker_count);
    cq_conn_arg_str(conn, t->key);
    cq_conn_arg_str(conn, t->other_key);
    cq_conn_arg_int(conn, beat->ttl_s);
    cq_conn_arg(conn, beat->info.data, beat->info.len);
    for (size_t i = 0; i < beat->worker_count; i++) {
        cq_conn_arg_str(conn, beat->workers[i].task_id);
        cq_conn_arg(conn, beat->workers[i].info.data, beat->workers[i].info.len);
    }
}

static void fill_beat_clear(pipeline *p, const telling *t)
{
    add_zrem(p, CQ_KEY_SERVERS, t->key);
    add_zrem(p, CQ_KEY_WORKERS, t->other_key);
    add_del(p, t->key);
    add_del(p, t->other_key);
}

static cronq_status tell_beat(cq_broker *broker, const cq_beat *beat, telling t,
                              cronq_error *err)
{
    cronq_status status;
    cq_buf server, workers;

    cq_buf_init(&server, KEY_BYTES);
    cq_buf_init(&workers, KEY_BYTES);
    cq_key_server(&server, beat->host, beat->pid, beat->server_id);
    cq_key_workers(&workers, beat->host, beat->pid, beat->server_id);
    t.key = cq_buf_str(&server);
    t.other_key = cq_buf_str(&workers);
    if (server.status || workers.status)
        status = cq_fail(err, server.status ? server.status : workers.status,
                         "the key of a server does not fit");
    else
        status = tell(broker, &t, err);
    cq_buf_release(&server);
    cq_buf_release(&workers);
    return status;
}

cronq_status cq_redis_beat(cq_broker *broker, const cq_beat *beat, cronq_error *err)
{
    return tell_beat(broker, beat,
                     (telling){ .fill = fill_beat,
                                .encode = encode_beat,
                                .lua = CQ_LUA_beat,
                                .what = beat,
                                .at_s = cq_ns_to_s(beat->now_ns) + beat->ttl_s },
                     err);
}

cronq_status cq_redis_beat_clear(cq_broker *broker, const cq_beat *beat, cronq_error *err)
{
    return tell_beat(broker, beat, (telling){ .fill = fill_beat_clear }, err);
}

/* ---- schedulers ---- */

static void fill_entries(pipeline *p, const telling *t)
{
    add_expiry(p, CQ_KEY_SCHEDULERS, t->key, t->at_s);
}

static void encode_entries(cq_conn *conn, const cq_script *script, const cq_call *call)
{
    const telling *t = call->arg;
    const cronq_bytes *entries = t->what;

    cq_script_call(conn, script, 1, 1 + t->count);
    cq_conn_arg_str(conn, t->key);
    cq_conn_arg_int(conn, t->ttl_s);
    for (size_t i = 0; i < t->count; i++)
        cq_conn_arg(conn, entries[i].data, entries[i].len);
}

static void fill_no_entries(pipeline *p, const telling *t)
{
    add_zrem(p, CQ_KEY_SCHEDULERS, t->key);
    add_del(p, t->key);
}

static void fill_event(pipeline *p, const telling *t)
{
    const cronq_bytes *event = t->what;

    add(p, "ZADD", NULL, 4);
    cq_conn_arg_str(p->conn, t->key);
    cq_conn_arg_int(p->conn, t->at_s);
    cq_conn_arg(p->conn, event->data, event->len);
    add(p, "ZREMRANGEBYRANK", NULL, 4);
    cq_conn_arg_str(p->conn, t->key);
    cq_conn_arg_int(p->conn, 0);
    cq_conn_arg_int(p->conn, -HISTORY_COUNT - 1);
}

static cronq_status tell_entries(cq_broker *broker, void (*name)(cq_buf *out, cq_str id),
                                 cq_str id, telling t, cronq_error *err)
{
    cronq_status status;
    cq_buf key;

    cq_buf_init(&key, KEY_BYTES);
    name(&key, id);
    t.key = cq_buf_str(&key);
    status = key.status ? cq_fail(err, key.status, "the key of a scheduler does not fit")
                        : tell(broker, &t, err);
    cq_buf_release(&key);
    return status;
}

cronq_status cq_redis_write_entries(cq_broker *broker, cq_str scheduler_id,
                                    const cronq_bytes *entries, size_t count,
                                    int64_t now_ns, int64_t ttl_s, cronq_error *err)
{
    return tell_entries(broker, cq_key_scheduler, scheduler_id,
                        (telling){ .fill = fill_entries,
                                   .encode = encode_entries,
                                   .lua = CQ_LUA_entries,
                                   .what = entries,
                                   .count = count,
                                   .at_s = cq_ns_to_s(now_ns) + ttl_s,
                                   .ttl_s = ttl_s },
                        err);
}

cronq_status cq_redis_clear_entries(cq_broker *broker, cq_str scheduler_id,
                                    cronq_error *err)
{
    return tell_entries(broker, cq_key_scheduler, scheduler_id,
                        (telling){ .fill = fill_no_entries }, err);
}

cronq_status cq_redis_record_event(cq_broker *broker, cq_str entry_id, cronq_bytes event,
                                   int64_t now_ns, cronq_error *err)
{
    return tell_entries(
        broker, cq_key_history, entry_id,
        (telling){ .fill = fill_event, .what = &event, .at_s = cq_ns_to_s(now_ns) }, err);
}

/* The first scheduler's moment stays as long as one asks for it now and then. */
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
