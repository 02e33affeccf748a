/* SPDX-License-Identifier: MIT */
/* broker/redis/tasks.c - single tasks: reading them, and changing them in place. */
#include "broker/redis/redis.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/quote.h"
#include "codec/key.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ASK_AGAIN 32 /* ids a call of those that were put off */

static cronq_state state_of(cq_str name)
{
    for (int i = CRONQ_STATE_ACTIVE; i <= CRONQ_STATE_AGGREGATING; i++)
        if (cq_str_eq(name, cq_str_of(cronq_state_name((cronq_state)i))))
            return (cronq_state)i;
    return (cronq_state)0;
}

static cronq_status no_such_task(cq_str queue, cq_str id, cronq_error *err)
{
    char room[CQ_QUOTED_ROOM], queue_room[CQ_QUOTED_ROOM];

    return cq_fail(err, CRONQ_ENOENT, "there is no task %s in queue %s",
                   cq_quoted(id, room), cq_quoted(queue, queue_room));
}

/* ---- reading ---- */

static cronq_bytes bytes_of(const cq_reply *reply)
{
    if (reply->type != CQ_REPLY_STRING)
        return (cronq_bytes){ NULL, 0 };
    return (cronq_bytes){ reply->text.data, reply->text.len };
}

/* Who wrote it may have written anything: it is kept within what milliseconds can be. */
static int64_t ms_of_score(const char *text)
{
    const double limit_s = 9e15;
    double score_s = floor(strtod(text, NULL));

    if (!(score_s > -limit_s))
        score_s = -limit_s;
    if (score_s > limit_s)
        score_s = limit_s;
    return (int64_t)score_s * CQ_MS_PER_S;
}

static void read_record(const cq_reply *row, cq_record *out)
{
    bool has_score = row[3].type == CQ_REPLY_STRING;

    *out = (cq_record){ .id = row[0].text,
                        .message = bytes_of(&row[2]),
                        .pending_since_ns = cq_reply_int(&row[4], 0),
                        .result = bytes_of(&row[6]),
                        .cancelled = row[7].type == CQ_REPLY_STRING,
                        .failures = bytes_of(&row[8]),
                        .raw = bytes_of(&row[9]) };
    if (row[1].type == CQ_REPLY_STRING)
        out->state = state_of(row[1].text);
    if (row[5].type == CQ_REPLY_STRING)
        out->group = row[5].text;
    if (has_score)
        out->at_ms = ms_of_score(row[3].text.data);
    out->orphaned = out->state == CRONQ_STATE_ACTIVE && !has_score;
    out->merging = out->state == CRONQ_STATE_AGGREGATING && !has_score;
}

/* Rows into places: of all, or of those that were put off. Who is put off again moves to
 * the front of left. */
static size_t place_rows(const cq_reply *rows, cq_record *records, size_t *left,
                         size_t count)
{
    size_t still = 0;

    for (size_t i = 0; i < count; i++) {
        const cq_reply *row = &rows->elements[i * CQ_REDIS_RECORD_COLUMNS];

        read_record(row, &records[left[i]]);
        if (row[1].type == CQ_REPLY_STRING && cq_str_eq(row[1].text, CQ_STR("later")))
            left[still++] = left[i];
    }
    return still;
}

/* What was too much for one script, in the next ones; each brings at least one. */
static cronq_status read_left(cq_redis *redis, cq_str queue, cq_record *records,
                              size_t *left, size_t count, cq_arena *arena,
                              cronq_error *err)
{
    cq_str *words = cq_arena_calloc(arena, count + 1, sizeof *words);

    if (!words)
        return cq_fail_nomem(err);
    words[0] = CQ_STR("");
    while (count) {
        size_t n = count < ASK_AGAIN ? count : ASK_AGAIN, still;
        cronq_status status;
        cq_reply *rows;

        for (size_t i = 0; i < n; i++)
            words[i + 1] = records[left[i]].id;
        status = cq_redis_rows_on(redis, CQ_LUA_records, queue, words, n + 1,
                                  CQ_REDIS_RECORD_COLUMNS, arena, &rows, err);
        if (status)
            return status;
        if (rows->count != n * CQ_REDIS_RECORD_COLUMNS)
            return cq_fail(err, CRONQ_EPROTO, "tasks were not answered with their rows");
        still = place_rows(rows, records, left, n);
        memmove(left + still, left + n, (count - n) * sizeof *left);
        count -= n - still;
    }
    return CRONQ_OK;
}

