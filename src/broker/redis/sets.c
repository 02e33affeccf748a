/* SPDX-License-Identifier: MIT */
/* broker/redis/sets.c - merging groups: which are due, and their aggregation sets. */
#include "broker/redis/redis.h"

#include "base/error.h"
#include "base/quote.h"

/* ---- which are due ---- */

static cq_str *rule_words(cq_str *word, const cq_group_rules *rules, int64_t now_ns,
                          cq_arena *arena)
{
    *word++ = cq_redis_int(arena, cq_ns_to_s(now_ns));
    *word++ = cq_redis_int(arena, rules->grace_s);
    *word++ = cq_redis_int(arena, rules->max_delay_s);
    *word++ = cq_redis_int(arena, (int64_t)rules->max_size);
    return word;
}

cronq_status cq_redis_due_groups(cq_broker *broker, cq_str queue,
                                 const cq_group_rules *rules, int64_t now_ns,
                                 size_t limit, cq_arena *arena, cq_str **out,
                                 size_t *count, cronq_error *err)
{
    cq_str *due = cq_arena_calloc(arena, limit + 1, sizeof *due);
    cq_str words[5] = { CQ_STR("0") };
    size_t n = 0;

    if (!due)
        return cq_fail_nomem(err);
    rule_words(words + 1, rules, now_ns, arena);
    do {
        cq_reply *reply;
        cronq_status status = cq_redis_rows_on(cq_redis_of(broker), CQ_LUA_due_groups,
                                               queue, words, 5, 1, arena, &reply, err);

        if (status)
            return status;
        if (reply->count == 0)
            return cq_fail(err, CRONQ_EPROTO,
                           "due groups were answered without a cursor");
        words[0] = reply->elements[0].text;
        for (size_t i = 1; i < reply->count && n < limit; i++)
            due[n++] = reply->elements[i].text;
    } while (!cq_str_eq(words[0], CQ_STR("0")) && n < limit);
    *out = due;
    *count = n;
    return CRONQ_OK;
}

cronq_status cq_redis_take_group(cq_broker *broker, const cq_set *set,
                                 const cq_group_rules *rules, int64_t now_ns,
                                 size_t *taken, cronq_error *err)
{
    cq_str words[8] = { set->group, set->id }, *word;
    cronq_status status;
    cq_reply *reply;
    cq_arena arena;

    cq_arena_init(&arena, CQ_REDIS_ARENA_BYTES);
    word = rule_words(words + 2, rules, now_ns, &arena);
    *word++ = cq_redis_int(&arena, CQ_SET_LIMIT);
    *word++ = cq_redis_int(&arena, cq_ns_to_s(now_ns) + broker->set_age_s);
    status = cq_redis_script_on(cq_redis_of(broker), CQ_LUA_take_group, set->queue, words,
                                8, &arena, &reply, err);
    if (!status)
        *taken = (size_t)cq_reply_int(reply, 0);
    cq_arena_release(&arena);
    return status;
}

/* ---- a set ---- */

static cq_str set_name(const cq_set *set, cq_arena *arena)
{
    cq_str group = cq_redis_key(arena, CQ_STR("g:"), "", set->group);

    return cq_redis_key(arena, group, ":", set->id);
}

cronq_status cq_redis_read_set(cq_broker *broker, const cq_set *set, cq_arena *arena,
                               cq_record **out, size_t *count, cronq_error *err)
{
    cq_record *all = cq_arena_calloc(arena, CQ_SET_LIMIT + 1, sizeof *all), *page;
    size_t n = 0, got = CQ_PAGE_LIMIT;

    if (!all)
        return cq_fail_nomem(err);
    while (got == CQ_PAGE_LIMIT && n < CQ_SET_LIMIT) {
        cq_str words[] = { set_name(set, arena), CQ_STR("0"),
                           cq_redis_int(arena, (int64_t)n),
                           cq_redis_int(arena, CQ_PAGE_LIMIT) };
        cronq_status status = cq_redis_read_page(cq_redis_of(broker), set->queue, words,
                                                 4, arena, &page, &got, err);

        if (status)
            return status;
        memcpy(all + n, page, got * sizeof *page);
        n += got;
    }
    *out = all;
    *count = n;
    return CRONQ_OK;
}

