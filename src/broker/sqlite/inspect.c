/* SPDX-License-Identifier: MIT */
/* broker/sqlite/inspect.c - looking at queues, and pausing them. */
#include "broker/sqlite/sqlite.h"

#include "base/error.h"
#include "base/quote.h"

#define QUEUE_LIST_LIMIT 100000
#define ROW_BYTES        150

typedef struct queues_args {
    cq_arena *arena;
    cq_str *names;
    size_t count, room;
} queues_args;

static bool add_name(queues_args *args, cq_str name)
{
    cq_str *more;

    if (args->count == args->room) {
        more = cq_arena_calloc(args->arena, 2 * args->room + 16, sizeof *more);
        if (!more)
            return false;
        if (args->count)
            memcpy(more, args->names, args->count * sizeof *more);
        args->names = more;
        args->room = 2 * args->room + 16;
    }
    args->names[args->count++] = name;
    return name.data != NULL;
}

static cronq_status queues_work(cq_sqlite *store, void *arg, cronq_error *err)
{
    queues_args *args = arg;
    cq_sql sql = cq_sql_of(store, CQ_SQL_queue_list);

    (void)err;
    args->count = 0;
    while (args->count < QUEUE_LIST_LIMIT && cq_sql_step(&sql))
        if (!add_name(args, cq_sql_copy_str(&sql, 0, args->arena)))
            cq_sqlite_note(store, SQLITE_NOMEM);
    cq_sql_end(&sql);
    return CRONQ_OK;
}

static cronq_status queues(cq_broker *broker, cq_arena *arena, cq_str **out,
                           size_t *count, cronq_error *err)
{
    queues_args args = { .arena = arena };
    cronq_status status;

    status = cq_sqlite_do(cq_sqlite_of(broker), CQ_SQLITE_READS, queues_work, &args, err);
    if (status)
        return status;
    *out = args.names;
    *count = args.count;
    return CRONQ_OK;
}

/* ---- counts ---- */

typedef struct counts_args {
    cq_str queue;
    int64_t now_ns;
    cq_queue_counts counts;
} counts_args;

static void read_states(cq_sqlite *store, int64_t queue, cq_queue_counts *out)
{
    uint64_t *const counts[] = {
        [CQ_SQLITE_PENDING] = &out->pending,
        [CQ_SQLITE_ACTIVE] = &out->active,
        [CQ_SQLITE_SCHEDULED] = &out->scheduled,
        [CQ_SQLITE_RETRY] = &out->retry,
        [CQ_SQLITE_ARCHIVED] = &out->archived,
        [CQ_SQLITE_COMPLETED] = &out->completed,
        [CQ_SQLITE_AGGREGATING] = &out->aggregating,
    };
    cq_sql sql = cq_sql_of(store, CQ_SQL_state_counts);

    cq_sql_int(&sql, queue);
    while (cq_sql_step(&sql)) {
        int64_t state = cq_sql_get_int(&sql, 0);

        if (state >= 0 && (size_t)state < sizeof counts / sizeof *counts)
            *counts[state] = (uint64_t)cq_sql_get_int(&sql, 1);
    }
    sql = cq_sql_of(store, CQ_SQL_group_count);
    cq_sql_int(&sql, queue);
    out->groups = (uint64_t)cq_sql_value(&sql, 0);
}

static void read_day(cq_sqlite *store, int64_t queue, int64_t day, uint64_t *processed,
                     uint64_t *failed)
{
    cq_sql sql = cq_sql_of(store, CQ_SQL_count_get);

    cq_sql_int(&sql, queue);
    cq_sql_int(&sql, day);
    if (!cq_sql_step(&sql))
        return;
    *processed = (uint64_t)cq_sql_get_int(&sql, 0);
    *failed = (uint64_t)cq_sql_get_int(&sql, 1);
    cq_sql_end(&sql);
}

/* A few rows stand for all. What a row and its places in the indexes cost beside id and
 * message was measured. */