cronq_status cq_redis_read_page(cq_redis *redis, cq_str queue, const cq_str *words,
                                size_t word_count, cq_arena *arena, cq_record **out,
                                size_t *count, cronq_error *err)
{
    cq_record *records;
    cronq_status status;
    cq_reply *rows;
    size_t n, *left;

    status = cq_redis_rows_on(redis, CQ_LUA_records, queue, words, word_count,
                              CQ_REDIS_RECORD_COLUMNS, arena, &rows, err);
    if (status)
        return status;
    n = rows->count / CQ_REDIS_RECORD_COLUMNS;
    records = cq_arena_calloc(arena, n + 1, sizeof *records);
    left = cq_arena_calloc(arena, n + 1, sizeof *left);
    if (!records || !left)
        return cq_fail_nomem(err);
    for (size_t i = 0; i < n; i++)
        left[i] = i;
    status = read_left(redis, queue, records, left, place_rows(rows, records, left, n),
                       arena, err);
    if (status)
        return status;
    *out = records;
    *count = n;
    return CRONQ_OK;
}

cronq_status cq_redis_task(cq_broker *broker, cq_str queue, cq_str id, cq_arena *arena,
                           cq_record *out, cronq_error *err)
{
    cq_str words[] = { CQ_STR(""), id };
    cq_record record;
    cronq_status status;
    cq_reply *rows;

    status = cq_redis_rows_on(cq_redis_of(broker), CQ_LUA_records, queue, words, 2,
                              CQ_REDIS_RECORD_COLUMNS, arena, &rows, err);
    if (status)
        return status;
    if (rows->count != CQ_REDIS_RECORD_COLUMNS)
        return cq_fail(err, CRONQ_EPROTO, "a task was not answered with its row");
    read_record(rows->elements, &record);
    if (rows->elements[1].type != CQ_REPLY_STRING)
        return no_such_task(queue, id, err);
    *out = record;
    return CRONQ_OK;
}

cronq_status cq_redis_list(cq_broker *broker, const cq_listing *listing, cq_arena *arena,
                           cq_record **out, size_t *count, cronq_error *err)
{
    bool is_list =
        listing->state == CRONQ_STATE_PENDING || listing->state == CRONQ_STATE_ACTIVE;
    size_t limit = listing->limit < CQ_PAGE_LIMIT ? listing->limit : CQ_PAGE_LIMIT;
    cq_str words[5] = { cq_str_of(cronq_state_name(listing->state)),
                        is_list ? CQ_STR("1") : CQ_STR("0"),
                        cq_redis_int(arena, (int64_t)listing->offset),
                        cq_redis_int(arena, (int64_t)limit),
                        listing->in_full ? CQ_STR("1") : CQ_STR("0") };
    cronq_status status;

    if (listing->state == CRONQ_STATE_AGGREGATING)
        words[0] = cq_redis_key(arena, CQ_STR("g:"), "", listing->group);
    status = cq_redis_must_exist(cq_redis_of(broker), listing->queue, arena, err);
    if (status)
        return status;
    return cq_redis_read_page(cq_redis_of(broker), listing->queue, words, 5, arena, out,
                              count, err);
}

/* ---- changing in place ---- */

static cq_str word_of(cronq_bytes bytes)
{
    return (cq_str){ bytes.data ? bytes.data : "", bytes.len };
}

