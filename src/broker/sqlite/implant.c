/* SPDX-License-Identifier: MIT */
/* broker/sqlite/implant.c - storing tasks that were in another store. */
#include "broker/sqlite/sqlite.h"

#include "base/error.h"

typedef struct implant_args {
    cq_str queue;
    cq_implant *items;
    size_t count;
    int64_t now_ms;
} implant_args;

static bool is_same(cq_sqlite *store, int64_t queue, const cq_record *task)
{
    cq_sql sql = cq_sql_of(store, CQ_SQL_task_message);
    cronq_bytes stored;
    bool same = false;

    cq_sql_int(&sql, queue);
    cq_sql_str(&sql, task->id);
    if (!cq_sql_step(&sql))
        return false;
    stored = cq_sql_get_bytes(&sql, 0);
    same = stored.len == task->message.len &&
           memcmp(stored.data, task->message.data, stored.len) == 0;
    cq_sql_end(&sql);
    return same;
}

static void hold(cq_sqlite *store, const cq_implant *item, int64_t now_ms)
{
    cq_sql sql = cq_sql_of(store, CQ_SQL_lock_set);

    cq_sql_str(&sql, item->unique_key);
    cq_sql_str(&sql, item->record.id);
    cq_sql_int(&sql, now_ms + item->lock_left_s * CQ_MS_PER_S);
    cq_sql_run(&sql);
}

static void bytes_or_null(cq_sql *sql, cronq_bytes bytes)
{
    if (bytes.data)
        cq_sql_bytes(sql, bytes);
    else
        cq_sql_null(sql);
}

static bool add(cq_sqlite *store, int64_t queue, const cq_implant *item, int64_t place)
{
    const cq_record *task = &item->record;
    bool pending = task->state == CRONQ_STATE_PENDING;
    cq_sql sql = cq_sql_of(store, CQ_SQL_implant);

    cq_sql_int(&sql, queue);
    cq_sql_int(&sql, cq_sqlite_state(task->state));
    cq_sql_int(&sql, pending ? place : task->at_ms);
    if (pending && task->pending_since_ns)
        cq_sql_int(&sql, task->pending_since_ns);
    else
        cq_sql_null(&sql);
    cq_sql_str(&sql, task->id);
    cq_sql_bytes(&sql, task->message);
    cq_sql_str_or_null(&sql, task->group);
    cq_sql_str_or_null(&sql, item->unique_key);
    bytes_or_null(&sql, task->result);
    bytes_or_null(&sql, task->failures);
    bytes_or_null(&sql, task->raw);
    return cq_sql_run(&sql) > 0;
}

static cronq_status implant_work(cq_sqlite *store, void *arg, cronq_error *err)
{
    implant_args *args = arg;
    int64_t queue = cq_sqlite_queue_or_new(store, args->queue);
    int64_t place = cq_sqlite_back(store, queue);

    (void)err;
    for (size_t i = 0; i < args->count && !store->code; i++) {
        cq_implant *item = &args->items[i];
        bool added = add(store, queue, item, place++);

        item->status =
            added || is_same(store, queue, &item->record) ? CRONQ_OK : CRONQ_EEXIST;
        if (added && item->lock_left_s)
            hold(store, item, args->now_ms);
    }
    store->ring = true;
    return CRONQ_OK;
}

cronq_status cq_sqlite_implant(cq_broker *broker, cq_str queue, cq_implant *items,
                               size_t count, cronq_error *err)
{
    implant_args args = { queue, items, count, cq_ns_to_ms(broker->ops->now_ns(broker)) };

    return cq_sqlite_do(cq_sqlite_of(broker), CQ_SQLITE_ADDS, implant_work, &args, err);
}

typedef struct left_args {
    cq_str lock, holder;
    int64_t until_ms;
} left_args;

static cronq_status left_work(cq_sqlite *store, void *arg, cronq_error *err)
{
    left_args *args = arg;
    cq_sql sql = cq_sql_of(store, CQ_SQL_lock_until);

    (void)err;
    cq_sql_str(&sql, args->lock);
    cq_sql_str(&sql, args->holder);
    args->until_ms = cq_sql_value(&sql, 0);
    return CRONQ_OK;
}

cronq_status cq_sqlite_lock_left(cq_broker *broker, cq_str lock, cq_str holder,
                                 int64_t now_ns, int64_t *left_s, cronq_error *err)
{
    left_args args = { lock, holder, 0 };
    cronq_status status =
        cq_sqlite_do(cq_sqlite_of(broker), CQ_SQLITE_READS, left_work, &args, err);
    int64_t left_ms = args.until_ms - cq_ns_to_ms(now_ns);

    if (!status)
        *left_s = left_ms > 0 ? (left_ms + CQ_MS_PER_S - 1) / CQ_MS_PER_S : 0;
    return status;
}