static cronq_status no_such_set(const cq_set *set, cronq_error *err)
{
    char room[CQ_QUOTED_ROOM];

    return cq_fail(err, CRONQ_ESTATE, "there is no set %.*s of group %s", CQ_FMT(set->id),
                   cq_quoted(set->group, room));
}

cronq_status cq_redis_extend_set(cq_broker *broker, const cq_set *set, int64_t now_ns,
                                 cronq_error *err)
{
    cronq_status status;
    cq_reply *reply;
    cq_arena arena;
    cq_str prefix;

    cq_arena_init(&arena, CQ_REDIS_ARENA_BYTES);
    prefix = cq_redis_prefix(&arena, set->queue);
    status = cq_redis_command(
        cq_redis_of(broker),
        (cq_str[]){ CQ_STR("ZADD"),
                    cq_redis_key(&arena, prefix, "aggregation_sets", CQ_STR("")),
                    CQ_STR("XX"), CQ_STR("CH"),
                    cq_redis_int(&arena, cq_ns_to_s(now_ns) + broker->set_age_s),
                    cq_redis_key(&arena, prefix, "", set_name(set, &arena)) },
        6, &arena, &reply, err);
    if (!status && cq_reply_int(reply, 0) == 0)
        status = no_such_set(set, err);
    cq_arena_release(&arena);
    return status;
}

static cq_str word_of(cronq_bytes bytes)
{
    return (cq_str){ bytes.data ? bytes.data : "", bytes.len };
}

cronq_status cq_redis_finish_set(cq_broker *broker, const cq_set *set, cronq_bytes merged,
                                 const cq_misfit *misfits, size_t misfit_count,
                                 int64_t now_ns, cronq_error *err)
{
    size_t word_count = 7 + 2 * misfit_count;
    int64_t now_s = cq_ns_to_s(now_ns);
    cq_str *words, *word;
    cronq_status status;
    cq_reply *reply;
    cq_arena arena;

    cq_arena_init(&arena, CQ_REDIS_ARENA_BYTES);
    word = words = cq_arena_calloc(&arena, word_count, sizeof *words);
    if (!words)
        return cq_fail_nomem(err);
    *word++ = set->group;
    *word++ = set->id;
    *word++ = cq_redis_int(&arena, now_s);
    *word++ = cq_redis_int(&arena, now_ns);
    *word++ = cq_redis_int(&arena, broker->archive_count);
    *word++ = cq_redis_int(&arena, now_s - broker->archive_age_s);
    *word++ = word_of(merged);
    for (size_t i = 0; i < misfit_count; i++) {
        *word++ = misfits[i].id;
        *word++ = word_of(misfits[i].message);
    }
    status = cq_redis_script_on(cq_redis_of(broker), CQ_LUA_finish_set, set->queue, words,
                                word_count, &arena, &reply, err);
    if (!status && cq_reply_int(reply, 0) != 1)
        status = no_such_set(set, err);
    cq_arena_release(&arena);
    return status;
}

cronq_status cq_redis_reclaim_sets(cq_broker *broker, cq_str queue, int64_t now_ns,
                                   size_t limit, size_t *reclaimed, cronq_error *err)
{
    cronq_status status;
    cq_reply *reply;
    cq_arena arena;

    cq_arena_init(&arena, CQ_REDIS_ARENA_BYTES);
    status = cq_redis_script_on(cq_redis_of(broker), CQ_LUA_reclaim, queue,
                                (cq_str[]){ cq_redis_int(&arena, cq_ns_to_s(now_ns)),
                                            cq_redis_int(&arena, (int64_t)limit) },
                                2, &arena, &reply, err);
    if (!status)
        *reclaimed = (size_t)cq_reply_int(reply, 0);
    cq_arena_release(&arena);
    return status;
}
