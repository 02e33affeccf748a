/* SPDX-License-Identifier: MIT */
/* broker/sqlite/common.c - what several operations do within their transactions. */
#include "broker/sqlite/sqlite.h"

#include "codec/failures.h"

#include <math.h>

int64_t cq_sqlite_queue(cq_sqlite *store, cq_str name, int64_t *paused_at_s)
{
    cq_sql sql = cq_sql_of(store, CQ_SQL_queue_find);
    int64_t n = 0, paused = 0;

    cq_sql_str(&sql, name);
    if (cq_sql_step(&sql)) {
        n = cq_sql_get_int(&sql, 0);
        paused = cq_sql_get_int(&sql, 1);
        cq_sql_end(&sql);
    }
    if (paused_at_s)
        *paused_at_s = paused;
    return n;
}

int64_t cq_sqlite_queue_or_new(cq_sqlite *store, cq_str name)
{
    int64_t queue = cq_sqlite_queue(store, name, NULL);
    cq_sql sql;

    if (queue || store->code)
        return queue;
    sql = cq_sql_of(store, CQ_SQL_queue_add);
    cq_sql_str(&sql, name);
    cq_sql_run(&sql);
    return store->code ? 0 : sqlite3_last_insert_rowid(store->db);
}

int64_t cq_sqlite_front(cq_sqlite *store, int64_t queue)
{
    cq_sql sql = cq_sql_of(store, CQ_SQL_pending_first);

    cq_sql_int(&sql, queue);
    return cq_sql_value(&sql, CQ_SQLITE_MIDDLE) - 1;
}

int64_t cq_sqlite_back(cq_sqlite *store, int64_t queue)
{
    cq_sql sql = cq_sql_of(store, CQ_SQL_pending_last);

    cq_sql_int(&sql, queue);
    return cq_sql_value(&sql, CQ_SQLITE_MIDDLE) + 1;
}

static void add_count(cq_sqlite *store, int64_t queue, int64_t day, int64_t processed,
                      int64_t failed)
{
    cq_sql sql = cq_sql_of(store, CQ_SQL_count);

    cq_sql_int(&sql, queue);
    cq_sql_int(&sql, day);
    cq_sql_int(&sql, processed);
    cq_sql_int(&sql, failed);
    cq_sql_run(&sql);
}

void cq_sqlite_count(cq_sqlite *store, int64_t queue, int64_t now_ms, int64_t processed,
                     int64_t failed)
{
    if (!processed && !failed)
        return;
    add_count(store, queue, now_ms / (86400 * CQ_MS_PER_S), processed, failed);
    add_count(store, queue, CQ_SQLITE_ALL_TIME, processed, failed);
}

void cq_sqlite_free_lock(cq_sqlite *store, cq_str name, cq_str holder)
{
    cq_sql sql = cq_sql_of(store, CQ_SQL_lock_free);

    cq_sql_str(&sql, name);
    cq_sql_str(&sql, holder);
    cq_sql_run(&sql);
}

/* Delete the tasks that list gives, with their locks. */
static void delete_listed(cq_sqlite *store, cq_sql list)
{
    int64_t numbers[CQ_SQLITE_CHUNK];
    size_t count = 0;

    while (count < CQ_SQLITE_CHUNK && cq_sql_step(&list)) {
        numbers[count++] = cq_sql_get_int(&list, 0);
        if (!cq_sql_is_null(&list, 2))
            cq_sqlite_free_lock(store, cq_sql_get_str(&list, 2),
                                cq_sql_get_str(&list, 1));
    }
    cq_sql_end(&list);
    for (size_t i = 0; i < count; i++) {
        cq_sql sql = cq_sql_of(store, CQ_SQL_task_delete);

        cq_sql_int(&sql, numbers[i]);
        cq_sql_run(&sql);
    }
}

void cq_sqlite_remember(cq_sqlite *store, int64_t queue, cq_str id, cronq_bytes line)
{
    cq_buf lines;
    cq_sql sql;

    if (!line.len)
        return;
    cq_buf_init(&lines, CQ_FAILURES_LIMIT * CQ_FAILURE_LINE_LIMIT_BYTES);
    sql = cq_sql_of(store, CQ_SQL_failures);
    cq_sql_int(&sql, queue);
    cq_sql_str(&sql, id);
    if (cq_sql_step(&sql))
        cq_failures_append(&lines, line, cq_sql_get_bytes(&sql, 0));
    cq_sql_end(&sql);
    if (lines.len && !lines.status) {
        sql = cq_sql_of(store, CQ_SQL_failures_set);
        cq_sql_int(&sql, queue);
        cq_sql_str(&sql, id);
        cq_sql_bytes(&sql, (cronq_bytes){ lines.data, lines.len });
        cq_sql_run(&sql);
    }
    cq_buf_release(&lines);
}

/* At most a chunk of each kind at a time: the next archived task takes the next. */
void cq_sqlite_trim_archive(cq_sqlite *store, int64_t queue, int64_t now_ms)
{
    cq_sql sql = cq_sql_of(store, CQ_SQL_archive_count);
    int64_t more;

    cq_sql_int(&sql, queue);
    more = cq_sql_value(&sql, 0) - store->broker.archive_count;
    if (more > 0) {
        sql = cq_sql_of(store, CQ_SQL_archive_excess);
        cq_sql_int(&sql, queue);
        cq_sql_int(&sql, more < CQ_SQLITE_CHUNK ? more : CQ_SQLITE_CHUNK);
        delete_listed(store, sql);
    }
    sql = cq_sql_of(store, CQ_SQL_archive_old);
    cq_sql_int(&sql, queue);
    cq_sql_int(&sql, now_ms - store->broker.archive_age_s * CQ_MS_PER_S);
    cq_sql_int(&sql, CQ_SQLITE_CHUNK);
    delete_listed(store, sql);
}

int64_t cq_sqlite_lease_end_ms(const cq_sqlite *store, int64_t now_ns)
{
    int64_t end_ms = cq_ns_to_ms(now_ns) + store->lease_ms;

    return cq_seconds_down(end_ms) * CQ_MS_PER_S;
}

/* Exact: 2^20 fractions of a second fit a double for 2^33 seconds. */
double cq_sqlite_score(int64_t end_ms, int64_t stored_fence)
{
    return floor((double)end_ms / (double)CQ_MS_PER_S) +
           (double)(stored_fence - CQ_SQLITE_FENCE_BASE) / CQ_FENCE_LIMIT;
}
