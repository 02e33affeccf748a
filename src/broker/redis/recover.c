/* SPDX-License-Identifier: MIT */
/* broker/redis/recover.c - leases that are over, and active tasks that never had one. */
#include "broker/redis/redis.h"

#include "base/clock.h"
#include "base/error.h"

#include <stdio.h>
#include <stdlib.h>

/* A double as text that reads back as the same double. */
static cq_str score_text(cq_arena *arena, double score)
{
    char text[40];
    int len = snprintf(text, sizeof text, "%.17g", score);

    return (cq_str){ cq_arena_dup(arena, text, (size_t)len), (size_t)len };
}

static double end_before(int64_t now_ns, int64_t grace_ms)
{
    int64_t end_ms = now_ns / CQ_NS_PER_MS - grace_ms;

    return (double)end_ms / 1000;
}

/* Is the mark that of the attempt whose lease this is? */
static bool marks(cq_str mark, double score)
{
    double fraction = score - (double)(int64_t)score;

    return mark.len > 0 && strtod(mark.data, NULL) == fraction * CQ_FENCE_LIMIT;
}

enum { EXPIRED_COLUMNS = 5 };

cronq_status cq_redis_list_expired(cq_broker *broker, cq_str queue, int64_t now_ns,
                                   size_t limit, cq_arena *arena, cq_expired **out,
                                   size_t *count, cronq_error *err)
{
    cq_redis *redis = cq_redis_of(broker);
    cronq_status status;
    cq_expired *found;
    cq_reply *rows;

    if (limit > CQ_REDIS_CHUNK)
        limit = CQ_REDIS_CHUNK;
    status = cq_redis_rows_on(
        redis, CQ_LUA_expired, queue,
        (cq_str[]){
            score_text(arena, end_before(now_ns, redis->recover_after_ms)),
            score_text(arena, end_before(now_ns, redis->recover_foreign_after_ms)),
            cq_redis_int(arena, (int64_t)limit) },
        3, EXPIRED_COLUMNS, arena, &rows, err);
    if (status)
        return status;
    found = cq_arena_calloc(arena, rows->count / EXPIRED_COLUMNS + 1, sizeof *found);
    if (!found)
        return cq_fail_nomem(err);
    for (size_t i = 0; i < rows->count / EXPIRED_COLUMNS; i++) {
        const cq_reply *row = &rows->elements[EXPIRED_COLUMNS * i];

        found[i].id = row[0].text;
        found[i].score = strtod(row[1].text.data, NULL);
        if (row[2].type == CQ_REPLY_STRING)
            found[i].message = (cronq_bytes){ row[2].text.data, row[2].text.len };
        found[i].marked = row[3].type == CQ_REPLY_STRING;
        found[i].cancelled = row[4].type == CQ_REPLY_STRING;
        found[i].started = found[i].marked && marks(row[3].text, found[i].score);
    }
    *out = found;
    *count = rows->count / EXPIRED_COLUMNS;
    return CRONQ_OK;
}

/* ---- recovering ---- */

enum { RECOVER_HEAD = 6, RECOVER_COLUMNS = 5 };

static cronq_status recover_chunk(cq_redis *redis, cq_str queue, cq_recovery *items,
                                  size_t count, int64_t now_ns, cq_arena *arena,
                                  cronq_error *err)
{
    static const char *const kinds[] = { [CQ_RECOVER_RETRY] = "r",
                                         [CQ_RECOVER_PUT_BACK] = "p",
                                         [CQ_RECOVER_ARCHIVE] = "a",
                                         [CQ_RECOVER_QUARANTINE] = "q",
                                         [CQ_RECOVER_DROP] = "d" };
    size_t words_count = RECOVER_HEAD + RECOVER_COLUMNS * count;
    cq_str *words = cq_arena_calloc(arena, words_count, sizeof *words), *word = words;
    int64_t now_s = cq_ns_to_s(now_ns);
    cronq_status status;
    char date[16];
    cq_reply *reply;

    if (!words)
        return cq_fail_nomem(err);
    cq_redis_date(date, now_s);
    *word++ = cq_redis_int(arena, now_s);
    *word++ = cq_redis_int(arena, now_ns);
    *word++ = cq_str_of(date);
    *word++ = cq_redis_int(arena, now_s + CQ_STATISTICS_AGE_S);
    *word++ = cq_redis_int(arena, redis->broker.archive_count);
    *word++ = cq_redis_int(arena, now_s - redis->broker.archive_age_s);
    for (size_t i = 0; i < count; i++) {
        cronq_bytes message = items[i].message, line = items[i].failure_line;

        *word++ = items[i].id;
        *word++ = score_text(arena, items[i].score);
        *word++ = cq_str_of(kinds[items[i].kind]);
        *word++ = (cq_str){ message.data ? message.data : "", message.len };
        *word++ = (cq_str){ line.data ? line.data : "", line.len };
    }
    status = cq_redis_script_on(redis, CQ_LUA_recover, queue, words, words_count, arena,
                                &reply, err);
    if (status)
        return status;
    if (reply->text.len != count)
        return cq_fail(err, CRONQ_EPROTO,
                       "%zu recoveries were answered with %zu statuses", count,
                       reply->text.len);
    for (size_t i = 0; i < count; i++)
        items[i].status = reply->text.data[i] == 'o' ? CRONQ_OK : CRONQ_ESTATE;
    return CRONQ_OK;
}

