/* SPDX-License-Identifier: MIT */
/* broker/redis/delayed.c - what time moves: due tasks, old results, lost groups. */
#include "broker/redis/redis.h"

#include "base/error.h"
#include "base/log.h"

void cq_redis_encode_forward(cq_conn *conn, const cq_script *script, const cq_call *call)
{
    const cq_redis_forward *forward = call->arg;

    cq_script_call(conn, script, 1, 3);
    cq_conn_arg_str(conn, call->prefix);
    cq_conn_arg_int(conn, cq_ns_to_s(forward->now_ns));
    cq_conn_arg_int(conn, forward->now_ns);
    cq_conn_arg_int(conn, (int64_t)forward->limit);
}

cronq_status cq_redis_forward_reply(const cq_redis *redis, const cq_call *call,
                                    size_t *moved, cronq_error *err)
{
    const cq_reply *reply = call->reply;
    int64_t dropped;

    if (reply->type == CQ_REPLY_ERROR)
        return cq_conn_reply_failure(reply, err);
    if (reply->type != CQ_REPLY_ARRAY || reply->count != 2)
        return cq_fail(err, CRONQ_EPROTO, "forward was not answered with two numbers");
    dropped = cq_reply_int(&reply->elements[1], 0);
    if (dropped > 0)
        CQ_WARN(&redis->logger, "dropped %lld delayed ids of tasks that do not exist",
                (long long)dropped);
    *moved = (size_t)cq_reply_int(&reply->elements[0], 0);
    return CRONQ_OK;
}

cronq_status cq_redis_forward_due(cq_broker *broker, cq_str queue, int64_t now_ns,
                                  size_t limit, size_t *moved, cronq_error *err)
{
    cq_redis *redis = cq_redis_of(broker);
    cq_redis_forward forward = { now_ns,
                                 limit < CQ_REDIS_CHUNK ? limit : CQ_REDIS_CHUNK };
    cq_call call = { .lua = CQ_LUA_forward,
                     .encode = cq_redis_encode_forward,
                     .arg = &forward };
    cronq_status status;
    cq_arena arena;

    cq_arena_init(&arena, CQ_REDIS_ARENA_BYTES);
    call.prefix = cq_redis_prefix(&arena, queue);
    status =
        call.prefix.data ? cq_redis_call(redis, &call, &arena, err) : cq_fail_nomem(err);
    if (!status)
        status = cq_redis_forward_reply(redis, &call, moved, err);
    cq_arena_release(&arena);
    return status;
}

#define GROUPS_PAGE  1000
#define GROUPS_PAGES 100

cronq_status cq_redis_repair_groups(cq_broker *broker, cq_str queue, int64_t now_ns,
                                    cronq_error *err)
{
    cq_redis *redis = cq_redis_of(broker);
    cronq_status status = CRONQ_OK;
    int64_t first = 0, seen = GROUPS_PAGE;
    cq_arena arena;
    cq_reply *row;

    cq_arena_init(&arena, CQ_REDIS_ARENA_BYTES);
    for (int page = 0; page < GROUPS_PAGES && seen == GROUPS_PAGE; page++) {
        cq_arena_reset(&arena);
        status = cq_redis_rows_on(redis, CQ_LUA_groups, queue,
                                  (cq_str[]){ cq_redis_int(&arena, cq_ns_to_s(now_ns)),
                                              cq_redis_int(&arena, first),
                                              cq_redis_int(&arena, GROUPS_PAGE) },
                                  3, 3, &arena, &row, err);
        if (status || row->count != 3)
            break;
        seen = cq_reply_int(&row->elements[0], 0);
        first += seen - cq_reply_int(&row->elements[1], 0);
        if (cq_reply_int(&row->elements[2], 0) > 0)
            CQ_WARN(&redis->logger, "put %lld lost groups of queue \"%.*s\" back",
                    (long long)cq_reply_int(&row->elements[2], 0), CQ_FMT(queue));
    }
    cq_arena_release(&arena);
    return status;
}

cronq_status cq_redis_purge(cq_broker *broker, cq_str queue, int64_t now_ns, size_t limit,
                            size_t *deleted, cronq_error *err)
{
    int64_t most = (int64_t)(limit < CQ_REDIS_CHUNK ? limit : CQ_REDIS_CHUNK);
    cronq_status status;
    cq_reply *reply;
    cq_arena arena;

    cq_arena_init(&arena, CQ_REDIS_ARENA_BYTES);
    status = cq_redis_script_on(cq_redis_of(broker), CQ_LUA_purge, queue,
                                (cq_str[]){ cq_redis_int(&arena, cq_ns_to_s(now_ns)),
                                            cq_redis_int(&arena, most) },
                                2, &arena, &reply, err);
    if (!status)
        *deleted = (size_t)cq_reply_int(reply, 0);
    cq_arena_release(&arena);
    return status;
}
