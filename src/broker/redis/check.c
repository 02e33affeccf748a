/* SPDX-License-Identifier: MIT */
/* broker/redis/check.c - looks for broken invariants in a queue that may be in use.
 *
 * Two steps. Browsing walks lists, sorted sets and keys in windows and collects suspects:
 * cheap, and wrong about whatever moves meanwhile. Then each suspect is looked at by one
 * script, which sees all of it at one moment, and only what is wrong then is a finding.
 * Lists are walked before the keys: their ids are remembered by hash, so that a task that
 * was in its list all the time is no suspect. */
#include "broker/redis/redis.h"

#include "base/error.h"
#include "codec/key.h"
#include "codec/message.h"

#include <stdio.h>
#include <stdlib.h>

#define WINDOW            200    /* keys or ids looked at by one script */
#define SUSPECTS          100    /* looked at by one script, when the lists are short */
#define STEPS             100000 /* ids compared by one script: 5 ms, as a rule */
#define FAR               125000 /* from either end a list is searched: 25 ms at most */
#define IDS_LIMIT         (1 << 27)
#define ROUNDS            4 /* what one repair uncovers the next one mends */
#define WINDOW_BYTES      ((size_t)1 << 30)
#define CURSOR_ROOM       32
#define REPLACEMENT_BYTES ((size_t)1 << 20)

enum { BROWSE_ROW = 5, CHECK_HEAD = 5, CHECK_ITEM = 6, CHECK_ROW = 3 };

/* A set of 64-bit hashes; 0 is a free place. */
typedef struct id_set {
    uint64_t *hashes;
    size_t count, room; /* room: a power of two */
} id_set;

typedef struct suspect {
    char kind; /* as in check.lua */
    cq_str name, seen, bad, replacement;
    int64_t till_s;
} suspect;

typedef struct check {
    cq_redis *redis;
    cq_str queue, prefix;
    bool repair, any; /* any: the queue has keys */
    int64_t now_ns;
    cq_finding_fn *on_finding;
    void *arg;
    id_set pending, active;
    cq_arena kept; /* the queue's texts, and those of the suspects */
    suspect suspects[SUSPECTS];
    size_t suspect_count, mended_count;
    cronq_error *err;
} check;

/* ---- ids by their hashes ---- */

static uint64_t hash_of(cq_str id)
{
    uint64_t hash = 0xcbf29ce484222325u;

    for (size_t i = 0; i < id.len; i++)
        hash = (hash ^ (uint8_t)id.data[i]) * 0x100000001b3u;
    hash ^= hash >> 32;
    return hash ? hash : 1;
}

static uint64_t *place_of(const id_set *set, uint64_t hash)
{
    size_t at = (size_t)hash & (set->room - 1);

    while (set->hashes[at] && set->hashes[at] != hash)
        at = (at + 1) & (set->room - 1);
    return &set->hashes[at];
}

static bool has_id(const id_set *set, cq_str id)
{
    return set->room && *place_of(set, hash_of(id));
}

static bool grow(id_set *set)
{
    id_set bigger = { .count = set->count, .room = set->room ? 2 * set->room : 1024 };

    if (bigger.room > IDS_LIMIT)
        return false;
    bigger.hashes = calloc(bigger.room, sizeof *bigger.hashes);
    if (!bigger.hashes)
        return false;
    for (size_t i = 0; i < set->room; i++)
        if (set->hashes[i])
            *place_of(&bigger, set->hashes[i]) = set->hashes[i];
    free(set->hashes);
    *set = bigger;
    return true;
}

/* *again: it was there. */
static cronq_status add_id(id_set *set, cq_str id, bool *again, cronq_error *err)
{
    uint64_t *place;

    if (2 * set->count >= set->room && !grow(set))
        return cq_fail(err, CRONQ_ENOMEM, "no memory for the ids of %zu waiting tasks",
                       set->count);
    place = place_of(set, hash_of(id));
    *again = *place != 0;
    if (!*again)
        set->count++;
    *place = hash_of(id);
    return CRONQ_OK;
}

/* ---- suspects ---- */

static cq_str text_or_empty(cq_str text)
{
    return text.data ? text : CQ_STR("");
}

