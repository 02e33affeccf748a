/* SPDX-License-Identifier: MIT */
/* broker/sqlite/act.c - moving tasks by hand: some, all of a state, and whole queues. */
#include "broker/sqlite/sqlite.h"

#include "base/error.h"
#include "base/quote.h"

typedef struct act_args {
    cq_str queue;
    cq_action action;
    int64_t now_ns, now_ms;
    cq_move *items; /* act */
    size_t count;
    cronq_state state; /* act_all */
    cq_str group;
    size_t limit, seen;

    int64_t number, back; /* of the queue; the next place in pending */
} act_args;

static bool allows(cq_action action, int64_t state)
{
    bool ended = state == CQ_SQLITE_ARCHIVED || state == CQ_SQLITE_COMPLETED;

    if (state == CQ_SQLITE_ACTIVE || state == CQ_SQLITE_MERGING)
        return false;
    if (action == CQ_ACT_RUN)
        return state != CQ_SQLITE_PENDING;
    return action == CQ_ACT_DELETE || !ended;
}

static void put(cq_sqlite *store, act_args *args, int64_t n)
{
    static const cq_sql_name statements[] = { [CQ_ACT_DELETE] = CQ_SQL_task_delete,
                                              [CQ_ACT_WITHDRAW] = CQ_SQL_task_delete,
                                              [CQ_ACT_RUN] = CQ_SQL_act_run,
                                              [CQ_ACT_ARCHIVE] = CQ_SQL_act_archive };
    cq_sql sql;

    if (args->action == CQ_ACT_RUN && !args->back)
        args->back = cq_sqlite_back(store, args->number);
    sql = cq_sql_of(store, statements[args->action]);
    cq_sql_int(&sql, n);
    if (args->action == CQ_ACT_RUN) {
        cq_sql_int(&sql, args->back++);
        cq_sql_int(&sql, args->now_ns);
        store->ring = true;
    } else if (args->action == CQ_ACT_ARCHIVE) {
        cq_sql_int(&sql, args->now_ms);
    }
    cq_sql_run(&sql);
}

static bool deletes(cq_action action)
{
    return action == CQ_ACT_DELETE || action == CQ_ACT_WITHDRAW;
}

static void act_on(cq_sqlite *store, act_args *args, cq_move *item)
{
    cq_sql sql = cq_sql_of(store, CQ_SQL_act_find);
    int64_t n, state;

    item->status = CRONQ_ENOENT;
    cq_sql_int(&sql, args->number);
    cq_sql_str(&sql, item->id);
    if (!cq_sql_step(&sql))
        return;
    n = cq_sql_get_int(&sql, 0);
    state = cq_sql_get_int(&sql, 1);
    if (allows(args->action, state) && deletes(args->action) && !cq_sql_is_null(&sql, 2))
        cq_sqlite_free_lock(store, cq_sql_get_str(&sql, 2), item->id);
    cq_sql_end(&sql);
    item->state = cq_sqlite_state_of(state);
    item->status = allows(args->action, state) ? CRONQ_OK : CRONQ_ESTATE;
    if (!item->status)
        put(store, args, n);
}

static cronq_status find_queue(cq_sqlite *store, act_args *args, cronq_error *err)
{
    args->back = 0;
    args->number = cq_sqlite_queue(store, args->queue, NULL);
    if (!args->number && !store->code)
        return cq_sqlite_no_queue(args->queue, err);
    return CRONQ_OK;
}

static cronq_status act_work(cq_sqlite *store, void *arg, cronq_error *err)
{
    act_args *args = arg;
    cronq_status status = find_queue(store, args, err);

    for (size_t i = 0; i < args->count && !status && !store->code; i++)
        act_on(store, args, &args->items[i]);
    if (!status && args->action == CQ_ACT_ARCHIVE)
        cq_sqlite_trim_archive(store, args->number, args->now_ms);
    return status;
}

cronq_status cq_sqlite_act(cq_broker *broker, cq_str queue, cq_action action,
                           cq_move *items, size_t count, size_t offset, int64_t now_ns,
                           cronq_error *err)
{
    cronq_status status = CRONQ_OK;

    (void)offset;
    for (size_t at = 0; at < count && !status; at += CQ_PAGE_LIMIT) {
        act_args args = { .queue = queue,
                          .action = action,
                          .now_ns = now_ns,
                          .now_ms = cq_ns_to_ms(now_ns),
                          .items = items + at,
                          .count =
                              count - at < CQ_PAGE_LIMIT ? count - at : CQ_PAGE_LIMIT };

        status =
            cq_sqlite_do(cq_sqlite_of(broker), CQ_SQLITE_DRAINS, act_work, &args, err);
        for (size_t i = at; status && i < count; i++)
            items[i].status = CRONQ_EIO;
    }
    return status;
}

