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
    cronq_status status;
    cq_conn *conn;

    call->reply = NULL;
    status = cq_pool_take(redis->pool, &conn, err);
    if (status)
        return status;
    status = cq_redis_calls(redis, conn, call, 1, arena, err);
    cq_pool_give(redis->pool, conn);
    if (status)
        return status;
    if (call->reply->type == CQ_REPLY_ERROR)
        return cq_conn_reply_failure(call->reply, err);
    return CRONQ_OK;
}

cronq_status cq_redis_command(cq_redis *redis, const cq_str *words, size_t count,
                              cq_arena *arena, cq_reply **out, cronq_error *err)
{
    cq_reply *reply = NULL;
    cronq_status status;
    cq_conn *conn;

    status = cq_pool_take(redis->pool, &conn, err);
    if (status)
        return status;
    cq_conn_command(conn, count);
    for (size_t i = 0; i < count; i++)
        cq_conn_arg_str(conn, words[i]);
    status = cq_conn_read(conn, arena, &reply, err);
    cq_pool_give(redis->pool, conn);
    if (status)
        return status;
    if (reply->type == CQ_REPLY_ERROR)
        return cq_conn_reply_failure(reply, err);
    *out = reply;
    return CRONQ_OK;
}

cq_str cq_redis_key(cq_arena *arena, cq_str prefix, const char *name, cq_str rest)
{
    size_t name_len = strlen(name), len = prefix.len + name_len + rest.len;
    char *text = cq_arena_alloc(arena, len + 1);

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

    return open.data ? cq_redis_key(arena, open, "}:", CQ_STR("")) : open;
}

void cq_redis_date(char out[16], int64_t now_s)
{
    cq_civil day = cq_civil_of(now_s);

    snprintf(out, 16, "%04d-%02d-%02d", (int)day.year % 10000, day.month % 100,
             day.day % 100);
}