static void write_item(cq_arena *arena, const suspect *s, cq_str *words)
{
    words[0] = (cq_str){ &s->kind, 1 };
    words[1] = s->name;
    words[2] = text_or_empty(s->seen);
    words[3] = text_or_empty(s->bad);
    words[4] = text_or_empty(s->replacement);
    words[5] = s->till_s ? cq_redis_int(arena, s->till_s) : CQ_STR("");
}

static cronq_status ask(check *c, const suspect *items, size_t count, cq_arena *arena,
                        cq_reply **rows)
{
    size_t word_count = CHECK_HEAD + CHECK_ITEM * count;
    cq_str *words = cq_arena_calloc(arena, word_count, sizeof *words);
    int64_t now_s = cq_ns_to_s(c->now_ns);
    cronq_status status;

    if (!words)
        return cq_fail_nomem(c->err);
    words[0] = cq_redis_int(arena, now_s);
    words[1] = cq_redis_int(arena, c->now_ns);
    words[2] = c->repair ? CQ_STR("1") : CQ_STR("0");
    words[3] = cq_redis_int(arena, now_s - c->redis->recover_foreign_after_ms / 1000);
    words[4] = cq_redis_int(arena, FAR);
    for (size_t i = 0; i < count; i++)
        write_item(arena, &items[i], words + CHECK_HEAD + CHECK_ITEM * i);
    status = cq_redis_rows_on(c->redis, CQ_LUA_check, c->queue, words, word_count,
                              CHECK_ROW, arena, rows, c->err);
    if (!status && (*rows)->count != CHECK_ROW * count)
        status = cq_fail(c->err, CRONQ_EPROTO, "%zu checks were answered with %zu rows",
                         count, (*rows)->count / CHECK_ROW);
    return status;
}

/* Tells of the findings; those that were mended stay, to be looked at again. */
static size_t tell(check *c, suspect *items, size_t count, const cq_reply *rows)
{
    size_t left = 0;

    for (size_t i = 0; i < count; i++) {
        const cq_reply *row = &rows->elements[CHECK_ROW * i];
        cq_finding finding = { .queue = c->queue,
                               .id = items[i].name,
                               .detail = row[2].text,
                               .repaired = cq_str_eq(row[1].text, CQ_STR("1")) };

        if (row[0].text.len == 0 || !cq_finding_kind_of(row[0].text, &finding.kind))
            continue;
        c->on_finding(&finding, c->arg);
        if (!finding.repaired)
            continue;
        items[left++] = items[i];
        c->mended_count++;
    }
    return left;
}

static cronq_status look_at(check *c, suspect *items, size_t count)
{
    cronq_status status = CRONQ_OK;
    cq_reply *rows;
    cq_arena arena;

    cq_arena_init(&arena, WINDOW_BYTES);
    for (int round = 0; round < ROUNDS && count > 0 && !status; round++) {
        cq_arena_reset(&arena);
        status = ask(c, items, count, &arena, &rows);
        if (!status)
            count = tell(c, items, count, rows);
    }
    cq_arena_release(&arena);
    return status;
}

/* As many at a time as the lists, which may be searched for each, allow. */
static cronq_status look_at_suspects(check *c)
{
    size_t length = c->pending.count + c->active.count + 1;
    size_t step = STEPS / length + 1 < SUSPECTS ? STEPS / length + 1 : SUSPECTS;
    cronq_status status = CRONQ_OK;

    for (size_t at = 0; at < c->suspect_count && !status; at += step) {
        size_t left = c->suspect_count - at;

        status = look_at(c, c->suspects + at, left < step ? left : step);
    }
    c->suspect_count = 0;
    cq_arena_reset(&c->kept);
    return status;
}

static bool keep(check *c, cq_str *text)
{
    if (!text->data)
        return true;
    text->data = cq_arena_dup(&c->kept, text->data, text->len);
    return text->data != NULL;
}

static cronq_status suspect_that(check *c, suspect s)
{
    cronq_status status;

    if (c->suspect_count == SUSPECTS) {
        status = look_at_suspects(c);
        if (status)
            return status;
    }
    if (!keep(c, &s.name) || !keep(c, &s.seen) || !keep(c, &s.bad) ||
        !keep(c, &s.replacement))
        return cq_fail_nomem(c->err);
    c->suspects[c->suspect_count++] = s;
    return CRONQ_OK;
}

/* ---- browsing ---- */

