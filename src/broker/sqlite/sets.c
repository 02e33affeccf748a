/* SPDX-License-Identifier: MIT */
/* broker/sqlite/sets.c - merging groups: which are due, and their aggregation sets. */
#include "broker/sqlite/sqlite.h"

#include "base/error.h"
#include "base/quote.h"

typedef struct group_args {
    cq_str queue;
    const cq_set *set;
    const cq_group_rules *rules;
    int64_t now_ns, now_ms;
    size_t limit, count; /* count: out */
    cq_arena *arena;
    cq_str *names;
    cq_group_count *counts;
    cq_record *records;
    cronq_bytes merged;
    const cq_misfit *misfits;
    size_t misfit_count;
} group_args;

static void bind_rules(cq_sql *sql, int64_t queue, const group_args *args)
{
    cq_sql_int(sql, queue);
    cq_sql_int(sql, (int64_t)args->rules->max_size);
    cq_sql_int(sql, args->rules->max_delay_s * CQ_MS_PER_S);
    cq_sql_int(sql, args->now_ms);
    cq_sql_int(sql, args->rules->grace_s * CQ_MS_PER_S);
}

static cronq_status due_work(cq_sqlite *store, void *arg, cronq_error *err)
{
    group_args *args = arg;
    int64_t queue = cq_sqlite_queue(store, args->queue, NULL);
    cq_sql sql = cq_sql_of(store, CQ_SQL_due_groups);

    (void)err;
    args->count = 0;
    bind_rules(&sql, queue, args);
    cq_sql_int(&sql, (int64_t)args->limit);
    while (args->count < args->limit && cq_sql_step(&sql)) {
        cq_str name = cq_sql_copy_str(&sql, 0, args->arena);

        if (!name.data)
            cq_sqlite_note(store, SQLITE_NOMEM);
        args->names[args->count++] = name;
    }
    cq_sql_end(&sql);
    return CRONQ_OK;
}

cronq_status cq_sqlite_due_groups(cq_broker *broker, cq_str queue,
                                  const cq_group_rules *rules, int64_t now_ns,
                                  size_t limit, cq_arena *arena, cq_str **out,
                                  size_t *count, cronq_error *err)
{
    group_args args = { .queue = queue,
                        .rules = rules,
                        .now_ms = cq_ns_to_ms(now_ns),
                        .limit = limit,
                        .arena = arena,
                        .names = cq_arena_calloc(arena, limit + 1, sizeof(cq_str)) };
    cronq_status status;

    if (!args.names)
        return cq_fail_nomem(err);
    status = cq_sqlite_do(cq_sqlite_of(broker), CQ_SQLITE_READS, due_work, &args, err);
    if (status)
        return status;
    *out = args.names;
    *count = args.count;
    return CRONQ_OK;
}

static cronq_status groups_work(cq_sqlite *store, void *arg, cronq_error *err)
{
    group_args *args = arg;
    int64_t queue = cq_sqlite_queue(store, args->queue, NULL);
    cq_sql sql = cq_sql_of(store, CQ_SQL_group_list);

    (void)err;
    args->count = 0;
    cq_sql_int(&sql, queue);
    cq_sql_int(&sql, (int64_t)args->limit);
    while (args->count < args->limit && cq_sql_step(&sql)) {
        cq_group_count *one = &args->counts[args->count++];

        one->name = cq_sql_copy_str(&sql, 0, args->arena);
        one->count = (uint64_t)cq_sql_get_int(&sql, 1);
        if (!one->name.data)
            cq_sqlite_note(store, SQLITE_NOMEM);
    }
    cq_sql_end(&sql);
    return CRONQ_OK;
}

cronq_status cq_sqlite_groups(cq_broker *broker, cq_str queue, size_t limit,
                              cq_arena *arena, cq_group_count **out, size_t *count,
                              cronq_error *err)
{
    group_args args = { .queue = queue,
                        .limit = limit,
                        .arena = arena,
                        .counts =
                            cq_arena_calloc(arena, limit + 1, sizeof(cq_group_count)) };
    cronq_status status;

    if (!args.counts)
        return cq_fail_nomem(err);
    status = cq_sqlite_do(cq_sqlite_of(broker), CQ_SQLITE_READS, groups_work, &args, err);
    if (status)
        return status;
    *out = args.counts;
    *count = args.count;
    return CRONQ_OK;
}

/* ---- taking ---- */

static bool is_due(cq_sqlite *store, int64_t queue, const group_args *args)
{
    cq_sql sql = cq_sql_of(store, CQ_SQL_group_due);

    bind_rules(&sql, queue, args);
    cq_sql_str(&sql, args->set->group);
    return cq_sql_value(&sql, 0) != 0;
}

