/* SPDX-License-Identifier: MIT */
/* bare_sqlite.c - the bare loop on a SQLite file: the least work that moves tasks through
 * the embedded store. One connection, one thread, a transaction for each batch of 128
 * that deletes what is done and takes what is next, in the tables and indexes of the
 * store. No fence, no checks, no uniqueness, no retention. What cronq reaches is quoted
 * as a part of this. */
#include "base/arena.h"
#include "base/clock.h"
#include "base/error.h"
#include "bench/bench.h"

#include <sqlite3.h>

#define BATCH 128

enum { FIND, BEGIN, COMMIT, LIST, TAKE, DONE, COUNT, STATEMENTS };

static const char *const texts[STATEMENTS] = {
    [FIND] = "SELECT n FROM cronq_queue WHERE name = ?1",
    [BEGIN] = "BEGIN IMMEDIATE",
    [COMMIT] = "COMMIT",
    [LIST] = "SELECT n, id, message FROM cronq_task WHERE queue = ?1 AND state = 0 "
             "ORDER BY at LIMIT 128",
    [TAKE] = "UPDATE cronq_task SET state = 1, at = ?2, fence = 1048577 WHERE n = ?1",
    [DONE] = "DELETE FROM cronq_task WHERE queue = ?1 AND id = ?2",
    [COUNT] = "INSERT INTO cronq_count(queue, day, processed, failed) "
              "VALUES (?1, -1, ?2, 0), (?1, 0, ?2, 0) "
              "ON CONFLICT DO UPDATE SET processed = processed + ?2",
};

struct loop {
    sqlite3 *db;
    sqlite3_stmt *statements[STATEMENTS];
    int64_t queue;
    int64_t numbers[BATCH];
    char *ids[BATCH];
    uint32_t count; /* taken, to be done with the next batch */
    cq_arena arena;
};

static int run(struct loop *loop, int which)
{
    int code = sqlite3_step(loop->statements[which]);

    sqlite3_reset(loop->statements[which]);
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

static void finish(struct loop *loop)
{
    sqlite3_bind_int64(loop->statements[DONE], 1, loop->queue);
    for (uint32_t i = 0; i < loop->count; i++) {
        sqlite3_bind_text(loop->statements[DONE], 2, loop->ids[i], -1, SQLITE_STATIC);
        run(loop, DONE);
    }
    if (!loop->count)
        return;
    sqlite3_bind_int64(loop->statements[COUNT], 1, loop->queue);
    sqlite3_bind_int64(loop->statements[COUNT], 2, loop->count);
    run(loop, COUNT);
}

static void take(struct loop *loop)
{
    sqlite3_stmt *list = loop->statements[LIST], *update = loop->statements[TAKE];

    loop->count = 0;
    cq_arena_reset(&loop->arena);
    sqlite3_bind_int64(list, 1, loop->queue);
    while (loop->count < BATCH && sqlite3_step(list) == SQLITE_ROW) {
        uint32_t i = loop->count++;

        loop->numbers[i] = sqlite3_column_int64(list, 0);
        loop->ids[i] = cq_arena_dup(&loop->arena, sqlite3_column_text(list, 1),
                                    (size_t)sqlite3_column_bytes(list, 1));
        cq_arena_dup(&loop->arena, sqlite3_column_blob(list, 2),
                     (size_t)sqlite3_column_bytes(list, 2));
    }
    sqlite3_reset(list);
    sqlite3_bind_int64(update, 2, (cq_wall_ns() / CQ_NS_PER_S + 30) * CQ_MS_PER_S);
    for (uint32_t i = 0; i < loop->count; i++) {
        sqlite3_bind_int64(update, 1, loop->numbers[i]);
        run(loop, TAKE);
    }
}

static cronq_status work_off(struct loop *loop, uint32_t task_count, cronq_error *err)
{
    uint32_t done = 0;

    while (done < task_count || loop->count > 0) {
        if (run(loop, BEGIN))
            break;
        finish(loop);
        done += loop->count;
        take(loop);
        if (run(loop, COMMIT) || (loop->count == 0 && done < task_count))
            break;
    }
    if (done >= task_count)
        return CRONQ_OK;
    return cq_fail(err, CRONQ_EIO, "the bare loop stopped after %u of %u tasks: %s", done,
                   task_count, sqlite3_errmsg(loop->db));
}

static cronq_status open_loop(struct loop *loop, const char *uri, const char *queue,
                              cronq_error *err)
{
    cronq_status status = cq_bench_sqlite_open(uri, &loop->db, err);
    sqlite3_stmt *find;
    int code = SQLITE_OK;

    if (status)
        return status;
    for (int i = 0; !code && i < STATEMENTS; i++)
        code = sqlite3_prepare_v2(loop->db, texts[i], -1, &loop->statements[i], NULL);
    if (code)
        return cq_fail(err, CRONQ_EIO, "%s", sqlite3_errmsg(loop->db));
    find = loop->statements[FIND];
    sqlite3_bind_text(find, 1, queue, -1, SQLITE_STATIC);
    if (sqlite3_step(find) == SQLITE_ROW)
        loop->queue = sqlite3_column_int64(find, 0);
    sqlite3_reset(find);
    return CRONQ_OK;
}

cronq_status cq_bare_sqlite(const char *uri, const char *queue, uint32_t task_count,
                            double *rate, cronq_error *err)
{
    struct loop loop = { 0 };
    cronq_status status;
    int64_t begun_ns;

    cq_arena_init(&loop.arena, (size_t)64 << 20);
    status = open_loop(&loop, uri, queue, err);
    begun_ns = cq_mono_ns();
    if (!status)
        status = work_off(&loop, task_count, err);
    *rate = (double)task_count * (double)CQ_NS_PER_S / (double)(cq_mono_ns() - begun_ns);
    for (int i = 0; i < STATEMENTS; i++)
        sqlite3_finalize(loop.statements[i]);
    sqlite3_close(loop.db);
    cq_arena_release(&loop.arena);
    return status;
}
