/* SPDX-License-Identifier: MIT */
/* broker/redis/told.c - what was told: by servers, workers and schedulers, and what the
 * counters of days say. */
#include "broker/redis/redis.h"

#include "base/error.h"
#include "codec/key.h"

#include <stdio.h>

#define TOLD_LIMIT 100000

/* ---- history ---- */

cronq_status cq_redis_history(cq_broker *broker, cq_str queue, size_t days,
                              int64_t now_ns, cq_day *out, cronq_error *err)
{
    cq_redis *redis = cq_redis_of(broker);
    cronq_status status;
    cq_reply *reply;
    cq_arena arena;
    cq_str *words, prefix;

    cq_arena_init(&arena, CQ_REDIS_ARENA_BYTES);
    words = cq_arena_calloc(&arena, 1 + 2 * days, sizeof *words);
    prefix = cq_redis_prefix(&arena, queue);
    status = words ? cq_redis_must_exist(redis, queue, &arena, err) : cq_fail_nomem(err);
    for (size_t i = 0; i < days && !status; i++) {
        char date[16];

        cq_redis_date(date, cq_ns_to_s(now_ns) - (int64_t)i * 86400);
        words[1 + 2 * i] = cq_redis_key(&arena, prefix, "processed:", cq_str_of(date));
        words[2 + 2 * i] = cq_redis_key(&arena, prefix, "failed:", cq_str_of(date));
    }
    if (!status && days) {
        words[0] = CQ_STR("MGET");
        status = cq_redis_command(redis, words, 1 + 2 * days, &arena, &reply, err);
    }
    for (size_t i = 0; i < days && !status && reply->count == 2 * days; i++)
        out[i] = (cq_day){ (uint64_t)cq_reply_int(&reply->elements[2 * i], 0),
                           (uint64_t)cq_reply_int(&reply->elements[2 * i + 1], 0) };
    cq_arena_release(&arena);
    return status;
}

/* ---- keys that servers and schedulers write ---- */

typedef struct told {
    cronq_bytes *items;
    size_t count, room;
    cq_arena *arena;
} told;

static cronq_status add(told *list, const cq_reply *value, cronq_error *err)
{
    if (value->type != CQ_REPLY_STRING)
        return CRONQ_OK;
    if (list->count == list->room) {
        size_t room = 2 * list->room + 16;
        cronq_bytes *more = cq_arena_calloc(list->arena, room, sizeof *more);

        if (!more)
            return cq_fail_nomem(err);
        if (list->count)
            memcpy(more, list->items, list->count * sizeof *more);
        list->items = more;
        list->room = room;
    }
    list->items[list->count++] = (cronq_bytes){ value->text.data, value->text.len };
    return CRONQ_OK;
}

static cronq_status add_all(told *list, const cq_reply *reply, cronq_error *err)
{
    cronq_status status = add(list, reply, err);

    for (size_t i = 0; i < reply->count && !status; i++)
        status = add(list, &reply->elements[i], err);
    return status;
}

/* The keys in a set of those that live, then each by a command; what is of another type
 * is passed over. */
static cronq_status read_keys(cq_broker *broker, const char *set, int64_t now_ns,
                              const cq_str *command, size_t argc, told *list,
                              cronq_error *err)
{
    cq_redis *redis = cq_redis_of(broker);
    cq_str words[4];
    cronq_status status;
    cq_reply *keys, *reply;

    status = cq_redis_command(
        redis,
        (cq_str[]){ CQ_STR("ZRANGEBYSCORE"), cq_str_of(set),
                    cq_redis_key(list->arena, CQ_STR("("), "",
                                 cq_redis_int(list->arena, cq_ns_to_s(now_ns))),
                    CQ_STR("+inf"), CQ_STR("LIMIT"), CQ_STR("0"),
                    cq_redis_int(list->arena, TOLD_LIMIT) },
        7, list->arena, &keys, err);
    for (size_t i = 0; !status && i < keys->count; i++) {
        memcpy(words, command, argc * sizeof *words);
        words[1] = keys->elements[i].text;
        status = cq_redis_command(redis, words, argc, list->arena, &reply, err);
        if (status == CRONQ_EPROTO)
            status = CRONQ_OK;
        else if (status)
            return status;
        else
            status = add_all(list, reply, err);
    }
    return status;
}

static cronq_status tell(cq_broker *broker, const char *set, int64_t now_ns,
                         const cq_str *command, size_t argc, cq_arena *arena,
                         cronq_bytes **out, size_t *count, cronq_error *err)
{
    told list = { .arena = arena };
    cronq_status status = read_keys(broker, set, now_ns, command, argc, &list, err);

    if (status)
        return status;
    *out = list.items;
    *count = list.count;
    return CRONQ_OK;
}

cronq_status cq_redis_servers(cq_broker *broker, int64_t now_ns, cq_arena *arena,
                              cronq_bytes **out, size_t *count, cronq_error *err)
{
    static const cq_str command[] = { { "GET", 3 }, { "", 0 } };

    return tell(broker, CQ_KEY_SERVERS, now_ns, command, 2, arena, out, count, err);
}

cronq_status cq_redis_workers(cq_broker *broker, int64_t now_ns, cq_arena *arena,
                              cronq_bytes **out, size_t *count, cronq_error *err)
{
    static const cq_str command[] = { { "HVALS", 5 }, { "", 0 } };

    return tell(broker, CQ_KEY_WORKERS, now_ns, command, 2, arena, out, count, err);
}

cronq_status cq_redis_entries(cq_broker *broker, int64_t now_ns, cq_arena *arena,
                              cronq_bytes **out, size_t *count, cronq_error *err)
{
    static const cq_str command[] = {
        { "LRANGE", 6 }, { "", 0 }, { "0", 1 }, { "-1", 2 }
    };

    return tell(broker, CQ_KEY_SCHEDULERS, now_ns, command, 4, arena, out, count, err);
}

cronq_status cq_redis_events(cq_broker *broker, cq_str entry_id, size_t offset,
                             size_t limit, cq_arena *arena, cronq_bytes **out,
                             size_t *count, cronq_error *err)
{
    told list = { .arena = arena };
    cronq_status status = CRONQ_OK;
    cq_reply *reply;
    cq_buf key;

    cq_buf_init(&key, 4096);
    cq_key_history(&key, entry_id);
    if (key.status)
        status = cq_fail(err, key.status, "the entry's id is too long");
    if (!status)
        status = cq_redis_command(
            cq_redis_of(broker),
            (cq_str[]){ CQ_STR("ZREVRANGE"), cq_buf_str(&key),
                        cq_redis_int(arena, (int64_t)offset),
                        cq_redis_int(arena, (int64_t)(offset + limit) - 1) },
            4, arena, &reply, err);
    for (size_t i = 0; !status && i < reply->count; i++)
        status = add(&list, &reply->elements[i], err);
    cq_buf_release(&key);
    if (status)
        return status;
    *out = list.items;
    *count = list.count;
    return CRONQ_OK;
}