static cronq_status take_work(cq_sqlite *store, void *arg, cronq_error *err)
{
    group_args *args = arg;
    int64_t queue = cq_sqlite_queue(store, args->set->queue, NULL), n;
    cq_sql sql;

    (void)err;
    args->count = 0;
    if (!is_due(store, queue, args))
        return CRONQ_OK;
    sql = cq_sql_of(store, CQ_SQL_set_add);
    cq_sql_int(&sql, queue);
    cq_sql_str(&sql, args->set->group);
    cq_sql_str(&sql, args->set->id);
    cq_sql_int(&sql, args->now_ms + store->broker.set_age_s * CQ_MS_PER_S);
    cq_sql_run(&sql);
    n = store->code ? 0 : sqlite3_last_insert_rowid(store->db);
    sql = cq_sql_of(store, CQ_SQL_set_take);
    cq_sql_int(&sql, queue);
    cq_sql_str(&sql, args->set->group);
    cq_sql_int(&sql, n);
    cq_sql_int(&sql, (int64_t)args->limit);
    args->count = (size_t)cq_sql_run(&sql);
    return CRONQ_OK;
}

cronq_status cq_sqlite_take_group(cq_broker *broker, const cq_set *set,
                                  const cq_group_rules *rules, int64_t now_ns,
                                  size_t *taken, cronq_error *err)
{
    bool limited = rules->max_size && rules->max_size < CQ_SET_LIMIT;
    group_args args = { .set = set,
                        .rules = rules,
                        .now_ms = cq_ns_to_ms(now_ns),
                        .limit = limited ? rules->max_size : CQ_SET_LIMIT };
    cronq_status status;

    status = cq_sqlite_do(cq_sqlite_of(broker), CQ_SQLITE_DRAINS, take_work, &args, err);
    if (!status)
        *taken = args.count;
    return status;
}

/* ---- a set ---- */

/* Its number, or 0. */
static int64_t find_set(cq_sqlite *store, int64_t queue, const cq_set *set)
{
    cq_sql sql = cq_sql_of(store, CQ_SQL_set_find);

    cq_sql_int(&sql, queue);
    cq_sql_str(&sql, set->group);
    cq_sql_str(&sql, set->id);
    return cq_sql_value(&sql, 0);
}

static cronq_status no_such_set(const cq_set *set, cronq_error *err)
{
    char room[CQ_QUOTED_ROOM];

    return cq_fail(err, CRONQ_ESTATE, "there is no set %.*s of group %s", CQ_FMT(set->id),
                   cq_quoted(set->group, room));
}

static void bind_set(cq_sql *sql, int64_t queue, const cq_set *set, int64_t n)
{
    cq_sql_int(sql, queue);
    cq_sql_str(sql, set->group);
    cq_sql_int(sql, n);
}

static cronq_status read_set_work(cq_sqlite *store, void *arg, cronq_error *err)
{
    group_args *args = arg;
    int64_t queue = cq_sqlite_queue(store, args->set->queue, NULL);
    int64_t n = find_set(store, queue, args->set);
    cq_sql sql = cq_sql_of(store, CQ_SQL_set_records);

    (void)err;
    bind_set(&sql, queue, args->set, n);
    cq_sql_int(&sql, CQ_SET_LIMIT);
    args->records =
        cq_sqlite_records(store, &sql, CQ_SET_LIMIT, args->arena, &args->count);
    return CRONQ_OK;
}

cronq_status cq_sqlite_read_set(cq_broker *broker, const cq_set *set, cq_arena *arena,
                                cq_record **out, size_t *count, cronq_error *err)
{
    group_args args = { .set = set, .arena = arena };
    cronq_status status;

    status =
        cq_sqlite_do(cq_sqlite_of(broker), CQ_SQLITE_READS, read_set_work, &args, err);
    if (status)
        return status;
    *out = args.records;
    *count = args.count;
    return CRONQ_OK;
}

static cronq_status extend_set_work(cq_sqlite *store, void *arg, cronq_error *err)
{
    const group_args *args = arg;
    int64_t queue = cq_sqlite_queue(store, args->set->queue, NULL);
    int64_t n = find_set(store, queue, args->set);
    cq_sql sql = cq_sql_of(store, CQ_SQL_set_extend);

    cq_sql_int(&sql, n);
    cq_sql_int(&sql, args->now_ms + store->broker.set_age_s * CQ_MS_PER_S);
    if (cq_sql_run(&sql) == 0 && !store->code)
        return no_such_set(args->set, err);
    return CRONQ_OK;
}

cronq_status cq_sqlite_extend_set(cq_broker *broker, const cq_set *set, int64_t now_ns,
                                  cronq_error *err)
{
    group_args args = { .set = set, .now_ms = cq_ns_to_ms(now_ns) };

    return cq_sqlite_do(cq_sqlite_of(broker), CQ_SQLITE_DRAINS, extend_set_work, &args,
                        err);
}