static uint64_t weigh(cq_sqlite *store, int64_t queue, const cq_queue_counts *counts)
{
    cq_sql sql = cq_sql_of(store, CQ_SQL_weigh);

    cq_sql_int(&sql, queue);
    cq_sql_int(&sql, ROW_BYTES);
    return (uint64_t)cq_sql_value(&sql, 0) *
           (counts->pending + counts->active + counts->scheduled + counts->retry +
            counts->archived + counts->completed + counts->aggregating);
}

static cronq_status counts_work(cq_sqlite *store, void *arg, cronq_error *err)
{
    counts_args *args = arg;
    cq_queue_counts *out = &args->counts;
    int64_t queue = cq_sqlite_queue(store, args->queue, &out->paused_at_s);
    int64_t since_ns;
    cq_sql sql;

    if (!queue && !store->code)
        return cq_sqlite_no_queue(args->queue, err);
    out->paused = out->paused_at_s != 0;
    read_states(store, queue, out);
    read_day(store, queue, args->now_ns / CQ_NS_PER_S / 86400, &out->processed_today,
             &out->failed_today);
    read_day(store, queue, CQ_SQLITE_ALL_TIME, &out->processed, &out->failed);
    sql = cq_sql_of(store, CQ_SQL_oldest);
    cq_sql_int(&sql, queue);
    since_ns = cq_sql_value(&sql, 0);
    if (since_ns > 0 && since_ns < args->now_ns)
        out->latency_ns = args->now_ns - since_ns;
    out->memory_bytes = weigh(store, queue, out);
    return CRONQ_OK;
}

static cronq_status counts(cq_broker *broker, cq_str queue, int64_t now_ns,
                           cq_queue_counts *out, cronq_error *err)
{
    counts_args args = { .queue = queue, .now_ns = now_ns };
    cronq_status status;

    status = cq_sqlite_do(cq_sqlite_of(broker), CQ_SQLITE_READS, counts_work, &args, err);
    if (!status)
        *out = args.counts;
    return status;
}

/* ---- pausing ---- */

typedef struct pause_args {
    cq_str queue;
    bool paused;
    int64_t now_s;
} pause_args;

/* As on Redis, a queue may be paused before its first task. */
static cronq_status pause_work(cq_sqlite *store, void *arg, cronq_error *err)
{
    const pause_args *args = arg;
    int64_t queue = args->paused ? cq_sqlite_queue_or_new(store, args->queue)
                                 : cq_sqlite_queue(store, args->queue, NULL);
    cq_sql sql = cq_sql_of(store, args->paused ? CQ_SQL_pause : CQ_SQL_resume);
    char room[CQ_QUOTED_ROOM];

    cq_sql_int(&sql, queue);
    if (args->paused)
        cq_sql_int(&sql, args->now_s);
    store->ring = true;
    if (cq_sql_run(&sql) > 0 || store->code)
        return CRONQ_OK;
    return cq_fail(err, CRONQ_ESTATE, "queue %s is %s", cq_quoted(args->queue, room),
                   args->paused ? "paused already" : "not paused");
}

static cronq_status pause_queue(cq_broker *broker, cq_str queue, bool paused,
                                int64_t now_ns, cronq_error *err)
{
    pause_args args = { queue, paused, now_ns / CQ_NS_PER_S };

    return cq_sqlite_do(cq_sqlite_of(broker), CQ_SQLITE_DRAINS, pause_work, &args, err);
}

const cq_inspect_ops cq_sqlite_inspect_ops = {
    .queues = queues,
    .counts = counts,
    .pause = pause_queue,
    .history = cq_sqlite_history,
    .groups = cq_sqlite_groups,
    .task = cq_sqlite_task,
    .list = cq_sqlite_list,
    .act = cq_sqlite_act,
    .act_all = cq_sqlite_act_all,
    .remove_queue = cq_sqlite_remove_queue,
    .replace = cq_sqlite_replace,
    .reschedule = cq_sqlite_reschedule,
    .cancel = cq_sqlite_cancel,
    .implant = cq_sqlite_implant,
    .lock_left = cq_sqlite_lock_left,
    .servers = cq_sqlite_servers,
    .workers = cq_sqlite_workers,
    .entries = cq_sqlite_entries,
    .events = cq_sqlite_events,
    .check = cq_sqlite_check,
};
