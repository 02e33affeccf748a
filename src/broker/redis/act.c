/* SPDX-License-Identifier: MIT */
/* broker/redis/act.c - moving tasks by hand: some, all of a state, and whole queues. */
#include "broker/redis/redis.h"

#include "base/error.h"
#include "base/quote.h"
#include "codec/key.h"

#include <stdio.h>

enum { ACT_HEAD = 7, ONE_BY_ONE = 64, COUNTER_DAYS = 91 };

static const cq_str letters[] = { [CQ_ACT_DELETE] = { "d", 1 },
                                  [CQ_ACT_WITHDRAW] = { "w", 1 },
                                  [CQ_ACT_RUN] = { "r", 1 },
                                  [CQ_ACT_ARCHIVE] = { "a", 1 } };

/* ---- some ---- */

static void judge(cq_str verdict, cq_move *item)
{
    static const struct {
        cq_str verdict;
        cronq_status status;
    } plain[] = {
        { { "ok", 2 }, CRONQ_OK },
        { { "none", 4 }, CRONQ_ENOENT },
        { { "broken", 6 }, CRONQ_EPROTO },
    };

    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++)
        if (cq_str_eq(verdict, plain[i].verdict)) {
            item->status = plain[i].status;
            return;
        }
    item->status = CRONQ_ESTATE;
    item->state = CRONQ_STATE_AGGREGATING; /* being merged */
    for (int i = CRONQ_STATE_ACTIVE; i < CRONQ_STATE_AGGREGATING; i++)
        if (cq_str_eq(verdict, cq_str_of(cronq_state_name((cronq_state)i))))
            item->state = (cronq_state)i;
}

typedef struct act_batch {
    cq_str head[ACT_HEAD];
    cq_move *items;
} act_batch;

static void encode_act(cq_conn *conn, const cq_script *script, const cq_call *call)
{
    const act_batch *batch = call->arg;

    cq_script_call(conn, script, 1, ACT_HEAD + call->count);
    cq_conn_arg_str(conn, call->prefix);
    for (size_t i = 0; i < ACT_HEAD; i++)
        cq_conn_arg_str(conn, batch->head[i]);
    for (size_t i = 0; i < call->count; i++)
        cq_conn_arg_str(conn, batch->items[call->first + i].id);
}

static cronq_status judge_call(const act_batch *batch, const cq_call *call,
                               cronq_error *err)
{
    const cq_reply *reply = call->reply;

    if (reply->type == CQ_REPLY_ERROR)
        return cq_conn_reply_failure(reply, err);
    if (reply->type != CQ_REPLY_ARRAY || reply->count != call->count)
        return cq_fail(err, CRONQ_EPROTO, "%zu tasks were not answered with verdicts",
                       call->count);
    for (size_t i = 0; i < call->count; i++)
        judge(reply->elements[i].text, &batch->items[call->first + i]);
    return CRONQ_OK;
}

/* Seen together they go together; else each has a script of its own, so that none of
 * them is long. */
static cronq_status run_act(cq_redis *redis, const act_batch *batch, cq_str prefix,
                            size_t count, bool together, cq_arena *arena,
                            cronq_error *err)
{
    cq_call calls[ONE_BY_ONE];
    size_t call_count = together ? 1 : count;
    cronq_status status;

    for (size_t i = 0; i < call_count; i++)
        calls[i] = (cq_call){ .lua = CQ_LUA_act,
                              .encode = encode_act,
                              .arg = batch,
                              .first = i,
                              .count = together ? count : 1,
                              .prefix = prefix };
    status =
        cq_redis_run(redis, calls, call_count, false, redis->patience_ms, arena, err);
    for (size_t i = 0; i < call_count && !status; i++)
        status = judge_call(batch, &calls[i], err);
    return status;
}

static bool has_head(const act_batch *batch)
{
    for (size_t i = 0; i < ACT_HEAD; i++)
        if (!batch->head[i].data)
            return false;
    return true;
}

static void make_head(act_batch *batch, const cq_broker *limits, cq_action action,
                      size_t offset, int64_t now_ns, cq_arena *arena)
{
    int64_t now_s = cq_ns_to_s(now_ns);

    batch->head[0] = letters[action];
    batch->head[1] = cq_redis_int(arena, now_s);
    batch->head[2] = cq_redis_int(arena, now_ns);
    batch->head[3] = cq_redis_int(arena, limits->archive_count);
    batch->head[4] = cq_redis_int(arena, now_s - limits->archive_age_s);
    batch->head[5] =
        offset == CQ_NOWHERE ? CQ_STR("") : cq_redis_int(arena, (int64_t)offset);
    batch->head[6] = cq_redis_int(arena, 2 * CQ_PAGE_LIMIT);
}

