/* SPDX-License-Identifier: MIT */
/* bare_redis.c - the bare loop: the least work that moves tasks through a queue of this
 * format. One connection, one thread, batches of 128, two in flight. Every key that
 * taking and finishing a task writes is written, batched; no fence, no checks, no
 * uniqueness, no retention. What cronq reaches is quoted as a part of this. */
#include "base/clock.h"
#include "base/error.h"
#include "bench/bench.h"
#include "net/conn.h"
#include "net/script.h"

#include <string.h>

#define BATCH 128

/* KEYS: pending, active, lease, processed, processed of the day, prefix of tasks.
 * ARGV: lease end, how many to take, then the ids that are done. */
static const char body[] =
    "local done, n = {}, #ARGV - 2\n"
    "if n > 0 then\n"
    "  for i = 1, n do\n"
    "    redis.call('LREM', KEYS[2], -1, ARGV[i + 2])\n"
    "    done[i] = KEYS[6] .. ARGV[i + 2]\n"
    "  end\n"
    "  redis.call('DEL', unpack(done))\n"
    "  redis.call('ZREM', KEYS[3], unpack(ARGV, 3))\n"
    "  redis.call('INCRBY', KEYS[4], n)\n"
    "  redis.call('INCRBY', KEYS[5], n)\n"
    "end\n"
    "local ids = redis.call('RPOP', KEYS[1], ARGV[2])\n"
    "if not ids then return {} end\n"
    "redis.call('LPUSH', KEYS[2], unpack(ids))\n"
    "local leases, out = {}, {}\n"
    "for i = 1, #ids do\n"
    "  local key = KEYS[6] .. ids[i]\n"
    "  leases[2 * i - 1], leases[2 * i] = ARGV[1], ids[i]\n"
    "  out[2 * i - 1], out[2 * i] = ids[i], redis.call('HGET', key, 'msg')\n"
    "  redis.call('HSET', key, 'state', 'active')\n"
    "end\n"
    "redis.call('ZADD', KEYS[3], unpack(leases))\n"
    "return out\n";

struct loop {
    cq_conn *conn;
    cq_script script;
    char keys[6][160];
    cq_arena arenas[2];
    cq_reply *taken[2]; /* of the last answer in this place: id, message, id, … */
    uint32_t in_flight;
};

static void send_batch(struct loop *loop, unsigned place)
{
    const cq_reply *done = loop->taken[place];
    size_t count = done ? done->count / 2 : 0;

    cq_script_call(loop->conn, &loop->script, 6, 2 + count);
    for (size_t i = 0; i < 6; i++)
        cq_conn_arg_text(loop->conn, loop->keys[i]);
    cq_conn_arg_int(loop->conn, cq_wall_ns() / CQ_NS_PER_S + 30);
    cq_conn_arg_int(loop->conn, BATCH);
    for (size_t i = 0; i < count; i++)
        cq_conn_arg_str(loop->conn, done->elements[2 * i].text);
}

static cronq_status receive(struct loop *loop, unsigned place, cronq_error *err)
{
    cronq_status status;

    cq_arena_reset(&loop->arenas[place]);
    status = cq_conn_read(loop->conn, &loop->arenas[place], &loop->taken[place], err);
    if (!status && loop->taken[place]->type == CQ_REPLY_ERROR)
        return cq_conn_reply_failure(loop->taken[place], err);
    return status;
}

static cronq_status work_off(struct loop *loop, uint32_t task_count, cronq_error *err)
{
    uint32_t done = 0;
    cronq_status status = CRONQ_OK;

    send_batch(loop, 0);
    for (unsigned place = 0; done < task_count; place = !place) {
        /* The other place's request leaves before this one's answer is read. */
        send_batch(loop, !place);
        status = cq_conn_flush(loop->conn, err);
        if (!status)
            status = receive(loop, place, err);
        if (status)
            return status;
        done += (uint32_t)loop->taken[place]->count / 2;
    }
    return CRONQ_OK;
}

static void name_keys(struct loop *loop, const char *queue)
{
    static const char *const names[] = { "pending",   "active",         "lease",
                                         "processed", "processed:bare", "t:" };

    for (size_t i = 0; i < 6; i++) {
        cq_buf buf;

        cq_buf_init(&buf, sizeof loop->keys[i]);
        cq_buf_printf(&buf, "asynq:{%s}:%s", queue, names[i]);
        memcpy(loop->keys[i], cq_buf_text(&buf), buf.len + 1);
        cq_buf_release(&buf);
    }
}

static cronq_status measure(struct loop *loop, uint32_t task_count, double *rate,
                            cronq_error *err)
{
    cq_arena arena;
    int64_t begun_ns;
    cronq_status status;

    cq_arena_init(&arena, 1 << 16);
    status = cq_script_load(loop->conn, &loop->script, &arena, err);
    cq_arena_release(&arena);
    if (status)
        return status;
    begun_ns = cq_mono_ns();
    status = work_off(loop, task_count, err);
    *rate = (double)task_count * (double)CQ_NS_PER_S / (double)(cq_mono_ns() - begun_ns);
    return status;
}

cronq_status cq_bare_redis(const char *uri, const char *queue, uint32_t task_count,
                           double *rate, cronq_error *err)
{
    struct loop loop = { 0 };
    cronq_status status = cq_bench_connect(uri, queue, &loop.conn, err);

    if (status)
        return status;
    for (int i = 0; i < 2; i++)
        cq_arena_init(&loop.arenas[i], (size_t)64 << 20);
    cq_script_init(&loop.script, "bare", body, sizeof body - 1);
    name_keys(&loop, queue);
    status = measure(&loop, task_count, rate, err);
    cq_conn_free(loop.conn);
    for (int i = 0; i < 2; i++)
        cq_arena_release(&loop.arenas[i]);
    return status;
}
