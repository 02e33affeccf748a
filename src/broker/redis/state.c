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

/* ---- doing it: plain commands, then a script when there is one ---- */

typedef struct telling {
    cq_str key, other_key; /* other_key: of workers */
    cronq_status (*plain)(cq_redis *redis, const struct telling *t, cq_arena *arena,
                          cronq_error *err);
    cq_call_fn *encode; /* NULL: no script */
    cq_lua lua;
    const void *what;
    size_t count;
    int64_t at_s, ttl_s;
} telling;

/* That the store is full is no failure: the set keeps its old entry. */
static cronq_status run(cq_redis *redis, const cq_str *words, size_t count,
                        cq_arena *arena, cronq_error *err)
{
    cronq_error why = { .code = CRONQ_OK };
    cq_reply *reply;
    cronq_status status = cq_redis_command(redis, words, count, arena, &reply, &why);

    if (status && status != CRONQ_EFULL)
        return cq_fail(err, status, "%s", why.text);
    return CRONQ_OK;
}

static cronq_status add_expiry(cq_redis *redis, cq_str set, cq_str key, int64_t at_s,
                               cq_arena *arena, cronq_error *err)
{
    return run(redis, (cq_str[]){ CQ_STR("ZADD"), set, cq_redis_int(arena, at_s), key },
               4, arena, err);
}

static cronq_status drop(cq_redis *redis, cq_str set, cq_str key, cq_arena *arena,
                         cronq_error *err)
{
    cronq_status status =
        run(redis, (cq_str[]){ CQ_STR("ZREM"), set, key }, 3, arena, err);

    if (!status)
        status = run(redis, (cq_str[]){ CQ_STR("DEL"), key }, 2, arena, err);
    return status;
}

static cronq_status tell(cq_broker *broker, const telling *t, cronq_error *err)
{
    cq_redis *redis = cq_redis_of(broker);
    cq_call call = { .lua = t->lua, .encode = t->encode, .arg = t, .prefix = t->key };
    cronq_status status;
    cq_arena arena;

    cq_arena_init(&arena, CQ_REDIS_ARENA_BYTES);
    status = t->plain(redis, t, &arena, err);
    if (!status && t->encode)
        status = cq_redis_call(redis, &call, &arena, err);
    cq_arena_release(&arena);
    return status;
}

/* ---- servers ---- */

static cronq_status note_beat(cq_redis *redis, const telling *t, cq_arena *arena,
                              cronq_error *err)
{
    cronq_status status =
        add_expiry(redis, CQ_STR(CQ_KEY_SERVERS), t->key, t->at_s, arena, err);

    if (!status)
        status =
            add_expiry(redis, CQ_STR(CQ_KEY_WORKERS), t->other_key, t->at_s, arena, err);
    return status;
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

static cronq_status clear_beat(cq_redis *redis, const telling *t, cq_arena *arena,
                               cronq_error *err)
{
    cronq_status status = drop(redis, CQ_STR(CQ_KEY_SERVERS), t->key, arena, err);

    if (!status)
        status = drop(redis, CQ_STR(CQ_KEY_WORKERS), t->other_key, arena, err);
    return status;
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
                     (telling){ .plain = note_beat,
                                .encode = encode_beat,
                                .lua = CQ_LUA_beat,
                                .what = beat,
                                .at_s = cq_ns_to_s(beat->now_ns) + beat->ttl_s },
                     err);
}

cronq_status cq_redis_beat_clear(cq_broker *broker, const cq_beat *beat, cronq_error *err)
{
    return tell_beat(broker, beat, (telling){ .plain = clear_beat }, err);
}

/* ---- schedulers ---- */

static cronq_status note_entries(cq_redis *redis, const telling *t, cq_arena *arena,
                                 cronq_error *err)
{
    return add_expiry(redis, CQ_STR(CQ_KEY_SCHEDULERS), t->key, t->at_s, arena, err);
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

static cronq_status clear_entries(cq_redis *redis, const telling *t, cq_arena *arena,
                                  cronq_error *err)
{
    return drop(redis, CQ_STR(CQ_KEY_SCHEDULERS), t->key, arena, err);
}

static cronq_status note_event(cq_redis *redis, const telling *t, cq_arena *arena,
                               cronq_error *err)
{
    const cronq_bytes *event = t->what;
    cronq_status status = add_expiry(redis, t->key, (cq_str){ event->data, event->len },
                                     t->at_s, arena, err);

    if (!status)
        status = run(redis,
                     (cq_str[]){ CQ_STR("ZREMRANGEBYRANK"), t->key, CQ_STR("0"),
                                 cq_redis_int(arena, -HISTORY_COUNT - 1) },
                     4, arena, err);
    return status;
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
                        (telling){ .plain = note_entries,
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
                        (telling){ .plain = clear_entries }, err);
}

cronq_status cq_redis_record_event(cq_broker *broker, cq_str entry_id, cronq_bytes event,
                                   int64_t now_ns, cronq_error *err)
{
    return tell_entries(
        broker, cq_key_history, entry_id,
        (telling){ .plain = note_event, .what = &event, .at_s = cq_ns_to_s(now_ns) },
        err);
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