static void push_merged(cq_sqlite *store, const group_args *args, int64_t queue)
{
    int64_t back = cq_sqlite_back(store, queue);
    cq_sql sql = cq_sql_of(store, CQ_SQL_task_add);

    cq_sql_int(&sql, queue);
    cq_sql_int(&sql, CQ_SQLITE_PENDING);
    cq_sql_int(&sql, back);
    cq_sql_int(&sql, args->now_ns);
    cq_sql_str(&sql, args->set->id);
    cq_sql_bytes(&sql, args->merged);
    cq_sql_null(&sql);
    cq_sql_null(&sql);
    cq_sql_run(&sql);
    store->ring = true;
}

static void put_misfits_aside(cq_sqlite *store, const group_args *args, int64_t queue,
                              int64_t n)
{
    for (size_t i = 0; i < args->misfit_count; i++) {
        cq_sql sql = cq_sql_of(store, CQ_SQL_set_misfit);

        cq_sql_int(&sql, queue);
        cq_sql_str(&sql, args->misfits[i].id);
        cq_sql_int(&sql, n);
        cq_sql_int(&sql, args->now_ms);
        cq_sql_bytes(&sql, args->misfits[i].message);
        cq_sql_run(&sql);
    }
    if (args->misfit_count)
        cq_sqlite_trim_archive(store, queue, args->now_ms);
}

static cronq_status finish_work(cq_sqlite *store, void *arg, cronq_error *err)
{
    static const cq_sql_name statements[] = { CQ_SQL_set_free_locks,
                                              CQ_SQL_set_delete_tasks };
    const group_args *args = arg;
    int64_t queue = cq_sqlite_queue(store, args->set->queue, NULL);
    int64_t n = find_set(store, queue, args->set);
    cq_sql sql;

    if (!n)
        return store->code ? CRONQ_OK : no_such_set(args->set, err);
    put_misfits_aside(store, args, queue, n);
    for (size_t i = 0; i < 2; i++) {
        sql = cq_sql_of(store, statements[i]);
        bind_set(&sql, queue, args->set, n);
        cq_sql_run(&sql);
    }
    sql = cq_sql_of(store, CQ_SQL_set_delete);
    cq_sql_int(&sql, n);
    cq_sql_run(&sql);
    if (args->merged.data)
        push_merged(store, args, queue);
    return CRONQ_OK;
}

cronq_status cq_sqlite_finish_set(cq_broker *broker, const cq_set *set,
                                  cronq_bytes merged, const cq_misfit *misfits,
                                  size_t misfit_count, int64_t now_ns, cronq_error *err)
{
    group_args args = { .set = set,
                        .merged = merged,
                        .misfits = misfits,
                        .misfit_count = misfit_count,
                        .now_ns = now_ns,
                        .now_ms = cq_ns_to_ms(now_ns) };

    return cq_sqlite_do(cq_sqlite_of(broker), CQ_SQLITE_DRAINS, finish_work, &args, err);
}

/* ---- stale sets ---- */

#define STALE_AT_ONCE 100

static cronq_status reclaim_work(cq_sqlite *store, void *arg, cronq_error *err)
{
    group_args *args = arg;
    int64_t queue = cq_sqlite_queue(store, args->queue, NULL), stale[STALE_AT_ONCE];
    cq_sql sql = cq_sql_of(store, CQ_SQL_set_stale);

    (void)err;
    args->count = 0;
    cq_sql_int(&sql, queue);
    cq_sql_int(&sql, args->now_ms);
    cq_sql_int(&sql, (int64_t)args->limit);
    while (args->count < args->limit && cq_sql_step(&sql))
        stale[args->count++] = cq_sql_get_int(&sql, 0);
    cq_sql_end(&sql);
    for (size_t i = 0; i < args->count; i++) {
        sql = cq_sql_of(store, CQ_SQL_set_give_back);
        cq_sql_int(&sql, queue);
        cq_sql_int(&sql, stale[i]);
        cq_sql_run(&sql);
        sql = cq_sql_of(store, CQ_SQL_set_delete);
        cq_sql_int(&sql, stale[i]);
        cq_sql_run(&sql);
    }
    return CRONQ_OK;
}

cronq_status cq_sqlite_reclaim_sets(cq_broker *broker, cq_str queue, int64_t now_ns,
                                    size_t limit, size_t *reclaimed, cronq_error *err)
{
    group_args args = { .queue = queue,
                        .now_ms = cq_ns_to_ms(now_ns),
                        .limit = limit < STALE_AT_ONCE ? limit : STALE_AT_ONCE };
    cronq_status status;

    status =
        cq_sqlite_do(cq_sqlite_of(broker), CQ_SQLITE_DRAINS, reclaim_work, &args, err);
    if (!status)
        *reclaimed = args.count;
    return status;
}
