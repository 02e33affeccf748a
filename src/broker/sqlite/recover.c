/* SPDX-License-Identifier: MIT */
/* broker/sqlite/recover.c - leases that are over. */
#include "broker/sqlite/sqlite.h"

#include "base/error.h"

#include <math.h>

/* ---- listing ---- */

typedef struct expired_args {
    cq_str queue;
    int64_t over_by_ms;
    size_t limit;
    cq_arena *arena;
    cq_expired *found;
    size_t count;
} expired_args;

static cronq_status expired_work(cq_sqlite *store, void *arg, cronq_error *err)
{
    expired_args *args = arg;
    int64_t queue = cq_sqlite_queue(store, args->queue, NULL);
    cq_sql sql = cq_sql_of(store, CQ_SQL_expired);

    (void)err;
    args->count = 0;
    cq_sql_int(&sql, queue);
    cq_sql_int(&sql, args->over_by_ms);
    cq_sql_int(&sql, (int64_t)args->limit);
    while (args->count < args->limit && cq_sql_step(&sql)) {
        cq_expired *found = &args->found[args->count++];
        int64_t fence = cq_sql_get_int(&sql, 2);

        found->id = cq_sql_copy_str(&sql, 0, args->arena);
        found->score = cq_sqlite_score(cq_sql_get_int(&sql, 1), fence);
        found->message = cq_sql_copy_bytes(&sql, 3, args->arena);
        found->marked = !cq_sql_is_null(&sql, 4);
        found->cancelled = !cq_sql_is_null(&sql, 5);
        found->started = found->marked && cq_sql_get_int(&sql, 4) == fence;
        if (!found->id.data || !found->message.data)
            cq_sqlite_note(store, SQLITE_NOMEM);
    }
    cq_sql_end(&sql);
    return CRONQ_OK;
}

cronq_status cq_sqlite_list_expired(cq_broker *broker, cq_str queue, int64_t now_ns,
                                    size_t limit, cq_arena *arena, cq_expired **out,
                                    size_t *count, cronq_error *err)
{
    cq_sqlite *store = cq_sqlite_of(broker);
    expired_args args = { .queue = queue,
                          .over_by_ms = cq_ns_to_ms(now_ns) - store->recover_after_ms,
                          .limit = limit < CQ_SQLITE_CHUNK ? limit : CQ_SQLITE_CHUNK,
                          .arena = arena };
    cronq_status status;

    args.found = cq_arena_calloc(arena, args.limit + 1, sizeof *args.found);
    if (!args.found)
        return cq_fail_nomem(err);
    status = cq_sqlite_do(store, CQ_SQLITE_READS, expired_work, &args, err);
    if (status)
        return status;
    *out = args.found;
    *count = args.count;
    return CRONQ_OK;
}

/* ---- recovering ---- */

typedef struct recover_args {
    cq_str queue;
    cq_recovery *items;
    size_t count;
    int64_t now_ns, now_ms;
    int64_t number, front; /* of the queue; the place of the next that goes to pending */
} recover_args;

/* A lease is known by its fence and its end. */
static void bind_lease(cq_sql *sql, const recover_args *args, const cq_recovery *item)
{
    double end_s = floor(item->score);

    cq_sql_int(sql, args->number);
    cq_sql_str(sql, item->id);
    cq_sql_int(sql, CQ_SQLITE_FENCE_BASE +
                        (int64_t)llround((item->score - end_s) * CQ_FENCE_LIMIT));
    cq_sql_int(sql, (int64_t)end_s * CQ_MS_PER_S);
}

/* Its turn had come: it is the next to run. */
static bool to_pending(cq_sqlite *store, recover_args *args, const cq_recovery *item)
{
    bool charged = item->kind == CQ_RECOVER_RETRY;
    cq_sql sql = cq_sql_of(store, charged ? CQ_SQL_recover : CQ_SQL_put_back);

    bind_lease(&sql, args, item);
    if (charged)
        cq_sql_int(&sql, CQ_SQLITE_PENDING);
    cq_sql_int(&sql, args->front);
    if (charged)
        cq_sql_bytes(&sql, item->message);
    cq_sql_int(&sql, args->now_ns);
    if (cq_sql_run(&sql) == 0)
        return false;
    args->front--;
    store->ring = true;
    return true;
}

