/* SPDX-License-Identifier: MIT */
/* broker/redis/inspect.c - looking at queues, and pausing them. */
#include "broker/redis/redis.h"

#include "base/error.h"
#include "codec/key.h"

#define GROUPS_LOOKED_INTO         1000
#define GROUPS_LOOKED_INTO_BRIEFLY 20

enum { COUNTS_ROW = 14 };

static cronq_status queues(cq_broker *broker, cq_arena *arena, cq_str **out,
                           size_t *count, cronq_error *err)
{
    cronq_status status;
    cq_reply *reply;
    cq_str *names;

    status = cq_redis_command(cq_redis_of(broker),
                              (cq_str[]){ CQ_STR("SMEMBERS"), CQ_STR(CQ_KEY_QUEUES) }, 2,
                              arena, &reply, err);
    if (status)
        return status;
    names = cq_arena_calloc(arena, reply->count + 1, sizeof *names);
    if (!names)
        return cq_fail_nomem(err);
    for (size_t i = 0; i < reply->count; i++)
        names[i] = reply->elements[i].text;
    *out = names;
    *count = reply->count;
    return CRONQ_OK;
}

static cronq_status must_exist(cq_redis *redis, cq_str queue, cq_arena *arena,
                               cronq_error *err)
{
    cronq_status status;
    cq_reply *reply;

    status = cq_redis_command(
        redis, (cq_str[]){ CQ_STR("SISMEMBER"), CQ_STR(CQ_KEY_QUEUES), queue }, 3, arena,
        &reply, err);
    if (status)
        return status;
    if (cq_reply_int(reply, 0) == 1)
        return CRONQ_OK;
    return cq_fail(err, CRONQ_ENOENT, "there is no queue \"%.*s\"", CQ_FMT(queue));
}

static uint64_t count_of(const cq_reply *reply)
{
    int64_t value = cq_reply_int(reply, 0);

    return value > 0 ? (uint64_t)value : 0;
}

static void read_counts(const cq_reply *row, int64_t now_ns, cq_queue_counts *out)
{
    int64_t since_ns = cq_reply_int(&row[13], 0);

    *out = (cq_queue_counts){ .pending = count_of(&row[0]),
                              .active = count_of(&row[1]),
                              .scheduled = count_of(&row[2]),
                              .retry = count_of(&row[3]),
                              .archived = count_of(&row[4]),
                              .completed = count_of(&row[5]),
                              .aggregating = count_of(&row[6]),
                              .groups = count_of(&row[7]),
                              .processed_today = count_of(&row[8]),
                              .failed_today = count_of(&row[9]),
                              .processed = count_of(&row[10]),
                              .failed = count_of(&row[11]),
                              .paused = row[12].type == CQ_REPLY_STRING,
                              .paused_at_s = cq_reply_int(&row[12], 0) };
    if (since_ns > 0 && since_ns < now_ns)
        out->latency_ns = now_ns - since_ns;
}

static cronq_status counts(cq_broker *broker, cq_str queue, int64_t now_ns,
                           cq_queue_counts *out, cronq_error *err)
{
    cq_redis *redis = cq_redis_of(broker);
    cronq_status status;
    char date[16];
    int64_t look = out->brief ? GROUPS_LOOKED_INTO_BRIEFLY : GROUPS_LOOKED_INTO;
    cq_reply *row;
    cq_arena arena;

    cq_arena_init(&arena, CQ_REDIS_ARENA_BYTES);
    cq_redis_date(date, cq_ns_to_s(now_ns));
    status = must_exist(redis, queue, &arena, err);
    if (!status)
        status =
            cq_redis_rows_on(redis, CQ_LUA_counts, queue,
                             (cq_str[]){ cq_str_of(date), cq_redis_int(&arena, look) }, 2,
                             COUNTS_ROW, &arena, &row, err);
    if (!status && row->count != COUNTS_ROW)
        status = cq_fail(err, CRONQ_EPROTO, "the counts of a queue can not be read");
    if (!status)
        read_counts(row->elements, now_ns, out);
    cq_arena_release(&arena);
    return status;
}

static cronq_status pause_queue(cq_broker *broker, cq_str queue, bool paused,
                                int64_t now_ns, cronq_error *err)
{
    cq_redis *redis = cq_redis_of(broker);
    cronq_status status;
    cq_reply *reply;
    cq_arena arena;
    cq_str key;

    cq_arena_init(&arena, CQ_REDIS_ARENA_BYTES);
    key = cq_redis_key(&arena, cq_redis_prefix(&arena, queue), "paused", CQ_STR(""));
    if (paused)
        status = cq_redis_command(redis,
                                  (cq_str[]){ CQ_STR("SET"), key,
                                              cq_redis_int(&arena, cq_ns_to_s(now_ns)),
                                              CQ_STR("NX") },
                                  4, &arena, &reply, err);
    else
        status = cq_redis_command(redis, (cq_str[]){ CQ_STR("DEL"), key }, 2, &arena,
                                  &reply, err);
    if (!status && (reply->type == CQ_REPLY_NIL ||
                    (reply->type == CQ_REPLY_INTEGER && reply->integer == 0)))
        status = cq_fail(err, CRONQ_ESTATE, "queue \"%.*s\" is %s", CQ_FMT(queue),
                         paused ? "paused already" : "not paused");
    cq_arena_release(&arena);
    return status;
}

const cq_inspect_ops cq_redis_inspect_ops = { .queues = queues,
                                              .counts = counts,
                                              .pause = pause_queue };
