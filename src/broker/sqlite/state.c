/* SPDX-License-Identifier: MIT */
/* broker/sqlite/state.c - what servers and schedulers tell about themselves. */
#include "broker/sqlite/sqlite.h"

#define HISTORY_COUNT 1000

/* ---- servers ---- */

static void bind_server(cq_sql *sql, const cq_beat *beat)
{
    cq_sql_str(sql, beat->host);
    cq_sql_int(sql, beat->pid);
    cq_sql_str(sql, beat->server_id);
}

static void run_of_server(cq_sqlite *store, cq_sql_name name, const cq_beat *beat)
{
    cq_sql sql = cq_sql_of(store, name);

    bind_server(&sql, beat);
    cq_sql_run(&sql);
}

/* What is past its time here was left by those who died. */
static void expire(cq_sqlite *store, int64_t now_ms)
{
    cq_sql sql = cq_sql_of(store, CQ_SQL_server_expire);

    cq_sql_int(&sql, now_ms);
    if (cq_sql_run(&sql) == 0)
        return;
    sql = cq_sql_of(store, CQ_SQL_worker_expire);
    cq_sql_run(&sql);
}

static cronq_status beat_work(cq_sqlite *store, void *arg, cronq_error *err)
{
    const cq_beat *beat = arg;
    int64_t now_ms = cq_ns_to_ms(beat->now_ns);
    cq_sql sql = cq_sql_of(store, CQ_SQL_server_set);

    (void)err;
    bind_server(&sql, beat);
    cq_sql_bytes(&sql, beat->info);
    cq_sql_int(&sql, now_ms + beat->ttl_s * CQ_MS_PER_S);
    cq_sql_run(&sql);
    expire(store, now_ms);
    run_of_server(store, CQ_SQL_worker_clear, beat);
    for (size_t i = 0; i < beat->worker_count; i++) {
        sql = cq_sql_of(store, CQ_SQL_worker_add);
        bind_server(&sql, beat);
        cq_sql_str(&sql, beat->workers[i].task_id);
        cq_sql_bytes(&sql, beat->workers[i].info);
        cq_sql_run(&sql);
    }
    return CRONQ_OK;
}

cronq_status cq_sqlite_beat(cq_broker *broker, const cq_beat *beat, cronq_error *err)
{
    cq_beat copy = *beat;

    return cq_sqlite_do(cq_sqlite_of(broker), CQ_SQLITE_DRAINS, beat_work, &copy, err);
}

static cronq_status clear_work(cq_sqlite *store, void *arg, cronq_error *err)
{
    (void)err;
    run_of_server(store, CQ_SQL_server_delete, arg);
    run_of_server(store, CQ_SQL_worker_clear, arg);
    return CRONQ_OK;
}

cronq_status cq_sqlite_beat_clear(cq_broker *broker, const cq_beat *beat,
                                  cronq_error *err)
{
    cq_beat copy = *beat;

    return cq_sqlite_do(cq_sqlite_of(broker), CQ_SQLITE_DRAINS, clear_work, &copy, err);
}

/* ---- schedulers ---- */

typedef struct entries_args {
    cq_str scheduler_id;
    const cronq_bytes *entries;
    size_t count;
    int64_t now_ms, expires_ms;
} entries_args;

static cronq_status entries_work(cq_sqlite *store, void *arg, cronq_error *err)
{
    const entries_args *args = arg;
    cq_sql sql = cq_sql_of(store, CQ_SQL_entry_clear);

    (void)err;
    cq_sql_str(&sql, args->scheduler_id);
    cq_sql_run(&sql);
    if (!args->count)
        return CRONQ_OK;
    sql = cq_sql_of(store, CQ_SQL_entry_expire);
    cq_sql_int(&sql, args->now_ms);
    cq_sql_run(&sql);
    for (size_t i = 0; i < args->count; i++) {
        sql = cq_sql_of(store, CQ_SQL_entry_add);
        cq_sql_str(&sql, args->scheduler_id);
        cq_sql_int(&sql, (int64_t)i);
        cq_sql_bytes(&sql, args->entries[i]);
        cq_sql_int(&sql, args->expires_ms);
        cq_sql_run(&sql);
    }
    return CRONQ_OK;
}

cronq_status cq_sqlite_write_entries(cq_broker *broker, cq_str scheduler_id,
                                     const cronq_bytes *entries, size_t count,
                                     int64_t now_ns, int64_t ttl_s, cronq_error *err)
{
    int64_t now_ms = cq_ns_to_ms(now_ns);
    entries_args args = { scheduler_id, entries, count, now_ms,
                          now_ms + ttl_s * CQ_MS_PER_S };

    return cq_sqlite_do(cq_sqlite_of(broker), CQ_SQLITE_DRAINS, entries_work, &args, err);
}

cronq_status cq_sqlite_clear_entries(cq_broker *broker, cq_str scheduler_id,
                                     cronq_error *err)
{
    entries_args args = { .scheduler_id = scheduler_id };

    return cq_sqlite_do(cq_sqlite_of(broker), CQ_SQLITE_DRAINS, entries_work, &args, err);
}

typedef struct event_args {
    cq_str entry_id;
    cronq_bytes event;
    int64_t now_ms;
} event_args;

static cronq_status event_work(cq_sqlite *store, void *arg, cronq_error *err)
{
    const event_args *args = arg;
    cq_sql sql = cq_sql_of(store, CQ_SQL_event_add);

    (void)err;
    cq_sql_str(&sql, args->entry_id);
    cq_sql_int(&sql, args->now_ms);
    cq_sql_bytes(&sql, args->event);
    cq_sql_run(&sql);
    sql = cq_sql_of(store, CQ_SQL_event_trim);
    cq_sql_str(&sql, args->entry_id);
    cq_sql_int(&sql, HISTORY_COUNT);
    cq_sql_run(&sql);
    return CRONQ_OK;
}

cronq_status cq_sqlite_record_event(cq_broker *broker, cq_str entry_id, cronq_bytes event,
                                    int64_t now_ns, cronq_error *err)
{
    event_args args = { entry_id, event, cq_ns_to_ms(now_ns) };

    return cq_sqlite_do(cq_sqlite_of(broker), CQ_SQLITE_DRAINS, event_work, &args, err);
}

typedef struct phase_args {
    cq_str queue, entry_id;
    int64_t mine_s, out_s;
} phase_args;

static cronq_status phase_work(cq_sqlite *store, void *arg, cronq_error *err)
{
    phase_args *args = arg;
    cq_sql sql = cq_sql_of(store, CQ_SQL_phase_add);

    (void)err;
    cq_sql_str(&sql, args->queue);
    cq_sql_str(&sql, args->entry_id);
    cq_sql_int(&sql, args->mine_s);
    cq_sql_run(&sql);
    sql = cq_sql_of(store, CQ_SQL_phase_get);
    cq_sql_str(&sql, args->queue);
    cq_sql_str(&sql, args->entry_id);
    args->out_s = cq_sql_value(&sql, args->mine_s);
    return CRONQ_OK;
}

cronq_status cq_sqlite_every_phase(cq_broker *broker, cq_str queue, cq_str entry_id,
                                   int64_t mine_s, int64_t *out_s, cronq_error *err)
{
    phase_args args = { queue, entry_id, mine_s, mine_s };
    cronq_status status;

    status = cq_sqlite_do(cq_sqlite_of(broker), CQ_SQLITE_DRAINS, phase_work, &args, err);
    if (!status)
        *out_s = args.out_s;
    return status;
}
