/* SPDX-License-Identifier: MIT */
/* broker/redis/implant.c - storing tasks that were in another store. */
#include "broker/redis/redis.h"

#include "base/clock.h"
#include "base/error.h"
#include "codec/key.h"

enum { WORDS = 11 };

/* Behind a letter that tells empty bytes from none. */
static cq_str lettered(cronq_bytes bytes, cq_arena *arena)
{
    cq_str text = { bytes.data, bytes.len };

    return text.data ? cq_redis_key(arena, CQ_STR("r"), "", text) : CQ_STR("");
}

/* What is waited for is rounded up, what happened is rounded down. */
static int64_t kept_at_s(const cq_record *task)
{
    if (task->state == CRONQ_STATE_ARCHIVED || task->state == CRONQ_STATE_AGGREGATING)
        return cq_seconds_down(task->at_ms);
    return cq_seconds_up(task->at_ms);
}

static void name_words(cq_str *words, const cq_implant *item, cq_arena *arena)
{
    const cq_record *task = &item->record;

    words[0] = task->id;
    words[1] = (cq_str){ task->message.data, task->message.len };
    words[2] = cq_str_of(cronq_state_name(task->state));
    words[3] = cq_redis_int(arena, kept_at_s(task));
    words[4] = cq_redis_int(arena, task->pending_since_ns);
    words[5] = task->group.len ? task->group : CQ_STR("");
    words[6] = lettered(task->result, arena);
    words[7] = item->unique_key.len ? item->unique_key : CQ_STR("");
    words[8] = cq_redis_int(arena, item->lock_left_s);
    words[9] = task->failures.len ? (cq_str){ task->failures.data, task->failures.len }
                                  : CQ_STR("");
    words[10] = lettered(task->raw, arena);
}

static cronq_status implant(cq_redis *redis, cq_str queue, cq_implant *items,
                            size_t count, cq_arena *arena, cronq_error *err)
{
    cq_str *words = cq_arena_calloc(arena, count * WORDS + 1, sizeof *words);
    cronq_status status;
    cq_reply *reply;

    if (!words)
        return cq_fail_nomem(err);
    status = cq_redis_command(redis,
                              (cq_str[]){ CQ_STR("SADD"), CQ_STR(CQ_KEY_QUEUES), queue },
                              3, arena, &reply, err);
    for (size_t i = 0; i < count; i++)
        name_words(words + i * WORDS, &items[i], arena);
    if (!status)
        status = cq_redis_script_on(redis, CQ_LUA_implant, queue, words, count * WORDS,
                                    arena, &reply, err);
    if (!status && (reply->type != CQ_REPLY_ARRAY || reply->count != count))
        status = cq_fail(err, CRONQ_EPROTO, "%zu tasks were not answered", count);
    for (size_t i = 0; i < count && !status; i++)
        items[i].status =
            cq_str_eq(reply->elements[i].text, CQ_STR("o")) ? CRONQ_OK : CRONQ_EEXIST;
    return status;
}

cronq_status cq_redis_implant(cq_broker *broker, cq_str queue, cq_implant *items,
                              size_t count, cronq_error *err)
{
    cronq_status status;
    cq_arena arena;

    cq_arena_init(&arena, CQ_REDIS_ARENA_BYTES);
    status = implant(cq_redis_of(broker), queue, items, count, &arena, err);
    cq_arena_release(&arena);
    return status;
}

cronq_status cq_redis_lock_left(cq_broker *broker, cq_str lock, cq_str holder,
                                int64_t now_ns, int64_t *left_s, cronq_error *err)
{
    cronq_status status;
    cq_reply *reply;
    cq_arena arena;
    int64_t left = 0;

    (void)now_ns;
    cq_arena_init(&arena, CQ_REDIS_ARENA_BYTES);
    status = cq_redis_command(cq_redis_of(broker), (cq_str[]){ CQ_STR("GET"), lock }, 2,
                              &arena, &reply, err);
    if (!status && reply->type == CQ_REPLY_STRING && cq_str_eq(reply->text, holder)) {
        status = cq_redis_command(cq_redis_of(broker), (cq_str[]){ CQ_STR("TTL"), lock },
                                  2, &arena, &reply, err);
        if (!status)
            left = cq_reply_int(reply, 0);
    }
    if (!status)
        *left_s = left > 0 ? left : 0;
    cq_arena_release(&arena);
    return status;
}
