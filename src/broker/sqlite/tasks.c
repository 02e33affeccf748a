/* SPDX-License-Identifier: MIT */
/* broker/sqlite/tasks.c - single tasks: reading them, and changing them in place. */
#include "broker/sqlite/sqlite.h"

#include "base/error.h"
#include "base/quote.h"

static const struct {
    cronq_state state;
    int64_t stored;
} states[] = {
    { CRONQ_STATE_PENDING, CQ_SQLITE_PENDING },
    { CRONQ_STATE_ACTIVE, CQ_SQLITE_ACTIVE },
    { CRONQ_STATE_SCHEDULED, CQ_SQLITE_SCHEDULED },
    { CRONQ_STATE_RETRY, CQ_SQLITE_RETRY },
    { CRONQ_STATE_ARCHIVED, CQ_SQLITE_ARCHIVED },
    { CRONQ_STATE_COMPLETED, CQ_SQLITE_COMPLETED },
    { CRONQ_STATE_AGGREGATING, CQ_SQLITE_AGGREGATING },
    { CRONQ_STATE_AGGREGATING, CQ_SQLITE_MERGING },
};

#define STATES (sizeof states / sizeof states[0])

int64_t cq_sqlite_state(cronq_state state)
{
    for (size_t i = 0; i < STATES; i++)
        if (states[i].state == state)
            return states[i].stored;
    return -1;
}

cronq_state cq_sqlite_state_of(int64_t stored)
{
    for (size_t i = 0; i < STATES; i++)
        if (states[i].stored == stored)
            return states[i].state;
    return (cronq_state)0;
}

cronq_status cq_sqlite_no_queue(cq_str queue, cronq_error *err)
{
    char room[CQ_QUOTED_ROOM];

    return cq_fail(err, CRONQ_ENOENT, "there is no queue %s", cq_quoted(queue, room));
}

cronq_status cq_sqlite_no_task(cq_str queue, cq_str id, cronq_error *err)
{
    char room[CQ_QUOTED_ROOM], queue_room[CQ_QUOTED_ROOM];

    return cq_fail(err, CRONQ_ENOENT, "there is no task %s in queue %s",
                   cq_quoted(id, room), cq_quoted(queue, queue_room));
}

/* ---- reading ---- */

cq_record cq_sqlite_record(const cq_sql *sql, cq_arena *arena)
{
    int64_t stored = cq_sql_get_int(sql, 1);
    cq_record record = { .id = cq_sql_copy_str(sql, 0, arena),
                         .state = cq_sqlite_state_of(stored),
                         .message = cq_sql_copy_bytes(sql, 2, arena),
                         .pending_since_ns = cq_sql_get_int(sql, 4),
                         .cancelled = !cq_sql_is_null(sql, 7),
                         .merging = stored == CQ_SQLITE_MERGING };

    if (stored != CQ_SQLITE_PENDING)
        record.at_ms = cq_sql_get_int(sql, 3);
    if (!cq_sql_is_null(sql, 5))
        record.group = cq_sql_copy_str(sql, 5, arena);
    if (!cq_sql_is_null(sql, 6))
        record.result = cq_sql_copy_bytes(sql, 6, arena);
    if (!cq_sql_is_null(sql, 8))
        record.failures = cq_sql_copy_bytes(sql, 8, arena);
    if (!cq_sql_is_null(sql, 9))
        record.raw = cq_sql_copy_bytes(sql, 9, arena);
    if (!record.id.data || !record.message.data ||
        (record.group.len && !record.group.data))
        cq_sqlite_note(sql->store, SQLITE_NOMEM);
    return record;
}

cq_record *cq_sqlite_records(cq_sqlite *store, cq_sql *sql, size_t limit, cq_arena *arena,
                             size_t *count)
{
    cq_record *records = cq_arena_calloc(arena, limit + 1, sizeof *records);

    *count = 0;
    if (!records)
        cq_sqlite_note(store, SQLITE_NOMEM);
    while (records && *count < limit && cq_sql_step(sql))
        records[(*count)++] = cq_sqlite_record(sql, arena);
    cq_sql_end(sql);
    return records;
}

