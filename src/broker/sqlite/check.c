/* SPDX-License-Identifier: MIT */
/* broker/sqlite/check.c - looks for broken invariants, a window of tasks a transaction.
 *
 * A task is one row, so it cannot be listed twice or not at all; what may be wrong is
 * what is in the row, locks, and the file. What is found is told after the transaction.
 */
#include "broker/sqlite/sqlite.h"

#include "base/error.h"
#include "codec/key.h"
#include "codec/message.h"

#include <stdio.h>

#define WINDOW            200
#define WINDOW_BYTES      ((size_t)1 << 30)
#define REPLACEMENT_BYTES ((size_t)1 << 20)
#define DAY_MS            ((int64_t)86400 * CQ_MS_PER_S)

typedef struct found {
    cronq_finding_kind kind;
    int64_t n;    /* of the task's row */
    bool regroup; /* it has a group to go back to */
    cq_str id, detail;
} found;

typedef struct check_args {
    cq_str queue;
    bool repair;
    int64_t now_ns, now_ms;
    int64_t number; /* the queue's */
    cq_buf at;      /* the last id that was looked at */
    size_t seen;    /* rows in this window */
    found *found;
    size_t found_count;
    cq_arena arena;
} check_args;

static void note(cq_sqlite *store, check_args *args, found what)
{
    if (!what.id.data || !what.detail.data)
        cq_sqlite_note(store, SQLITE_NOMEM);
    else if (args->found_count < WINDOW)
        args->found[args->found_count++] = what;
}

static cq_str copy(check_args *args, const char *text)
{
    size_t len = strlen(text);

    return (cq_str){ cq_arena_dup(&args->arena, text, len), len };
}

static cq_str number_text(check_args *args, int64_t value)
{
    char text[24];

    snprintf(text, sizeof text, "%lld", (long long)value);
    return copy(args, text);
}

/* ---- tasks ---- */

static void look_at_task(cq_sqlite *store, check_args *args, const cq_sql *row)
{
    int64_t n = cq_sql_get_int(row, 0), state = cq_sql_get_int(row, 2);
    int64_t at_ms = cq_sql_get_int(row, 3);
    bool grouped = cq_sql_get_int(row, 4) != 0, setless = cq_sql_get_int(row, 6) != 0;
    found what = { .n = n, .id = cq_sql_copy_str(row, 1, &args->arena) };
    cronq_error why;
    cq_message message;
    cronq_status status = cq_message_check(cq_sql_get_bytes(row, 5), args->queue, what.id,
                                           &args->arena, &message, &why);

    if (status == CRONQ_ENOMEM) {
        cq_sqlite_note(store, SQLITE_NOMEM);
    } else if (status) {
        what.kind = CRONQ_FINDING_CORRUPT;
        what.detail = copy(args, why.text);
        note(store, args, what);
    } else if (state < CQ_SQLITE_PENDING || state > CQ_SQLITE_MERGING || setless ||
               (state >= CQ_SQLITE_AGGREGATING && !grouped)) {
        what.regroup = setless && grouped;
        what.kind = CRONQ_FINDING_LOST;
        what.detail = number_text(args, state);
        note(store, args, what);
    } else if (state == CQ_SQLITE_ACTIVE && at_ms > args->now_ms + DAY_MS) {
        what.kind = CRONQ_FINDING_TIME;
        what.detail = number_text(args, at_ms);
        note(store, args, what);
    }
}

static void quarantine(cq_sqlite *store, const check_args *args, const found *what)
{
    cq_sql sql;
    cq_buf buf;

    cq_buf_init(&buf, REPLACEMENT_BYTES);
    if (cq_message_replace(args->queue, what->id, what->detail.data,
                           args->now_ns / CQ_NS_PER_S, &buf, NULL)) {
        cq_sqlite_note(store, SQLITE_NOMEM);
    } else {
        sql = cq_sql_of(store, CQ_SQL_check_quarantine);
        cq_sql_int(&sql, what->n);
        cq_sql_int(&sql, args->now_ms);
        cq_sql_bytes(&sql, (cronq_bytes){ buf.data, buf.len });
        cq_sql_run(&sql);
    }
    cq_buf_release(&buf);
}

static void mend_task(cq_sqlite *store, const check_args *args, const found *what)
{
    bool lost = what->kind == CRONQ_FINDING_LOST;
    cq_sql sql;

    if (what->kind == CRONQ_FINDING_CORRUPT) {
        quarantine(store, args, what);
        return;
    }
    if (what->regroup) {
        sql = cq_sql_of(store, CQ_SQL_check_regroup);
        cq_sql_int(&sql, what->n);
        cq_sql_run(&sql);
        return;
    }
    sql = cq_sql_of(store, lost ? CQ_SQL_check_put_back : CQ_SQL_check_end_lease);
    cq_sql_int(&sql, what->n);
    if (lost) {
        cq_sql_int(&sql, cq_sqlite_front(store, args->number));
        cq_sql_int(&sql, args->now_ns);
        store->ring = true;
    } else {
        cq_sql_int(&sql, args->now_ms - store->recover_after_ms);
    }
    cq_sql_run(&sql);
}

