/* SPDX-License-Identifier: MIT */
/* bare_push.c - the bare loops of pushing: the least work that stores tasks in this
 * format, in batches of 100; on Redis with two batches in flight, on SQLite with a
 * transaction each. Every key that a push writes is written; no checks. The message is
 * made once, its id is put in anew for each task. */
#include "base/clock.h"
#include "base/error.h"
#include "bench/bench.h"
#include "codec/message.h"
#include "net/script.h"

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#define BATCH    100
#define ID_CHARS 36

/* KEYS: pending, prefix of tasks. ARGV: now, then id and message of each task. */
static const char body[] =
    "local ids, n = {}, 0\n"
    "for i = 2, #ARGV, 2 do\n"
    "  redis.call('HSET', KEYS[2] .. ARGV[i], 'msg', ARGV[i + 1], 'state', 'pending', "
    "'pending_since', ARGV[1])\n"
    "  n = n + 1\n"
    "  ids[n] = ARGV[i]\n"
    "end\n"
    "redis.call('LPUSH', KEYS[1], unpack(ids))\n"
    "return n\n";

struct pushed {
    cq_buf message;
    size_t id_at; /* in the message */
    uint64_t next;
    char id[ID_CHARS + 1];
};

static cronq_status prepare(struct pushed *pushed, const cq_bench_options *options,
                            const char *queue, cq_arena *arena, cronq_error *err)
{
    void *payload = cq_arena_calloc(arena, 1, (size_t)options->payload_bytes + 1);
    const char *at;
    cronq_status status;
    cq_message message = { .type = CQ_STR("bench"),
                           .payload = { payload, options->payload_bytes },
                           .queue = cq_str_of(queue),
                           .max_retry = 25,
                           .timeout_s = 1800 };

    snprintf(pushed->id, sizeof pushed->id, "%036d", 0);
    message.id = (cq_str){ pushed->id, ID_CHARS };
    cq_buf_init(&pushed->message, (size_t)2 << 20);
    status = cq_message_encode(&message, &pushed->message, err);
    if (status)
        return status;
    at = memmem(pushed->message.data, pushed->message.len, pushed->id, ID_CHARS);
    pushed->id_at = (size_t)(at - (const char *)pushed->message.data);
    return CRONQ_OK;
}

static void next_task(struct pushed *pushed)
{
    snprintf(pushed->id, sizeof pushed->id, "%036llu",
             (unsigned long long)++pushed->next);
    memcpy((char *)pushed->message.data + pushed->id_at, pushed->id, ID_CHARS);
}

/* ---- Redis ---- */

static void send_batch(cq_conn *conn, const cq_script *script, const char *queue,
                       struct pushed *pushed, uint32_t count)
{
    char key[160];

    cq_script_call(conn, script, 2, 1 + 2 * (size_t)count);
    snprintf(key, sizeof key, "asynq:{%s}:pending", queue);
    cq_conn_arg_text(conn, key);
    snprintf(key, sizeof key, "asynq:{%s}:t:", queue);
    cq_conn_arg_text(conn, key);
    cq_conn_arg_int(conn, cq_wall_ns());
    for (uint32_t i = 0; i < count; i++) {
        next_task(pushed);
        cq_conn_arg(conn, pushed->id, ID_CHARS);
        cq_conn_arg(conn, pushed->message.data, pushed->message.len);
    }
}

static cronq_status push_redis(const cq_bench_options *options, cq_conn *conn,
                               const char *queue, struct pushed *pushed, cq_arena *arena,
                               cronq_error *err)
{
    uint32_t sent = 0, in_flight = 0;
    cronq_status status;
    cq_script script;
    cq_reply *reply;

    cq_script_init(&script, "bare-push", body, sizeof body - 1);
    status = cq_script_load(conn, &script, arena, err);
    while (!status && (sent < options->task_count || in_flight)) {
        uint32_t left = options->task_count - sent;
        uint32_t count = left < BATCH ? left : BATCH;

        if (count && in_flight < 2) {
            send_batch(conn, &script, queue, pushed, count);
            status = cq_conn_flush(conn, err);
            sent += count;
            in_flight++;
            continue;
        }
        cq_arena_reset(arena);
        status = cq_conn_read(conn, arena, &reply, err);
        if (!status && reply->type == CQ_REPLY_ERROR)
            status = cq_conn_reply_failure(reply, err);
        in_flight--;
    }
    return status;
}

