/* SPDX-License-Identifier: MIT */
/* broker/redis/inspect.c - looking at queues, and pausing them. */
#include "broker/redis/redis.h"

#include "base/error.h"
#include "codec/key.h"

#define GROUPS_LOOKED_INTO         1000
#define GROUPS_LOOKED_INTO_BRIEFLY 20
#define TASKS_WEIGHED              "4" /* of each state */

enum { COUNTS_ROW = 15 };

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

cronq_status cq_redis_must_exist(cq_redis *redis, cq_str queue, cq_arena *arena,
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
                              .paused_at_s = cq_reply_int(&row[12], 0),
                              .memory_bytes = count_of(&row[14]) };
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
    status = cq_redis_must_exist(redis, queue, &arena, err);
    if (!status)
        status = cq_redis_rows_on(redis, CQ_LUA_counts, queue,
                                  (cq_str[]){ cq_str_of(date), cq_redis_int(&arena, look),
                                              CQ_STR(TASKS_WEIGHED) },
                                  3, COUNTS_ROW, &arena, &row, err);
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

static cronq_status groups(cq_broker *broker, cq_str queue, size_t limit, cq_arena *arena,
                           cq_group_count **out, size_t *count, cronq_error *err)
{
    cq_group_count *found = cq_arena_calloc(arena, limit + 1, sizeof *found);
    cq_str cursor = CQ_STR("0");
    size_t n = 0;

    if (!found)
        return cq_fail_nomem(err);
    do {
        cq_reply *reply;
        cronq_status status = cq_redis_script_on(cq_redis_of(broker), CQ_LUA_group_counts,
                                                 queue, &cursor, 1, arena, &reply, err);

        if (status)
            return status;
        if (reply->type != CQ_REPLY_ARRAY || reply->count % 2 != 1)
            return cq_fail(err, CRONQ_EPROTO, "the groups of a queue can not be read");
        cursor = reply->elements[0].text;
        for (size_t i = 1; i < reply->count && n < limit; i += 2)
            found[n++] = (cq_group_count){ reply->elements[i].text,
                                           (uint64_t)reply->elements[i + 1].integer };
    } while (!cq_str_eq(cursor, CQ_STR("0")) && n < limit);
    *out = found;
    *count = n;
    return CRONQ_OK;
}

const cq_inspect_ops cq_redis_inspect_ops = {
    .queues = queues,
    .counts = counts,
    .pause = pause_queue,
    .history = cq_redis_history,
    .groups = groups,
    .task = cq_redis_task,
    .list = cq_redis_list,
    .act = cq_redis_act,
    .act_all = cq_redis_act_all,
    .remove_queue = cq_redis_remove_queue,
    .replace = cq_redis_replace,
    .reschedule = cq_redis_reschedule,
    .cancel = cq_redis_cancel,
    .implant = cq_redis_implant,
    .lock_left = cq_redis_lock_left,
    .servers = cq_redis_servers,
    .workers = cq_redis_workers,
    .entries = cq_redis_entries,
    .events = cq_redis_events,
    .check = cq_redis_check,
    .diagnose = cq_redis_diagnose,
};
