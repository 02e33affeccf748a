/* SPDX-License-Identifier: MIT */
/* broker/redis/call.c - calling scripts in batches, and small things that all need. */
#include "broker/redis/redis.h"

#include "base/civil.h"
#include "base/error.h"
#include "codec/key.h"

#include <stdio.h>

const cq_script *cq_redis_script(const cq_redis *redis, const cq_conn *conn, cq_lua lua)
{
    bool old = redis->as_before_7 || cq_conn_server_version(conn) < 70000;

    return &redis->scripts[old][lua];
}

void cq_redis_send_calls(const cq_redis *redis, cq_conn *conn, cq_call *calls,
                         size_t count)
{
    for (size_t i = 0; i < count; i++) {
        calls[i].reply = NULL;
        calls[i].encode(conn, cq_redis_script(redis, conn, calls[i].lua), &calls[i]);
    }
}

cronq_status cq_redis_read_calls(cq_conn *conn, cq_call *calls, size_t count,
                                 cq_arena *arena, cronq_error *err)
{
    cronq_status status = CRONQ_OK;

    for (size_t i = 0; i < count && !status; i++)
        if (!calls[i].reply)
            status = cq_conn_read(conn, arena, &calls[i].reply, err);
    return status;
}

static bool was_refused(const cq_call *call)
{
    return cq_reply_is_error(call->reply, "NOSCRIPT");
}

bool cq_redis_refused(const cq_call *calls, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (was_refused(&calls[i]))
            return true;
    return false;
}

cronq_status cq_redis_heal_calls(const cq_redis *redis, cq_conn *conn, cq_call *calls,
                                 size_t count, cq_arena *arena, cronq_error *err)
{
    bool loaded[CQ_LUA_COUNT] = { false };
    cronq_status status;

    for (size_t i = 0; i < count; i++) {
        cq_lua lua = calls[i].lua;

        if (!was_refused(&calls[i]) || loaded[lua])
            continue;
        status = cq_script_load(conn, cq_redis_script(redis, conn, lua), arena, err);
        if (status)
            return status;
        loaded[lua] = true;
    }
    for (size_t i = 0; i < count; i++)
        if (was_refused(&calls[i]))
            cq_redis_send_calls(redis, conn, &calls[i], 1);
    return cq_redis_read_calls(conn, calls, count, arena, err);
}

cronq_status cq_redis_calls(const cq_redis *redis, cq_conn *conn, cq_call *calls,
                            size_t count, cq_arena *arena, cronq_error *err)
{
    cronq_status status;

    cq_redis_send_calls(redis, conn, calls, count);
    status = cq_redis_read_calls(conn, calls, count, arena, err);
    if (status || !cq_redis_refused(calls, count))
        return status;
    return cq_redis_heal_calls(redis, conn, calls, count, arena, err);
}

cronq_status cq_redis_call(cq_redis *redis, cq_call *call, cq_arena *arena,
                           cronq_error *err)
{
    cronq_status status =
        cq_redis_run(redis, call, 1, false, redis->patience_ms, arena, err);

    if (status)
        return status;
    if (call->reply->type == CQ_REPLY_ERROR)
        return cq_conn_reply_failure(call->reply, err);
    return CRONQ_OK;
}

static void encode_words(cq_conn *conn, const cq_script *script, const cq_call *call)
{
    const cq_str *words = call->arg;

    cq_script_call(conn, script, 1, call->count);
    cq_conn_arg_str(conn, call->prefix);
    for (size_t i = 0; i < call->count; i++)
        cq_conn_arg_str(conn, words[i]);
}

cronq_status cq_redis_script_on(cq_redis *redis, cq_lua lua, cq_str queue,
                                const cq_str *words, size_t count, cq_arena *arena,
                                cq_reply **out, cronq_error *err)
{
    cq_call call = { .lua = lua, .encode = encode_words, .arg = words, .count = count };
    cronq_status status;

    call.prefix = cq_redis_prefix(arena, queue);
    if (!call.prefix.data)
        return cq_fail_nomem(err);
    for (size_t i = 0; i < count; i++)
        if (!words[i].data)
            return cq_fail_nomem(err);
    status = cq_redis_call(redis, &call, arena, err);
    if (!status)
        *out = call.reply;
    return status;
}

cronq_status cq_redis_rows_on(cq_redis *redis, cq_lua lua, cq_str queue,
                              const cq_str *words, size_t count, size_t columns,
                              cq_arena *arena, cq_reply **out, cronq_error *err)
{
    cronq_status status =
        cq_redis_script_on(redis, lua, queue, words, count, arena, out, err);

    if (status)
        return status;
    if ((*out)->type != CQ_REPLY_ARRAY || (*out)->count % columns)
        return cq_fail(err, CRONQ_EPROTO, "a script was not answered with rows of %zu",
                       columns);
    return CRONQ_OK;
}

cq_str cq_redis_int(cq_arena *arena, int64_t value)
{
    char text[24];
    int len = snprintf(text, sizeof text, "%lld", (long long)value);

    return (cq_str){ cq_arena_dup(arena, text, (size_t)len), (size_t)len };
}

cq_str cq_redis_key(cq_arena *arena, cq_str prefix, const char *name, cq_str rest)
{
    size_t name_len = strlen(name), len = prefix.len + name_len + rest.len;
    char *text = prefix.data ? cq_arena_alloc(arena, len + 1) : NULL;

    if (!text)
        return (cq_str){ NULL, 0 };
    memcpy(text, prefix.data, prefix.len);
    memcpy(text + prefix.len, name, name_len);
    if (rest.len)
        memcpy(text + prefix.len + name_len, rest.data, rest.len);
    text[len] = '\0';
    return (cq_str){ text, len };
}

cq_str cq_redis_prefix(cq_arena *arena, cq_str queue)
{
    cq_str open = cq_redis_key(arena, CQ_STR("asynq:"), "{", queue);

    return cq_redis_key(arena, open, "}:", CQ_STR(""));
}

void cq_redis_date(char out[16], int64_t now_s)
{
    cq_civil day = cq_civil_of(now_s);

    snprintf(out, 16, "%04d-%02d-%02d", (int)day.year % 10000, day.month % 100,
             day.day % 100);
}