/* The verdict of amend. *same says whether the message was the one that was read. */
static cronq_status judge_amend(const cq_reply *reply, cq_str queue, cq_str id,
                                const char *what, cronq_state *state, bool *same,
                                cronq_error *err)
{
    cq_str verdict;
    char room[CQ_QUOTED_ROOM];

    if (reply->type != CQ_REPLY_ARRAY || reply->count == 0)
        return cq_fail(err, CRONQ_EPROTO, "amend was not answered with a verdict");
    verdict = reply->elements[0].text;
    *same = !cq_str_eq(verdict, CQ_STR("other"));
    if (!*same)
        return CRONQ_OK;
    if (cq_str_eq(verdict, CQ_STR("none")))
        return no_such_task(queue, id, err);
    if (cq_str_eq(verdict, CQ_STR("ok")) && reply->count == 2) {
        *state = state_of(reply->elements[1].text);
        return CRONQ_OK;
    }
    if (cq_str_eq(verdict, CQ_STR("merging"))) {
        *state = CRONQ_STATE_AGGREGATING;
        return cq_fail(err, CRONQ_ESTATE, "task %s can not be %s: it is being merged",
                       cq_quoted(id, room), what);
    }
    *state = state_of(verdict);
    return cq_fail(err, CRONQ_ESTATE, "task %s can not be %s: it is %.*s",
                   cq_quoted(id, room), what, CQ_FMT(verdict));
}

cronq_status cq_redis_replace(cq_broker *broker, cq_str queue, cq_str id,
                              cronq_bytes before, cronq_bytes message, bool *same,
                              cronq_error *err)
{
    cq_str words[] = { CQ_STR("m"),     id,          CQ_STR("0"),
                       CQ_STR("0"),     CQ_STR("0"), word_of(before),
                       word_of(message) };
    cronq_status status;
    cronq_state state;
    cq_reply *reply;
    cq_arena arena;

    cq_arena_init(&arena, CQ_REDIS_ARENA_BYTES);
    status = cq_redis_script_on(cq_redis_of(broker), CQ_LUA_amend, queue, words, 7,
                                &arena, &reply, err);
    if (!status)
        status = judge_amend(reply, queue, id, "updated", &state, same, err);
    cq_arena_release(&arena);
    return status;
}

cronq_status cq_redis_reschedule(cq_broker *broker, cq_reschedule *item, int64_t now_ns,
                                 bool *same, cronq_error *err)
{
    cq_str words[7] = { CQ_STR("t"), item->id };
    size_t count = item->before.data ? 7 : 5;
    cronq_status status;
    cq_reply *reply;
    cq_arena arena;

    cq_arena_init(&arena, CQ_REDIS_ARENA_BYTES);
    words[2] = cq_redis_int(&arena, cq_ns_to_s(now_ns));
    words[3] = cq_redis_int(&arena, now_ns);
    words[4] = cq_redis_int(&arena, cq_seconds_up(item->run_at_ms));
    words[5] = word_of(item->before);
    words[6] = word_of(item->message);
    status = cq_redis_script_on(cq_redis_of(broker), CQ_LUA_amend, item->queue, words,
                                count, &arena, &reply, err);
    if (!status)
        status = judge_amend(reply, item->queue, item->id, "rescheduled", &item->state,
                             same, err);
    cq_arena_release(&arena);
    return status;
}

/* The mark is what counts; the message only makes it quick. */
cronq_status cq_redis_cancel(cq_broker *broker, cq_str queue, cq_str id, int64_t now_ns,
                             cronq_error *err)
{
    cq_redis *redis = cq_redis_of(broker);
    char room[CQ_QUOTED_ROOM];
    cronq_status status;
    cq_reply *reply;
    cq_arena arena;

    cq_arena_init(&arena, CQ_REDIS_ARENA_BYTES);
    status = cq_redis_script_on(redis, CQ_LUA_cancel, queue,
                                (cq_str[]){ id, cq_redis_int(&arena, now_ns) }, 2, &arena,
                                &reply, err);
    if (!status && cq_str_eq(reply->text, CQ_STR("none")))
        status = no_such_task(queue, id, err);
    else if (!status && !cq_str_eq(reply->text, CQ_STR("active")))
        status = cq_fail(err, CRONQ_ESTATE, "task %s does not run: it is %.*s",
                         cq_quoted(id, room), CQ_FMT(reply->text));
    if (!status)
        status = cq_redis_command(
            redis, (cq_str[]){ CQ_STR("PUBLISH"), CQ_STR(CQ_CHANNEL_CANCEL), id }, 3,
            &arena, &reply, err);
    cq_arena_release(&arena);
    return status;
}