/* ---- all of a state ---- */

static size_t list_first(cq_sqlite *store, const act_args *args, int64_t *numbers)
{
    bool grouped = args->state == CRONQ_STATE_AGGREGATING;
    cq_sql sql = cq_sql_of(store, grouped ? CQ_SQL_act_first_group : CQ_SQL_act_first);
    size_t count = 0;

    cq_sql_int(&sql, args->number);
    if (grouped)
        cq_sql_str(&sql, args->group);
    else
        cq_sql_int(&sql, cq_sqlite_state(args->state));
    cq_sql_int(&sql, (int64_t)args->limit);
    while (count < args->limit && cq_sql_step(&sql)) {
        numbers[count++] = cq_sql_get_int(&sql, 0);
        if (deletes(args->action) && !cq_sql_is_null(&sql, 2))
            cq_sqlite_free_lock(store, cq_sql_get_str(&sql, 2), cq_sql_get_str(&sql, 1));
    }
    cq_sql_end(&sql);
    return count;
}

static cronq_status sweep_work(cq_sqlite *store, void *arg, cronq_error *err)
{
    act_args *args = arg;
    cronq_status status = find_queue(store, args, err);
    int64_t numbers[CQ_PAGE_LIMIT];

    if (status)
        return status;
    args->seen = list_first(store, args, numbers);
    for (size_t i = 0; i < args->seen; i++)
        put(store, args, numbers[i]);
    if (args->action == CQ_ACT_ARCHIVE)
        cq_sqlite_trim_archive(store, args->number, args->now_ms);
    return CRONQ_OK;
}

cronq_status cq_sqlite_act_all(cq_broker *broker, cq_str queue, cronq_state state,
                               cq_str group, cq_action action, size_t limit,
                               int64_t now_ns, size_t *seen, size_t *done,
                               cronq_error *err)
{
    act_args args = { .queue = queue,
                      .action = action,
                      .now_ns = now_ns,
                      .now_ms = cq_ns_to_ms(now_ns),
                      .state = state,
                      .group = group,
                      .limit = limit < CQ_PAGE_LIMIT ? limit : CQ_PAGE_LIMIT };
    cronq_status status =
        cq_sqlite_do(cq_sqlite_of(broker), CQ_SQLITE_DRAINS, sweep_work, &args, err);

    if (!status)
        *seen = *done = args.seen;
    return status;
}

/* ---- a queue ---- */

static void run_on_queue(cq_sqlite *store, cq_sql_name statement, int64_t queue)
{
    cq_sql sql = cq_sql_of(store, statement);

    cq_sql_int(&sql, queue);
    cq_sql_run(&sql);
}

static cronq_status remove_work(cq_sqlite *store, void *arg, cronq_error *err)
{
    act_args *args = arg;
    cronq_status status = find_queue(store, args, err);
    cq_sql sql = cq_sql_of(store, CQ_SQL_queue_tasks);
    char room[CQ_QUOTED_ROOM];
    bool active, any;

    cq_sql_int(&sql, args->number);
    if (status || !cq_sql_step(&sql)) {
        cq_sql_end(&sql);
        return status;
    }
    active = cq_sql_get_int(&sql, 0);
    any = cq_sql_get_int(&sql, 1);
    cq_sql_end(&sql);
    if (any)
        return cq_fail(err, CRONQ_ESTATE, "queue %s can not be removed: it holds %s",
                       cq_quoted(args->queue, room), active ? "active tasks" : "tasks");
    run_on_queue(store, CQ_SQL_queue_delete_counts, args->number);
    run_on_queue(store, CQ_SQL_queue_delete, args->number);
    return CRONQ_OK;
}

cronq_status cq_sqlite_remove_queue(cq_broker *broker, cq_str queue, int64_t now_ns,
                                    cronq_error *err)
{
    act_args args = { .queue = queue, .now_ns = now_ns };

    return cq_sqlite_do(cq_sqlite_of(broker), CQ_SQLITE_DRAINS, remove_work, &args, err);
}