typedef struct read_args {
    const cq_listing *listing; /* or else: */
    cq_str queue, id;
    cq_arena *arena;
    cq_record *records;
    size_t count;
} read_args;

static cronq_status task_work(cq_sqlite *store, void *arg, cronq_error *err)
{
    read_args *args = arg;
    cq_sql sql;
    int64_t queue = cq_sqlite_queue(store, args->queue, NULL);

    sql = cq_sql_of(store, CQ_SQL_record);
    cq_sql_int(&sql, queue);
    cq_sql_str(&sql, args->id);
    args->records = cq_sqlite_records(store, &sql, 1, args->arena, &args->count);
    if (args->count == 0 && !store->code)
        return cq_sqlite_no_task(args->queue, args->id, err);
    return CRONQ_OK;
}

cronq_status cq_sqlite_task(cq_broker *broker, cq_str queue, cq_str id, cq_arena *arena,
                            cq_record *out, cronq_error *err)
{
    read_args args = { .queue = queue, .id = id, .arena = arena };
    cronq_status status;

    status = cq_sqlite_do(cq_sqlite_of(broker), CQ_SQLITE_READS, task_work, &args, err);
    if (!status)
        *out = args.records[0];
    return status;
}

static cronq_status list_work(cq_sqlite *store, void *arg, cronq_error *err)
{
    read_args *args = arg;
    const cq_listing *listing = args->listing;
    bool grouped = listing->state == CRONQ_STATE_AGGREGATING;
    size_t limit = listing->limit < CQ_PAGE_LIMIT ? listing->limit : CQ_PAGE_LIMIT;
    int64_t queue = cq_sqlite_queue(store, listing->queue, NULL);
    cq_sql sql;

    if (!queue && !store->code)
        return cq_sqlite_no_queue(listing->queue, err);
    sql = cq_sql_of(store, grouped ? CQ_SQL_record_group : CQ_SQL_record_list);
    cq_sql_int(&sql, queue);
    if (grouped)
        cq_sql_str(&sql, listing->group);
    else
        cq_sql_int(&sql, cq_sqlite_state(listing->state));
    cq_sql_int(&sql, (int64_t)limit);
    cq_sql_int(&sql, (int64_t)listing->offset);
    cq_sql_int(&sql, listing->in_full);
    args->records = cq_sqlite_records(store, &sql, limit, args->arena, &args->count);
    return CRONQ_OK;
}

cronq_status cq_sqlite_list(cq_broker *broker, const cq_listing *listing, cq_arena *arena,
                            cq_record **out, size_t *count, cronq_error *err)
{
    read_args args = { .listing = listing, .arena = arena };
    cronq_status status;

    status = cq_sqlite_do(cq_sqlite_of(broker), CQ_SQLITE_READS, list_work, &args, err);
    if (status)
        return status;
    *out = args.records;
    *count = args.count;
    return CRONQ_OK;
}

/* ---- changing in place ---- */

typedef struct amend_args {
    cq_reschedule *item;
    bool only_message, same;
    int64_t now_ns;
} amend_args;

/* What amend_find says. */
typedef struct found {
    int64_t n, state, at;
    bool has_group, same, locked;
    char *lock; /* copied; freed by the caller */
} found;

