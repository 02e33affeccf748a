/* SPDX-License-Identifier: MIT */
/* broker/sqlite/lease.c - leases while they last: extending, marking, results. */
#include "broker/sqlite/sqlite.h"

#include "base/error.h"

typedef struct lease_args {
    cq_lease *leases;
    size_t count;
    cq_sql_name statement;
    int64_t end_ms;   /* extend */
    uint32_t *deaths; /* count_deaths */
} lease_args;

static cronq_status run_deaths(cq_sql *sql, uint32_t *deaths)
{
    if (!cq_sql_step(sql))
        return CRONQ_ESTATE;
    *deaths = (uint32_t)cq_sql_get_int(sql, 0);
    cq_sql_run(sql);
    return CRONQ_OK;
}

/* extend tells whether the task was cancelled. */
static cronq_status run_lease(cq_sql *sql, cq_sql_name statement, uint32_t fence)
{
    bool cancelled;

    if (!fence)
        return CRONQ_ESTATE;
    if (statement != CQ_SQL_extend)
        return cq_sql_run(sql) > 0 ? CRONQ_OK : CRONQ_ESTATE;
    if (!cq_sql_step(sql))
        return CRONQ_ESTATE;
    cancelled = cq_sql_get_int(sql, 0);
    cq_sql_run(sql);
    return cancelled ? CRONQ_ECANCELED : CRONQ_OK;
}

static cronq_status lease_work(cq_sqlite *store, void *arg, cronq_error *err)
{
    const lease_args *args = arg;
    cq_str name = { NULL, 0 };
    int64_t queue = 0;

    (void)err;
    for (size_t i = 0; i < args->count; i++) {
        cq_lease *lease = &args->leases[i];
        cq_sql sql;

        if (!name.data || !cq_str_eq(name, lease->queue))
            queue = cq_sqlite_queue(store, lease->queue, NULL);
        name = lease->queue;
        sql = cq_sql_of(store, args->statement);
        cq_sql_int(&sql, queue);
        cq_sql_str(&sql, lease->id);
        cq_sql_int(&sql, CQ_SQLITE_FENCE_BASE + lease->fence);
        if (args->statement == CQ_SQL_extend)
            cq_sql_int(&sql, args->end_ms);
        lease->status = args->deaths ? run_deaths(&sql, &args->deaths[i])
                                     : run_lease(&sql, args->statement, lease->fence);
    }
    return CRONQ_OK;
}

static cronq_status run_leases(cq_broker *broker, cq_lease *leases, size_t count,
                               cq_sql_name statement, int64_t end_ms, cronq_error *err)
{
    cronq_status status = CRONQ_OK;

    for (size_t at = 0; at < count && !status; at += CQ_SQLITE_CHUNK) {
        lease_args args = { leases + at, count - at, statement, end_ms, NULL };

        if (args.count > CQ_SQLITE_CHUNK)
            args.count = CQ_SQLITE_CHUNK;
        status =
            cq_sqlite_do(cq_sqlite_of(broker), CQ_SQLITE_DRAINS, lease_work, &args, err);
        for (size_t i = at; status && i < count; i++)
            leases[i].status = CRONQ_EIO;
    }
    return status;
}

cronq_status cq_sqlite_extend(cq_broker *broker, cq_lease *leases, size_t count,
                              int64_t now_ns, cronq_error *err)
{
    return run_leases(broker, leases, count, CQ_SQL_extend,
                      cq_sqlite_lease_end_ms(cq_sqlite_of(broker), now_ns), err);
}

cronq_status cq_sqlite_mark_started(cq_broker *broker, cq_lease *leases, size_t count,
                                    cronq_error *err)
{
    return run_leases(broker, leases, count, CQ_SQL_mark_started, 0, err);
}