cronq_status cq_redis_act(cq_broker *broker, cq_str queue, cq_action action,
                          cq_move *items, size_t count, size_t offset, int64_t now_ns,
                          cronq_error *err)
{
    bool together = offset != CQ_NOWHERE;
    size_t step = together ? CQ_PAGE_LIMIT : ONE_BY_ONE;
    cronq_status status = CRONQ_OK;
    act_batch batch;
    cq_str prefix;
    cq_arena arena;

    for (size_t i = 0; i < count; i++)
        items[i] = (cq_move){ .id = items[i].id, .status = CRONQ_EIO };
    cq_arena_init(&arena, CQ_REDIS_ARENA_BYTES);
    status = cq_redis_must_exist(cq_redis_of(broker), queue, &arena, err);
    for (size_t at = 0; at < count && !status; at += step) {
        cq_arena_reset(&arena);
        batch.items = items + at;
        make_head(&batch, broker, action, offset, now_ns, &arena);
        prefix = cq_redis_prefix(&arena, queue);
        if (!prefix.data || !has_head(&batch))
            status = cq_fail_nomem(err);
        else
            status =
                run_act(cq_redis_of(broker), &batch, prefix,
                        count - at < step ? count - at : step, together, &arena, err);
    }
    cq_arena_release(&arena);
    return status;
}

/* ---- all of a state ---- */

cronq_status cq_redis_act_all(cq_broker *broker, cq_str queue, cronq_state state,
                              cq_str group, cq_action action, size_t limit,
                              int64_t now_ns, size_t *seen, size_t *done,
                              cronq_error *err)
{
    int64_t now_s = cq_ns_to_s(now_ns);
    bool grouped = state == CRONQ_STATE_AGGREGATING;
    cronq_status status;
    cq_arena arena;
    cq_reply *row;

    if (limit > CQ_PAGE_LIMIT)
        limit = CQ_PAGE_LIMIT;
    cq_arena_init(&arena, CQ_REDIS_ARENA_BYTES);
    status = cq_redis_must_exist(cq_redis_of(broker), queue, &arena, err);
    if (!status)
        status = cq_redis_rows_on(
            cq_redis_of(broker), CQ_LUA_sweep, queue,
            (cq_str[]){
                letters[action], cq_redis_int(&arena, now_s),
                cq_redis_int(&arena, now_ns), cq_redis_int(&arena, broker->archive_count),
                cq_redis_int(&arena, now_s - broker->archive_age_s),
                grouped ? cq_redis_key(&arena, CQ_STR("g:"), "", group)
                        : cq_str_of(cronq_state_name(state)),
                state == CRONQ_STATE_PENDING ? CQ_STR("1") : CQ_STR("0"),
                grouped ? group : CQ_STR(""), cq_redis_int(&arena, (int64_t)limit) },
            9, 2, &arena, &row, err);
    if (!status && row->count == 2) {
        *seen = (size_t)cq_reply_int(&row->elements[0], 0);
        *done = (size_t)cq_reply_int(&row->elements[1], 0);
    }
    cq_arena_release(&arena);
    return status;
}

/* ---- a queue ---- */

static cronq_status judge_remove(const cq_reply *reply, cq_str queue, cronq_error *err)
{
    char room[CQ_QUOTED_ROOM];

    if (cq_str_eq(reply->text, CQ_STR("ok")))
        return CRONQ_OK;
    return cq_fail(err, CRONQ_ESTATE, "queue %s can not be removed: it holds %s",
                   cq_quoted(queue, room),
                   cq_str_eq(reply->text, CQ_STR("active")) ? "active tasks" : "tasks");
}

/* "processed:2026-11-22" and "failed:…" of the days whose counters may still be there. */
static size_t name_counters(cq_str *names, int64_t now_ns, cq_arena *arena)
{
    static const char *const kinds[] = { "processed:", "failed:" };
    size_t n = 0;

    for (int64_t day = 0; day < COUNTER_DAYS; day++) {
        char date[16];

        cq_redis_date(date, cq_ns_to_s(now_ns) - day * 86400);
        for (size_t k = 0; k < 2; k++)
            names[n++] = cq_redis_key(arena, cq_str_of(kinds[k]), date, CQ_STR(""));
    }
    return n;
}

cronq_status cq_redis_remove_queue(cq_broker *broker, cq_str queue, int64_t now_ns,
                                   cronq_error *err)
{
    cq_redis *redis = cq_redis_of(broker);
    cq_str names[2 * COUNTER_DAYS];
    cronq_status status;
    cq_reply *reply;
    cq_arena arena;

    cq_arena_init(&arena, CQ_REDIS_ARENA_BYTES);
    status = cq_redis_must_exist(redis, queue, &arena, err);
    if (!status)
        status =
            cq_redis_script_on(redis, CQ_LUA_remove, queue, names,
                               name_counters(names, now_ns, &arena), &arena, &reply, err);
    if (!status)
        status = judge_remove(reply, queue, err);
    if (!status)
        status = cq_redis_command(
            redis, (cq_str[]){ CQ_STR("SREM"), CQ_STR(CQ_KEY_QUEUES), queue }, 3, &arena,
            &reply, err);
    cq_arena_release(&arena);
    return status;
}