static bool find(cq_sqlite *store, int64_t queue, const cq_reschedule *item, found *out)
{
    cq_sql sql = cq_sql_of(store, CQ_SQL_amend_find);
    cronq_bytes message;

    cq_sql_int(&sql, queue);
    cq_sql_str(&sql, item->id);
    if (!cq_sql_step(&sql))
        return false;
    message = cq_sql_get_bytes(&sql, 2);
    *out = (found){ .n = cq_sql_get_int(&sql, 0),
                    .state = cq_sql_get_int(&sql, 1),
                    .at = cq_sql_get_int(&sql, 3),
                    .has_group = !cq_sql_is_null(&sql, 4),
                    .same = !item->before.data ||
                            cq_str_eq((cq_str){ message.data, message.len },
                                      (cq_str){ item->before.data, item->before.len }) };
    if (!cq_sql_is_null(&sql, 5)) {
        cq_str lock = cq_sql_get_str(&sql, 5);

        out->lock = sqlite3_mprintf("%.*s", (int)lock.len, lock.data);
    }
    cq_sql_end(&sql);
    return true;
}

static void set_message(cq_sqlite *store, int64_t n, cronq_bytes message)
{
    cq_sql sql = cq_sql_of(store, CQ_SQL_amend_message);

    cq_sql_int(&sql, n);
    cq_sql_bytes(&sql, message);
    cq_sql_run(&sql);
}

/* The lock lasts as long after the task's time as it did. */
static void shift_lock(cq_sqlite *store, const amend_args *args, const found *task)
{
    int64_t now_ms = cq_ns_to_ms(args->now_ns), at_ms = args->item->run_at_ms;
    int64_t waited =
        task->state == CQ_SQLITE_SCHEDULED && task->at > now_ms ? task->at - now_ms : 0;
    cq_sql sql = cq_sql_of(store, CQ_SQL_lock_shift);

    cq_sql_str(&sql, cq_str_of(task->lock));
    cq_sql_str(&sql, args->item->id);
    cq_sql_int(&sql, (at_ms > now_ms ? at_ms - now_ms : 0) - waited);
    cq_sql_int(&sql, now_ms + CQ_MS_PER_S);
    cq_sql_run(&sql);
}

static void set_place(cq_sqlite *store, int64_t queue, const amend_args *args,
                      const found *task)
{
    int64_t state = args->item->run_at_ms ? CQ_SQLITE_SCHEDULED
                    : task->has_group     ? CQ_SQLITE_AGGREGATING
                                          : CQ_SQLITE_PENDING;
    int64_t at = state == CQ_SQLITE_SCHEDULED ? args->item->run_at_ms
                 : state == CQ_SQLITE_PENDING ? cq_sqlite_back(store, queue)
                                              : cq_ns_to_ms(args->now_ns);
    cq_sql sql = cq_sql_of(store, CQ_SQL_amend_place);

    cq_sql_int(&sql, task->n);
    cq_sql_int(&sql, state);
    cq_sql_int(&sql, at);
    if (state == CQ_SQLITE_PENDING)
        cq_sql_int(&sql, args->now_ns);
    else
        cq_sql_null(&sql);
    cq_sql_run(&sql);
    args->item->state = cq_sqlite_state_of(state);
    store->ring = true;
}

static cronq_status refuse(const amend_args *args, const found *task, cronq_error *err)
{
    char room[CQ_QUOTED_ROOM];

    args->item->state = cq_sqlite_state_of(task->state);
    if (task->state == CQ_SQLITE_MERGING)
        return cq_fail(err, CRONQ_ESTATE,
                       "task %s can not be rescheduled: it is being merged",
                       cq_quoted(args->item->id, room));
    return cq_fail(err, CRONQ_ESTATE, "task %s can not be %s: it is %s",
                   cq_quoted(args->item->id, room),
                   args->only_message ? "updated" : "rescheduled",
                   cronq_state_name(args->item->state));
}

static bool may_change(const amend_args *args, const found *task)
{
    if (args->only_message)
        return task->state == CQ_SQLITE_SCHEDULED;
    return task->state != CQ_SQLITE_ACTIVE && task->state != CQ_SQLITE_COMPLETED &&
           task->state != CQ_SQLITE_MERGING;
}