/* One window: its rows behind the next cursor. */
static cronq_status browse(check *c, const char *what, cq_str name, cq_str cursor,
                           cq_str more, cq_arena *arena, cq_reply **rows)
{
    const cq_str words[] = { cq_str_of(what), name, cursor, cq_redis_int(arena, WINDOW),
                             more };

    cronq_status status = cq_redis_script_on(c->redis, CQ_LUA_browse, c->queue, words, 5,
                                             arena, rows, c->err);

    if (!status && ((*rows)->type != CQ_REPLY_ARRAY || (*rows)->count % BROWSE_ROW != 1))
        status = cq_fail(c->err, CRONQ_EPROTO, "a window of a queue can not be read");
    return status;
}

typedef cronq_status row_fn(check *c, cq_str name, const cq_reply *row);

/* What was taken out of a list moves the rest of it to where it has been walked. */
static void step_back(const char *what, char cursor[CURSOR_ROOM], size_t mended_count)
{
    long long at = atoll(cursor);

    if (strcmp(what, "list") != 0 || mended_count == 0 || at == 0)
        return;
    at = at > (long long)mended_count ? at - (long long)mended_count : 0;
    snprintf(cursor, CURSOR_ROOM, "%lld", at);
}

static cronq_status walk(check *c, const char *what, cq_str name, cq_str more,
                         row_fn *on_row)
{
    char cursor[CURSOR_ROOM] = "0";
    bool is_over;
    cronq_status status;
    cq_reply *rows;
    cq_arena arena;

    cq_arena_init(&arena, WINDOW_BYTES);
    do {
        size_t mended_count = c->mended_count;

        cq_arena_reset(&arena);
        status = browse(c, what, name, cq_str_of(cursor), more, &arena, &rows);
        if (status)
            break;
        for (size_t i = 1; i < rows->count && !status; i += BROWSE_ROW)
            status = on_row(c, name, &rows->elements[i]);
        snprintf(cursor, sizeof cursor, "%.*s", CQ_FMT(rows->elements[0].text));
        is_over = strcmp(cursor, "0") == 0;
        step_back(what, cursor, c->mended_count - mended_count);
    } while (!status && !is_over);
    cq_arena_release(&arena);
    return status;
}

static bool is_odd(const cq_reply *row)
{
    return row[3].text.len > 0;
}

static cronq_status on_listed(check *c, cq_str name, const cq_reply *row)
{
    bool is_pending = cq_str_eq(name, CQ_STR("pending")), again = false;
    cronq_status status =
        add_id(is_pending ? &c->pending : &c->active, row[1].text, &again, c->err);

    c->any = true;
    if (status || (!again && !is_odd(row)))
        return status;
    return suspect_that(c, (suspect){ .kind = 't', .name = row[1].text });
}

/* A member of a sorted set: an id, seen in a group perhaps, or an aggregation set. */
static cronq_status on_member(check *c, cq_str name, const cq_reply *row)
{
    suspect s = { .kind = row[0].text.data[0] == 's' ? 's' : 't', .name = row[1].text };

    c->any = true;
    if (!is_odd(row))
        return CRONQ_OK;
    if (cq_str_starts(name, CQ_STR("g:")))
        s.seen = name;
    return suspect_that(c, s);
}

/* ---- tasks ---- */

static cronq_status suspect_corrupt(check *c, cq_str id, cq_str message, const char *why)
{
    suspect s = { .kind = 't', .name = id, .bad = message };
    cronq_status status;
    cq_buf buf;

    cq_buf_init(&buf, REPLACEMENT_BYTES);
    status = cq_message_replace(c->queue, id, why, cq_ns_to_s(c->now_ns), &buf, c->err);
    s.replacement = cq_buf_str(&buf);
    if (!status)
        status = suspect_that(c, s);
    cq_buf_release(&buf);
    return status;
}

/* Is it in the list of its state, and in no other? Sorted sets were looked at. */
static bool is_at_odds(const check *c, cq_str id, cq_str state)
{
    return has_id(&c->pending, id) != cq_str_eq(state, CQ_STR("pending")) ||
           has_id(&c->active, id) != cq_str_eq(state, CQ_STR("active"));
}