cronq_status cq_bare_push_redis(const cq_bench_options *options, const char *queue,
                                double *rate, cronq_error *err)
{
    struct pushed pushed = { .next = 0 };
    cq_arena arena, payload;
    cq_conn *conn;
    int64_t begun_ns;
    cronq_status status = cq_bench_connect(options->uri, queue, &conn, err);

    cq_arena_init(&arena, 1 << 20);
    cq_arena_init(&payload, (size_t)2 << 20);
    if (!status)
        status = prepare(&pushed, options, queue, &payload, err);
    begun_ns = cq_mono_ns();
    if (!status)
        status = push_redis(options, conn, queue, &pushed, &arena, err);
    *rate = options->task_count * (double)CQ_NS_PER_S / (double)(cq_mono_ns() - begun_ns);
    cq_buf_release(&pushed.message);
    cq_arena_release(&arena);
    cq_arena_release(&payload);
    cq_conn_free(conn);
    return status;
}

/* ---- SQLite ---- */

static const char insert[] =
    "INSERT INTO cronq_task(queue, state, at, fence, since_ns, id, message) "
    "VALUES (?1, 0, ?2, 1048576, ?3, ?4, ?5)";

static int insert_next(sqlite3_stmt *stmt, struct pushed *pushed)
{
    int code;

    next_task(pushed);
    sqlite3_bind_int64(stmt, 2, (sqlite3_int64)pushed->next);
    sqlite3_bind_int64(stmt, 3, cq_wall_ns());
    sqlite3_bind_text(stmt, 4, pushed->id, ID_CHARS, SQLITE_STATIC);
    sqlite3_bind_blob64(stmt, 5, pushed->message.data, pushed->message.len,
                        SQLITE_STATIC);
    code = sqlite3_step(stmt);
    sqlite3_reset(stmt);
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

static int push_sqlite(sqlite3 *db, const char *queue, struct pushed *pushed,
                       uint32_t task_count)
{
    char text[256];
    sqlite3_stmt *stmt;
    int code;

    snprintf(text, sizeof text, "INSERT INTO cronq_queue(name) VALUES ('%s')", queue);
    code = sqlite3_exec(db, text, NULL, NULL, NULL);
    if (!code)
        code = sqlite3_prepare_v2(db, insert, -1, &stmt, NULL);
    if (code)
        return code;
    sqlite3_bind_int64(stmt, 1, sqlite3_last_insert_rowid(db));
    for (uint32_t i = 0; i < task_count && !code; i++) {
        if (i % BATCH == 0)
            code = sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
        if (!code)
            code = insert_next(stmt, pushed);
        if (!code && (i % BATCH == BATCH - 1 || i + 1 == task_count))
            code = sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
    }
    sqlite3_finalize(stmt);
    return code;
}

cronq_status cq_bare_push_sqlite(const cq_bench_options *options, const char *queue,
                                 double *rate, cronq_error *err)
{
    struct pushed pushed = { .next = 0 };
    cq_arena payload;
    sqlite3 *db = NULL;
    int64_t begun_ns;
    cronq_status status = cq_bench_sqlite_open(options->uri, &db, err);

    cq_arena_init(&payload, (size_t)2 << 20);
    if (!status)
        status = prepare(&pushed, options, queue, &payload, err);
    if (!status && !strstr(options->uri, "synchronous=normal")) /* as the store does */
        sqlite3_exec(db, "PRAGMA synchronous = FULL", NULL, NULL, NULL);
    begun_ns = cq_mono_ns();
    if (!status && push_sqlite(db, queue, &pushed, options->task_count))
        status = cq_fail(err, CRONQ_EIO, "%s", sqlite3_errmsg(db));
    *rate = options->task_count * (double)CQ_NS_PER_S / (double)(cq_mono_ns() - begun_ns);
    cq_buf_release(&pushed.message);
    cq_arena_release(&payload);
    sqlite3_close(db);
    return status;
}
