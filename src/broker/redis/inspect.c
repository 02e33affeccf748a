/* SPDX-License-Identifier: MIT */
/* broker/redis/inspect.c - looking at queues, and pausing them. */
#include "broker/redis/redis.h"

#include "base/error.h"
#include "codec/key.h"

#define GROUPS_LOOKED_INTO         1000
#define GROUPS_LOOKED_INTO_BRIEFLY 20
#define TASKS_WEIGHED              "4" /* of each state */

enum { COUNTS_ROW = 15 };

static const cq_str no_text = { NULL, 0 };

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

/* Sizes of a few groups, in one go and without a script: these hold up nobody. */
static void encode_zcard(cq_conn *conn, const cq_script *script, const cq_call *call)
{
    (void)script;
    cq_conn_command(conn, 2);
    cq_conn_arg_text(conn, "ZCARD");
    cq_conn_arg_str(conn, call->prefix);
}

/* A few groups stand for all. */
static cronq_status estimate_aggregating(cq_redis *redis, cq_str queue, cq_arena *arena,
                                         cq_queue_counts *out, cronq_error *err)
{
    cq_str prefix = cq_redis_prefix(arena, queue);
    cronq_status status;
    cq_reply *names;
    cq_call *calls;
    uint64_t sum = 0;

    status = cq_redis_command(
        redis,
        (cq_str[]){ CQ_STR("SRANDMEMBER"), cq_redis_key(arena, prefix, "groups", no_text),
                    cq_redis_int(arena, GROUPS_LOOKED_INTO_BRIEFLY) },
        3, arena, &names, err);
    if (status || names->count == 0)
        return status;
    calls = cq_arena_calloc(arena, names->count, sizeof *calls);
    if (!calls)
        return cq_fail_nomem(err);
    for (size_t i = 0; i < names->count; i++) {
        calls[i].encode = encode_zcard;
        calls[i].prefix = cq_redis_key(arena, prefix, "g:", names->elements[i].text);
        if (!calls[i].prefix.data)
            return cq_fail_nomem(err);
    }
    status = cq_redis_run(redis, calls, names->count, false, 0, arena, err);
    for (size_t i = 0; i < names->count && !status; i++)
        sum += count_of(calls[i].reply);
    if (!status)
        out->aggregating =
            (uint64_t)((double)sum * (double)out->groups / (double)names->count + 0.5);
    return status;
}

static cronq_status counts(cq_broker *broker, cq_str queue, int64_t now_ns,
                           cq_queue_counts *out, cronq_error *err)
{
    cq_redis *redis = cq_redis_of(broker);
    cronq_status status;
    char date[16];
    int64_t look = out->brief ? 0 : GROUPS_LOOKED_INTO;
    bool brief = out->brief;
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
    if (!status && brief && out->groups)
        status = estimate_aggregating(redis, queue, &arena, out, err);
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

/* [first slot, last slot, [host, port, id, …] of the master, those of its replicas …]; a
 * node that does not know its own host has none. */
static cronq_status nodes_of(const cq_reply *range, cq_arena *arena, cq_node **out,
                             size_t *count, cronq_error *err)
{
    cq_node *found = cq_arena_calloc(arena, range->count, sizeof *found);
    size_t n = 0;

    for (size_t i = 2; found && i < range->count; i++) {
        const cq_reply *node = &range->elements[i];
        cq_str port;

        if (node->type != CQ_REPLY_ARRAY || node->count < 3)
            continue;
        port = cq_redis_int(arena, cq_reply_int(&node->elements[1], 0));
        found[n++] = (cq_node){ node->elements[2].text,
                                cq_redis_key(arena, node->elements[0].text, ":", port) };
    }
    if (!found)
        return cq_fail_nomem(err);
    *out = found;
    *count = n;
    return CRONQ_OK;
}

static cronq_status nodes(cq_broker *broker, cq_str queue, cq_arena *arena,
                          uint16_t *slot, cq_node **out, size_t *count, cronq_error *err)
{
    cq_redis *redis = cq_redis_of(broker);
    cronq_status status;
    cq_reply *map;

    if (!redis->cluster)
        return cq_fail(err, CRONQ_ESTATE, "the store is no cluster");
    *slot = cq_key_slot(cq_redis_prefix(arena, queue));
    status = cq_redis_command(redis, (cq_str[]){ CQ_STR("CLUSTER"), CQ_STR("SLOTS") }, 2,
                              arena, &map, err);
    if (status)
        return status;
    for (size_t i = 0; map->type == CQ_REPLY_ARRAY && i < map->count; i++) {
        const cq_reply *range = &map->elements[i];

        if (range->type == CQ_REPLY_ARRAY && range->count >= 2 &&
            cq_reply_int(&range->elements[0], CQ_SLOTS) <= *slot &&
            cq_reply_int(&range->elements[1], -1) >= *slot)
            return nodes_of(range, arena, out, count, err);
    }
    return cq_fail(err, CRONQ_EIO, "no node of the cluster has slot %u", *slot);
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
    .nodes = nodes,
};