static cronq_status amend_work(cq_sqlite *store, void *arg, cronq_error *err)
{
    amend_args *args = arg;
    cq_reschedule *item = args->item;
    int64_t queue = cq_sqlite_queue(store, item->queue, NULL);
    cronq_status status = CRONQ_OK;
    found task;

    args->same = true;
    if (!find(store, queue, item, &task))
        return store->code ? CRONQ_OK : cq_sqlite_no_task(item->queue, item->id, err);
    args->same = task.same;
    if (!may_change(args, &task))
        status = refuse(args, &task, err);
    else if (task.same) {
        if (item->before.data)
            set_message(store, task.n, item->message);
        if (!args->only_message && task.lock)
            shift_lock(store, args, &task);
        if (!args->only_message)
            set_place(store, queue, args, &task);
    }
    sqlite3_free(task.lock);
    return status;
}

cronq_status cq_sqlite_replace(cq_broker *broker, cq_str queue, cq_str id,
                               cronq_bytes before, cronq_bytes message, bool *same,
                               cronq_error *err)
{
    cq_reschedule item = {
        .queue = queue, .id = id, .before = before, .message = message
    };
    amend_args args = { .item = &item, .only_message = true };
    cronq_status status =
        cq_sqlite_do(cq_sqlite_of(broker), CQ_SQLITE_ADDS, amend_work, &args, err);

    if (!status)
        *same = args.same;
    return status;
}

cronq_status cq_sqlite_reschedule(cq_broker *broker, cq_reschedule *item, int64_t now_ns,
                                  bool *same, cronq_error *err)
{
    amend_args args = { .item = item, .now_ns = now_ns };
    cronq_status status =
        cq_sqlite_do(cq_sqlite_of(broker), CQ_SQLITE_ADDS, amend_work, &args, err);

    if (!status)
        *same = args.same;
    return status;
}

/* ---- cancelling ---- */

typedef struct cancel_args {
    cq_str queue, id;
    int64_t now_ns;
} cancel_args;

static cronq_status refuse_cancel(cq_sqlite *store, int64_t queue,
                                  const cancel_args *args, cronq_error *err)
{
    cq_sql sql = cq_sql_of(store, CQ_SQL_task_state);
    char room[CQ_QUOTED_ROOM];
    int64_t state;

    cq_sql_int(&sql, queue);
    cq_sql_str(&sql, args->id);
    state = cq_sql_value(&sql, -1);
    if (store->code)
        return CRONQ_OK;
    if (state < 0)
        return cq_sqlite_no_task(args->queue, args->id, err);
    return cq_fail(err, CRONQ_ESTATE, "task %s does not run: it is %s",
                   cq_quoted(args->id, room),
                   cronq_state_name(cq_sqlite_state_of(state)));
}

static cronq_status cancel_work(cq_sqlite *store, void *arg, cronq_error *err)
{
    const cancel_args *args = arg;
    int64_t queue = cq_sqlite_queue(store, args->queue, NULL);
    cq_sql sql = cq_sql_of(store, CQ_SQL_cancel_mark);

    cq_sql_int(&sql, queue);
    cq_sql_str(&sql, args->id);
    cq_sql_int(&sql, args->now_ns);
    if (cq_sql_run(&sql) == 0)
        return refuse_cancel(store, queue, args, err);
    sql = cq_sql_of(store, CQ_SQL_cancel_add);
    cq_sql_str(&sql, args->id);
    cq_sql_int(&sql, cq_ns_to_ms(args->now_ns));
    cq_sql_run(&sql);
    store->ring_cancel = true;
    return CRONQ_OK;
}

cronq_status cq_sqlite_cancel(cq_broker *broker, cq_str queue, cq_str id, int64_t now_ns,
                              cronq_error *err)
{
    cancel_args args = { queue, id, now_ns };

    return cq_sqlite_do(cq_sqlite_of(broker), CQ_SQLITE_DRAINS, cancel_work, &args, err);
}