static bool to_archive(cq_sqlite *store, recover_args *args, const cq_recovery *item)
{
    bool broken = item->kind == CQ_RECOVER_QUARANTINE;
    cq_sql sql = cq_sql_of(store, broken ? CQ_SQL_quarantine : CQ_SQL_recover);

    bind_lease(&sql, args, item);
    if (!broken)
        cq_sql_int(&sql, CQ_SQLITE_ARCHIVED);
    cq_sql_int(&sql, args->now_ms);
    cq_sql_bytes(&sql, item->message);
    if (!broken)
        cq_sql_int(&sql, args->now_ns);
    return cq_sql_run(&sql) > 0;
}

/* Here no id is without its task: there is nothing to drop. */
static bool recover_one(cq_sqlite *store, recover_args *args, const cq_recovery *item)
{
    if (item->kind == CQ_RECOVER_DROP)
        return false;
    if (item->kind == CQ_RECOVER_RETRY || item->kind == CQ_RECOVER_PUT_BACK)
        return to_pending(store, args, item);
    return to_archive(store, args, item);
}

static cronq_status recover_work(cq_sqlite *store, void *arg, cronq_error *err)
{
    recover_args *args = arg;
    int64_t failed = 0;
    bool archived = false;

    (void)err;
    args->number = cq_sqlite_queue(store, args->queue, NULL);
    args->front = cq_sqlite_front(store, args->number);
    for (size_t i = 0; i < args->count; i++) {
        cq_recovery *item = &args->items[i];
        bool done = recover_one(store, args, item);

        item->status = done ? CRONQ_OK : CRONQ_ESTATE;
        if (done)
            cq_sqlite_remember(store, args->number, item->id, item->failure_line);
        failed += done && item->kind != CQ_RECOVER_PUT_BACK;
        archived |= done && (item->kind == CQ_RECOVER_ARCHIVE ||
                             item->kind == CQ_RECOVER_QUARANTINE);
    }
    cq_sqlite_count(store, args->number, args->now_ms, failed, failed);
    if (archived)
        cq_sqlite_trim_archive(store, args->number, args->now_ms);
    return CRONQ_OK;
}

cronq_status cq_sqlite_recover(cq_broker *broker, cq_str queue, cq_recovery *items,
                               size_t count, int64_t now_ns, cronq_error *err)
{
    cronq_status status = CRONQ_OK;

    for (size_t at = 0; at < count && !status; at += CQ_SQLITE_CHUNK) {
        recover_args args = { .queue = queue,
                              .items = items + at,
                              .count = count - at,
                              .now_ns = now_ns,
                              .now_ms = cq_ns_to_ms(now_ns) };

        if (args.count > CQ_SQLITE_CHUNK)
            args.count = CQ_SQLITE_CHUNK;
        status = cq_sqlite_do(cq_sqlite_of(broker), CQ_SQLITE_DRAINS, recover_work, &args,
                              err);
        for (size_t i = at; status && i < count; i++)
            items[i].status = CRONQ_EIO;
    }
    return status;
}

/* ---- active without a lease: a row has both or neither ---- */

cronq_status cq_sqlite_list_unleased(cq_broker *broker, cq_str queue, size_t limit,
                                     cq_arena *arena, cq_str **out, size_t *count,
                                     cronq_error *err)
{
    cq_str *none = cq_arena_calloc(arena, 1, sizeof *none);

    (void)broker;
    (void)queue;
    (void)limit;
    if (!none)
        return cq_fail_nomem(err);
    *out = none;
    *count = 0;
    return CRONQ_OK;
}

cronq_status cq_sqlite_adopt(cq_broker *broker, cq_str queue, const cq_str *ids,
                             size_t count, int64_t now_ns, cronq_error *err)
{
    (void)broker;
    (void)queue;
    (void)ids;
    (void)count;
    (void)now_ns;
    (void)err;
    return CRONQ_OK;
}
