/* SPDX-License-Identifier: MIT */
/* broker/sqlite/told.c - what was told: by servers, workers and schedulers, and what the
 * counters of days say. */
#include "broker/sqlite/sqlite.h"

#include "base/error.h"

#define TOLD_LIMIT 100000

/* ---- history ---- */

typedef struct history_args {
    cq_str queue;
    int64_t today;
    size_t days;
    cq_day *out;
} history_args;

static cronq_status history_work(cq_sqlite *store, void *arg, cronq_error *err)
{
    const history_args *args = arg;
    int64_t queue = cq_sqlite_queue(store, args->queue, NULL);

    if (!queue && !store->code)
        return cq_sqlite_no_queue(args->queue, err);
    for (size_t i = 0; i < args->days; i++) {
        cq_sql sql = cq_sql_of(store, CQ_SQL_count_get);

        args->out[i] = (cq_day){ 0, 0 };
        cq_sql_int(&sql, queue);
        cq_sql_int(&sql, args->today - (int64_t)i);
        if (!cq_sql_step(&sql))
            continue;
        args->out[i] = (cq_day){ (uint64_t)cq_sql_get_int(&sql, 0),
                                 (uint64_t)cq_sql_get_int(&sql, 1) };
        cq_sql_end(&sql);
    }
    return CRONQ_OK;
}

cronq_status cq_sqlite_history(cq_broker *broker, cq_str queue, size_t days,
                               int64_t now_ns, cq_day *out, cronq_error *err)
{
    history_args args = { queue, now_ns / CQ_NS_PER_S / 86400, days, out };

    return cq_sqlite_do(cq_sqlite_of(broker), CQ_SQLITE_READS, history_work, &args, err);
}

/* ---- what was told ---- */

typedef struct told_args {
    cq_sql_name statement;
    int64_t now_ms;  /* of those that live; events have: */
    cq_str entry_id; /* data NULL: not those */
    size_t offset, limit;
    cq_arena *arena;
    cronq_bytes *items;
    size_t count, room;
} told_args;

static void add(cq_sqlite *store, told_args *args, cronq_bytes item)
{
    if (args->count == args->room) {
        size_t room = 2 * args->room + 16;
        cronq_bytes *more = cq_arena_calloc(args->arena, room, sizeof *more);

        if (!more) {
            cq_sqlite_note(store, SQLITE_NOMEM);
            return;
        }
        if (args->count)
            memcpy(more, args->items, args->count * sizeof *more);
        args->items = more;
        args->room = room;
    }
    if (!item.data)
        cq_sqlite_note(store, SQLITE_NOMEM);
    args->items[args->count++] = item;
}

static cronq_status told_work(cq_sqlite *store, void *arg, cronq_error *err)
{
    told_args *args = arg;
    cq_sql sql = cq_sql_of(store, args->statement);

    (void)err;
    args->count = args->room = 0;
    if (args->entry_id.data) {
        cq_sql_str(&sql, args->entry_id);
        cq_sql_int(&sql, (int64_t)args->limit);
        cq_sql_int(&sql, (int64_t)args->offset);
    } else {
        cq_sql_int(&sql, args->now_ms);
    }
    while (args->count < args->limit && cq_sql_step(&sql))
        add(store, args, cq_sql_copy_bytes(&sql, 0, args->arena));
    cq_sql_end(&sql);
    return CRONQ_OK;
}

static cronq_status tell(cq_broker *broker, told_args *args, cronq_bytes **out,
                         size_t *count, cronq_error *err)
{
    cronq_status status =
        cq_sqlite_do(cq_sqlite_of(broker), CQ_SQLITE_READS, told_work, args, err);

    if (status)
        return status;
    *out = args->items;
    *count = args->count;
    return CRONQ_OK;
}

static cronq_status tell_living(cq_broker *broker, cq_sql_name statement, int64_t now_ns,
                                cq_arena *arena, cronq_bytes **out, size_t *count,
                                cronq_error *err)
{
    told_args args = { .statement = statement,
                       .now_ms = cq_ns_to_ms(now_ns),
                       .limit = TOLD_LIMIT,
                       .arena = arena };

    return tell(broker, &args, out, count, err);
}

cronq_status cq_sqlite_servers(cq_broker *broker, int64_t now_ns, cq_arena *arena,
                               cronq_bytes **out, size_t *count, cronq_error *err)
{
    return tell_living(broker, CQ_SQL_server_list, now_ns, arena, out, count, err);
}

cronq_status cq_sqlite_workers(cq_broker *broker, int64_t now_ns, cq_arena *arena,
                               cronq_bytes **out, size_t *count, cronq_error *err)
{
    return tell_living(broker, CQ_SQL_worker_list, now_ns, arena, out, count, err);
}

cronq_status cq_sqlite_entries(cq_broker *broker, int64_t now_ns, cq_arena *arena,
                               cronq_bytes **out, size_t *count, cronq_error *err)
{
    return tell_living(broker, CQ_SQL_entry_list, now_ns, arena, out, count, err);
}

cronq_status cq_sqlite_events(cq_broker *broker, cq_str entry_id, size_t offset,
                              size_t limit, cq_arena *arena, cronq_bytes **out,
                              size_t *count, cronq_error *err)
{
    told_args args = { .statement = CQ_SQL_event_list,
                       .entry_id = entry_id,
                       .offset = offset,
                       .limit = limit < TOLD_LIMIT ? limit : TOLD_LIMIT,
                       .arena = arena };

    return tell(broker, &args, out, count, err);
}