cronq_status cq_redis_recover(cq_broker *broker, cq_str queue, cq_recovery *items,
                              size_t count, int64_t now_ns, cronq_error *err)
{
    cronq_status status = CRONQ_OK;
    cq_arena arena;

    for (size_t i = 0; i < count; i++)
        items[i].status = CRONQ_EIO;
    cq_arena_init(&arena, CQ_REDIS_ARENA_BYTES);
    for (size_t at = 0; at < count && !status; at += CQ_REDIS_CHUNK) {
        size_t n = count - at < CQ_REDIS_CHUNK ? count - at : CQ_REDIS_CHUNK;

        cq_arena_reset(&arena);
        status =
            recover_chunk(cq_redis_of(broker), queue, items + at, n, now_ns, &arena, err);
    }
    cq_arena_release(&arena);
    return status;
}

/* ---- active without a lease ---- */

cronq_status cq_redis_list_unleased(cq_broker *broker, cq_str queue, size_t limit,
                                    cq_arena *arena, cq_str **out, size_t *count,
                                    cronq_error *err)
{
    const cq_str most =
        cq_redis_int(arena, (int64_t)(limit < CQ_REDIS_CHUNK ? limit : CQ_REDIS_CHUNK));
    cronq_status status;
    cq_reply *rows;
    cq_str *ids;

    status = cq_redis_rows_on(cq_redis_of(broker), CQ_LUA_unleased, queue, &most, 1, 1,
                              arena, &rows, err);
    if (status)
        return status;
    ids = cq_arena_calloc(arena, rows->count + 1, sizeof *ids);
    if (!ids)
        return cq_fail_nomem(err);
    for (size_t i = 0; i < rows->count; i++)
        ids[i] = rows->elements[i].text;
    *out = ids;
    *count = rows->count;
    return CRONQ_OK;
}

cronq_status cq_redis_adopt(cq_broker *broker, cq_str queue, const cq_str *ids,
                            size_t count, int64_t now_ns, cronq_error *err)
{
    cq_redis *redis = cq_redis_of(broker);
    int64_t end_ns = now_ns - redis->recover_foreign_after_ms * CQ_NS_PER_MS;
    cronq_status status = CRONQ_OK;
    cq_arena arena;
    cq_reply *reply;
    cq_str *words;

    cq_arena_init(&arena, CQ_REDIS_ARENA_BYTES);
    for (size_t at = 0; at < count && !status; at += CQ_REDIS_CHUNK) {
        size_t n = count - at < CQ_REDIS_CHUNK ? count - at : CQ_REDIS_CHUNK;

        cq_arena_reset(&arena);
        words = cq_arena_calloc(&arena, n + 1, sizeof *words);
        if (!words) {
            status = cq_fail_nomem(err);
            break;
        }
        words[0] = cq_redis_int(&arena, cq_ns_to_s(end_ns));
        memcpy(words + 1, ids + at, n * sizeof *ids);
        status = cq_redis_script_on(redis, CQ_LUA_adopt, queue, words, n + 1, &arena,
                                    &reply, err);
    }
    cq_arena_release(&arena);
    return status;
}