static cronq_status check_task(check *c, cq_str id, const cq_reply *row, cq_str message)
{
    suspect s = { .kind = 't', .name = id };
    cq_message decoded = { 0 };
    cronq_error why;
    cronq_status status = CRONQ_OK;
    cq_arena arena;

    cq_arena_init(&arena, WINDOW_BYTES);
    if (message.len > 0)
        status = cq_message_check((cronq_bytes){ message.data, message.len }, c->queue,
                                  id, &arena, &decoded, &why);
    if (status == CRONQ_ENOMEM) {
        cq_fail_nomem(c->err);
    } else if (status) {
        status = suspect_corrupt(c, id, message, why.text);
    } else if (is_odd(row) || is_at_odds(c, id, row[2].text)) {
        s.till_s = decoded.completed_at_s + decoded.retention_s;
        if (decoded.group.len)
            s.seen = cq_redis_key(&arena, CQ_STR("g:"), "", decoded.group);
        status = suspect_that(c, s);
    }
    cq_arena_release(&arena);
    return status;
}

/* A message that is too long for a window. */
static cronq_status check_long_task(check *c, cq_str id, const cq_reply *row)
{
    cronq_status status;
    cq_reply *reply;
    cq_arena arena;

    cq_arena_init(&arena, WINDOW_BYTES);
    status = cq_redis_command(c->redis,
                              (cq_str[]){ CQ_STR("HGET"),
                                          cq_redis_key(&arena, c->prefix, "t:", id),
                                          CQ_STR("msg") },
                              3, &arena, &reply, c->err);
    if (!status && reply->type == CQ_REPLY_STRING)
        status = check_task(c, id, row, reply->text);
    cq_arena_release(&arena);
    return status;
}

static cronq_status on_task(check *c, const cq_reply *row)
{
    cq_str id = row[1].text, note = row[3].text, message = row[4].text;

    if (cq_str_eq(note, CQ_STR("w")))
        return suspect_corrupt(c, id, CQ_STR(""), "the task was not a hash");
    if (cq_str_eq(note, CQ_STR("m")))
        return check_long_task(c, id, row);
    if (message.len == 0) /* none, or an empty one */
        return suspect_corrupt(c, id, CQ_STR(""), "the message is empty");
    return check_task(c, id, row, message);
}

static cronq_status on_group(check *c, cq_str group)
{
    cronq_status status;
    cq_arena arena;

    cq_arena_init(&arena, WINDOW_BYTES);
    status = walk(c, "zset", cq_redis_key(&arena, CQ_STR("g:"), "", group), CQ_STR(""),
                  on_member);
    cq_arena_release(&arena);
    return status;
}

static cronq_status suspect_odd(check *c, const cq_reply *row)
{
    c->any = true;
    if (!is_odd(row))
        return CRONQ_OK;
    return suspect_that(c, (suspect){ .kind = row[0].text.data[0], .name = row[1].text });
}

static cronq_status on_group_key(check *c, cq_str name, const cq_reply *row)
{
    cronq_status status = suspect_odd(c, row);

    (void)name;
    return status ? status : on_group(c, row[1].text);
}

/* Any key but groups'. */
static cronq_status on_key(check *c, cq_str name, const cq_reply *row)
{
    char kind = row[0].text.data[0];

    (void)name;
    c->any = true;
    if (kind == 'g')
        return CRONQ_OK;
    return kind == 't' ? on_task(c, row) : suspect_odd(c, row);
}

/* ---- the whole queue ---- */

static const struct {
    const char *name, *type;
} containers[] = {
    { "pending", "list" },   { "active", "list" },       { "lease", "zset" },
    { "scheduled", "zset" }, { "retry", "zset" },        { "archived", "zset" },
    { "completed", "zset" }, { "groups", "set" },        { "aggregation_sets", "zset" },
    { "paused", "string" },  { "cronq:groups", "zset" },
};
#define CONTAINER_COUNT (sizeof containers / sizeof *containers)

static cronq_status check_types(check *c)
{
    cronq_status status = CRONQ_OK;

    for (size_t i = 0; i < CONTAINER_COUNT && !status; i++)
        status = suspect_that(c, (suspect){ .kind = 'c',
                                            .name = cq_str_of(containers[i].name),
                                            .seen = cq_str_of(containers[i].type) });
    return status ? status : look_at_suspects(c);
}