static cronq_status tasks_work(cq_sqlite *store, void *arg, cronq_error *err)
{
    check_args *args = arg;
    cq_str at = cq_buf_str(&args->at);
    cq_sql sql;

    args->found_count = args->seen = 0;
    sql = cq_sql_of(store, CQ_SQL_check_tasks);
    cq_sql_int(&sql, args->number);
    cq_sql_str(&sql, at);
    cq_sql_int(&sql, WINDOW);
    while (args->seen < WINDOW && cq_sql_step(&sql)) {
        at = cq_sql_copy_str(&sql, 1, &args->arena);
        args->seen++;
        look_at_task(store, args, &sql);
    }
    cq_sql_end(&sql);
    for (size_t i = 0; args->repair && i < args->found_count; i++)
        mend_task(store, args, &args->found[i]);
    if (store->code || args->seen == 0)
        return CRONQ_OK;
    cq_buf_reset(&args->at);
    cq_buf_append_str(&args->at, at);
    return args->at.status ? cq_fail_nomem(err) : CRONQ_OK;
}

/* ---- locks and the file ---- */

static cronq_status locks_work(cq_sqlite *store, void *arg, cronq_error *err)
{
    check_args *args = arg;
    cq_buf from, to;
    cq_sql sql;

    (void)err;
    args->found_count = 0;
    cq_buf_init(&from, 1024);
    cq_buf_init(&to, 1024);
    cq_key_of(&from, args->queue, "unique:");
    cq_key_of(&to, args->queue, "unique;"); /* the character behind ':' */
    sql = cq_sql_of(store, CQ_SQL_check_locks);
    cq_sql_int(&sql, args->number);
    cq_sql_str(&sql, cq_buf_str(&from));
    cq_sql_str(&sql, cq_buf_str(&to));
    cq_sql_int(&sql, args->now_ms);
    cq_sql_int(&sql, WINDOW);
    while (args->found_count < WINDOW && cq_sql_step(&sql))
        note(store, args,
             (found){ .kind = CRONQ_FINDING_LOCK,
                      .id = cq_sql_copy_str(&sql, 0, &args->arena),
                      .detail = cq_sql_copy_str(&sql, 1, &args->arena) });
    cq_sql_end(&sql);
    for (size_t i = 0; args->repair && i < args->found_count; i++)
        cq_sqlite_free_lock(store, args->found[i].id, args->found[i].detail);
    cq_buf_release(&from);
    cq_buf_release(&to);
    return CRONQ_OK;
}

static cronq_status file_work(cq_sqlite *store, void *arg, cronq_error *err)
{
    check_args *args = arg;
    cq_sql sql = cq_sql_of(store, CQ_SQL_check_file);

    (void)err;
    args->found_count = 0;
    while (args->found_count < WINDOW && cq_sql_step(&sql))
        if (!cq_str_eq(cq_sql_get_str(&sql, 0), CQ_STR("ok")))
            note(store, args,
                 (found){ .kind = CRONQ_FINDING_STORE,
                          .id = copy(args, ""),
                          .detail = cq_sql_copy_str(&sql, 0, &args->arena) });
    cq_sql_end(&sql);
    return CRONQ_OK;
}

/* ---- the whole queue ---- */

typedef struct telling {
    cq_finding_fn *on_finding;
    void *arg;
} telling;

static void tell(const check_args *args, bool repaired, const telling *to)
{
    for (size_t i = 0; i < args->found_count; i++) {
        const cq_finding finding = { .kind = args->found[i].kind,
                                     .queue = args->queue,
                                     .id = args->found[i].id,
                                     .detail = args->found[i].detail,
                                     .repaired = repaired };

        to->on_finding(&finding, to->arg);
    }
}

static cronq_status step(cq_sqlite *store, check_args *args, bool repair,
                         cq_sqlite_work *work, const telling *to, cronq_error *err)
{
    cq_sqlite_kind kind = repair ? CQ_SQLITE_DRAINS : CQ_SQLITE_READS;
    cronq_status status;

    cq_arena_reset(&args->arena);
    args->found = cq_arena_calloc(&args->arena, WINDOW, sizeof *args->found);
    if (!args->found)
        return cq_fail_nomem(err);
    status = cq_sqlite_do(store, kind, work, args, err);
    if (!status)
        tell(args, repair, to);
    return status;
}

static cronq_status find_work(cq_sqlite *store, void *arg, cronq_error *err)
{
    check_args *args = arg;

    args->number = cq_sqlite_queue(store, args->queue, NULL);
    if (args->number || store->code)
        return CRONQ_OK;
    return cq_fail(err, CRONQ_ENOENT, "there is no queue \"%.*s\"", CQ_FMT(args->queue));
}

cronq_status cq_sqlite_check(cq_broker *broker, cq_str queue, bool repair, int64_t now_ns,
                             cq_finding_fn *on_finding, void *arg, cronq_error *err)
{
    cq_sqlite *store = cq_sqlite_of(broker);
    const telling to = { on_finding, arg };
    check_args args = {
        .queue = queue, .repair = repair, .now_ns = now_ns, .now_ms = cq_ns_to_ms(now_ns)
    };
    cronq_status status = cq_sqlite_do(store, CQ_SQLITE_READS, find_work, &args, err);

    cq_arena_init(&args.arena, WINDOW_BYTES);
    cq_buf_init(&args.at, WINDOW_BYTES);
    if (!status)
        status = step(store, &args, false, file_work, &to, err);
    do {
        if (!status)
            status = step(store, &args, repair, tasks_work, &to, err);
    } while (!status && args.seen == WINDOW);
    if (!status)
        status = step(store, &args, repair, locks_work, &to, err);
    cq_buf_release(&args.at);
    cq_arena_release(&args.arena);
    return status;
}
