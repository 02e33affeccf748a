/* SPDX-License-Identifier: MIT */
/* broker/sqlite/delayed.c - what time moves: due tasks, old results, old locks. */
#include "broker/sqlite/sqlite.h"

typedef struct due_task {
    int64_t number;
    bool has_group;
} due_task;

static size_t move_due_of(cq_sqlite *store, int64_t queue, int64_t state, int64_t now_ns,
                          size_t limit, int64_t *back)
{
    due_task due[CQ_SQLITE_CHUNK];
    cq_sql sql = cq_sql_of(store, CQ_SQL_due_list);
    int64_t now_ms = cq_ns_to_ms(now_ns);
    size_t count = 0;

    cq_sql_int(&sql, queue);
    cq_sql_int(&sql, state);
    cq_sql_int(&sql, now_ms);
    cq_sql_int(&sql, (int64_t)limit);
    while (count < limit && cq_sql_step(&sql))
        due[count++] = (due_task){ cq_sql_get_int(&sql, 0), cq_sql_get_int(&sql, 1) };
    cq_sql_end(&sql);
    if (count && !*back)
        *back = cq_sqlite_back(store, queue);
    for (size_t i = 0; i < count; i++) {
        sql = cq_sql_of(store, CQ_SQL_due_move);
        cq_sql_int(&sql, due[i].number);
        cq_sql_int(&sql, due[i].has_group ? CQ_SQLITE_AGGREGATING : CQ_SQLITE_PENDING);
        cq_sql_int(&sql, due[i].has_group ? now_ms : (*back)++);
        cq_sql_int(&sql, now_ns);
        cq_sql_run(&sql);
    }
    if (count)
        store->ring = true;
    return count;
}

size_t cq_sqlite_move_due(cq_sqlite *store, int64_t queue, int64_t now_ns, size_t limit)
{
    int64_t back = 0;
    size_t moved;

    if (limit > CQ_SQLITE_CHUNK)
        limit = CQ_SQLITE_CHUNK;
    moved = move_due_of(store, queue, CQ_SQLITE_SCHEDULED, now_ns, limit, &back);
    if (moved < limit)
        moved += move_due_of(store, queue, CQ_SQLITE_RETRY, now_ns, limit - moved, &back);
    return moved;
}

typedef struct chunk_args {
    cq_str queue;
    int64_t now_ns;
    size_t limit, count; /* count: out */
} chunk_args;

static cronq_status forward_work(cq_sqlite *store, void *arg, cronq_error *err)
{
    chunk_args *args = arg;
    int64_t queue = cq_sqlite_queue(store, args->queue, NULL);

    (void)err;
    args->count = queue ? cq_sqlite_move_due(store, queue, args->now_ns, args->limit) : 0;
    return CRONQ_OK;
}

cronq_status cq_sqlite_forward(cq_broker *broker, cq_str queue, int64_t now_ns,
                               size_t limit, size_t *moved, cronq_error *err)
{
    chunk_args args = { queue, now_ns, limit, 0 };
    cronq_status status;

    status =
        cq_sqlite_do(cq_sqlite_of(broker), CQ_SQLITE_DRAINS, forward_work, &args, err);
    if (!status)
        *moved = args.count;
    return status;
}

/* A group is what its tasks say: no name of it can be lost. */
cronq_status cq_sqlite_repair_groups(cq_broker *broker, cq_str queue, int64_t now_ns,
                                     cronq_error *err)
{
    (void)broker;
    (void)queue;
    (void)now_ns;
    (void)err;
    return CRONQ_OK;
}

#define CANCEL_AGE_MS (3600 * CQ_MS_PER_S)

static cronq_status purge_work(cq_sqlite *store, void *arg, cronq_error *err)
{
    chunk_args *args = arg;
    int64_t queue = cq_sqlite_queue(store, args->queue, NULL);
    int64_t now_ms = cq_ns_to_ms(args->now_ns);
    cq_sql sql = cq_sql_of(store, CQ_SQL_purge_completed);

    (void)err;
    cq_sql_int(&sql, queue);
    cq_sql_int(&sql, now_ms);
    cq_sql_int(&sql, (int64_t)args->limit);
    args->count = (size_t)cq_sql_run(&sql);
    sql = cq_sql_of(store, CQ_SQL_purge_locks);
    cq_sql_int(&sql, now_ms);
    cq_sql_int(&sql, (int64_t)args->limit);
    cq_sql_run(&sql);
    sql = cq_sql_of(store, CQ_SQL_purge_counts);
    cq_sql_int(&sql, queue);
    cq_sql_int(&sql, (cq_seconds_down(now_ms) - CQ_STATISTICS_AGE_S) / 86400);
    cq_sql_run(&sql);
    sql = cq_sql_of(store, CQ_SQL_purge_cancels);
    cq_sql_int(&sql, now_ms - CANCEL_AGE_MS);
    cq_sql_run(&sql);
    return CRONQ_OK;
}

cronq_status cq_sqlite_purge(cq_broker *broker, cq_str queue, int64_t now_ns,
                             size_t limit, size_t *deleted, cronq_error *err)
{
    chunk_args args = { queue, now_ns, limit < CQ_SQLITE_CHUNK ? limit : CQ_SQLITE_CHUNK,
                        0 };
    cronq_status status;

    status = cq_sqlite_do(cq_sqlite_of(broker), CQ_SQLITE_DRAINS, purge_work, &args, err);
    if (!status)
        *deleted = args.count;
    return status;
}