cronq_status cq_sqlite_count_deaths(cq_broker *broker, cq_lease *leases, size_t count,
                                    uint32_t *deaths, cronq_error *err)
{
    lease_args args = { leases, count, CQ_SQL_count_deaths, 0, deaths };

    return cq_sqlite_do(cq_sqlite_of(broker), CQ_SQLITE_DRAINS, lease_work, &args, err);
}

/* ---- results ---- */

typedef struct result_args {
    cq_str queue, id;
    uint32_t fence;
    cronq_bytes result;
} result_args;

static cronq_status result_work(cq_sqlite *store, void *arg, cronq_error *err)
{
    const result_args *args = arg;
    int64_t queue = cq_sqlite_queue(store, args->queue, NULL);
    cq_sql sql = cq_sql_of(store, CQ_SQL_write_result);

    cq_sql_int(&sql, queue);
    cq_sql_str(&sql, args->id);
    cq_sql_int(&sql, CQ_SQLITE_FENCE_BASE + args->fence);
    cq_sql_bytes(&sql, args->result);
    if (cq_sql_run(&sql) > 0 || store->code)
        return CRONQ_OK;
    return cq_fail(err, CRONQ_ESTATE, "the task's lease is not ours any more");
}

cronq_status cq_sqlite_write_result(cq_broker *broker, cq_str queue, cq_str id,
                                    uint32_t fence, cronq_bytes result, cronq_error *err)
{
    result_args args = { queue, id, fence, result };

    if (!fence)
        return cq_fail(err, CRONQ_ESTATE, "the task's lease is not ours any more");
    return cq_sqlite_do(cq_sqlite_of(broker), CQ_SQLITE_DRAINS, result_work, &args, err);
}

/* ---- looking for a fence ---- */

typedef struct leased_args {
    const cq_sqlite_intake *intake;
    uint32_t fence;
    cq_arena *arena;
    cq_delivery *found;
    size_t count;
} leased_args;

static void find_in_queue(cq_sqlite *store, leased_args *args, uint32_t index)
{
    int64_t fence = CQ_SQLITE_FENCE_BASE + args->fence;
    int64_t queue = cq_sqlite_queue(store, args->intake->queues[index], NULL);
    cq_sql sql = cq_sql_of(store, CQ_SQL_leased);

    cq_sql_int(&sql, queue);
    cq_sql_int(&sql, fence);
    cq_sql_int(&sql, (int64_t)(CQ_BATCH_LIMIT - args->count));
    while (args->count < CQ_BATCH_LIMIT && cq_sql_step(&sql)) {
        cq_delivery *found = &args->found[args->count++];

        found->queue = index;
        found->id = cq_sql_copy_str(&sql, 0, args->arena);
        found->score = cq_sqlite_score(cq_sql_get_int(&sql, 1), fence);
        found->message = cq_sql_copy_bytes(&sql, 2, args->arena);
        if (!found->id.data || !found->message.data)
            cq_sqlite_note(store, SQLITE_NOMEM);
    }
    cq_sql_end(&sql);
}

static cronq_status leased_work(cq_sqlite *store, void *arg, cronq_error *err)
{
    leased_args *args = arg;

    (void)err;
    args->count = 0;
    for (uint32_t i = 0; i < args->intake->queue_count; i++)
        find_in_queue(store, args, i);
    return CRONQ_OK;
}

cronq_status cq_sqlite_find_leased(cq_intake *base, uint32_t fence, cq_arena *arena,
                                   cq_delivery **out, size_t *count, cronq_error *err)
{
    leased_args args = { .intake = cq_sqlite_intake_of(base),
                         .fence = fence,
                         .arena = arena };
    cronq_status status;

    args.found = cq_arena_calloc(arena, CQ_BATCH_LIMIT, sizeof *args.found);
    if (!args.found)
        return cq_fail_nomem(err);
    status = cq_sqlite_do(args.intake->store, CQ_SQLITE_READS, leased_work, &args, err);
    if (status)
        return status;
    *out = args.found;
    *count = args.count;
    return CRONQ_OK;
}