static cronq_status walk_containers(check *c, const char *type, row_fn *on_row)
{
    const char *what = strcmp(type, "list") == 0 ? "list" : "zset";
    cronq_status status = CRONQ_OK;
    char now[24];

    snprintf(now, sizeof now, "%lld", (long long)cq_ns_to_s(c->now_ns));
    for (size_t i = 0; i < CONTAINER_COUNT && !status; i++)
        if (strcmp(containers[i].type, type) == 0 &&
            strncmp(containers[i].name, "cronq:", 6) != 0)
            status = walk(c, what, cq_str_of(containers[i].name), cq_str_of(now), on_row);
    return status;
}

/* A pattern of SCAN: the prefix as it is, then the rest. */
static cq_str pattern_of(cq_arena *arena, cq_str prefix, const char *rest)
{
    char *text = cq_arena_alloc(arena, 2 * prefix.len + strlen(rest) + 1);
    size_t len = 0;

    if (!text)
        return (cq_str){ NULL, 0 };
    for (size_t i = 0; i < prefix.len; i++) {
        if (memchr("*?[]\\^", prefix.data[i], 6))
            text[len++] = '\\';
        text[len++] = prefix.data[i];
    }
    memcpy(text + len, rest, strlen(rest) + 1);
    return (cq_str){ text, len + strlen(rest) };
}

static cronq_status walk_keys(check *c, const char *rest, row_fn *on_row)
{
    cronq_status status;
    cq_arena arena;

    cq_arena_init(&arena, 4096);
    status = walk(c, "keys", CQ_STR(""), pattern_of(&arena, c->prefix, rest), on_row);
    cq_arena_release(&arena);
    return status;
}

/* ENOENT when it is neither listed nor has keys. */
static cronq_status check_listed(check *c)
{
    cq_finding finding = { .kind = CRONQ_FINDING_QUEUE, .queue = c->queue };
    const cq_str key = CQ_STR(CQ_KEY_QUEUES);
    cronq_status status;
    cq_reply *reply;
    cq_arena arena;

    cq_arena_init(&arena, 4096);
    status = cq_redis_command(c->redis, (cq_str[]){ CQ_STR("SISMEMBER"), key, c->queue },
                              3, &arena, &reply, c->err);
    if (!status && cq_reply_int(reply, 0) == 0) {
        if (!c->any)
            status = cq_fail(c->err, CRONQ_ENOENT, "there is no queue \"%.*s\"",
                             CQ_FMT(c->queue));
        else if (c->repair)
            status =
                cq_redis_command(c->redis, (cq_str[]){ CQ_STR("SADD"), key, c->queue }, 3,
                                 &arena, &reply, c->err);
        finding.repaired = c->repair;
        if (!status)
            c->on_finding(&finding, c->arg);
    }
    cq_arena_release(&arena);
    return status;
}

static cronq_status check_queue(check *c)
{
    cronq_status status = check_types(c);

    if (!status)
        status = walk_containers(c, "list", on_listed);
    if (!status)
        status = walk_containers(c, "zset", on_member);
    if (!status)
        status = walk_keys(c, "g:*", on_group_key);
    if (!status)
        status = look_at_suspects(c); /* tasks may be in groups that this has found */
    if (!status)
        status = walk_keys(c, "*", on_key);
    if (!status)
        status = look_at_suspects(c);
    return status ? status : check_listed(c);
}

cronq_status cq_redis_check(cq_broker *broker, cq_str queue, bool repair, int64_t now_ns,
                            cq_finding_fn *on_finding, void *arg, cronq_error *err)
{
    check *c = calloc(1, sizeof *c);
    cronq_status status;
    cq_arena names;

    if (!c)
        return cq_fail_nomem(err);
    cq_arena_init(&names, 4096);
    *c = (check){ .redis = cq_redis_of(broker),
                  .queue = queue,
                  .prefix = cq_redis_prefix(&names, queue),
                  .repair = repair,
                  .now_ns = now_ns,
                  .on_finding = on_finding,
                  .arg = arg,
                  .err = err };
    cq_arena_init(&c->kept, WINDOW_BYTES);
    status = c->prefix.data ? check_queue(c) : cq_fail_nomem(err);
    cq_arena_release(&c->kept);
    cq_arena_release(&names);
    free(c->pending.hashes);
    free(c->active.hashes);
    free(c);
    return status;
}
