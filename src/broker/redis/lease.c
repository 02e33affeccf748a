/* SPDX-License-Identifier: MIT */
/* broker/redis/lease.c - leases while they last: extending, marking, results. */
#include "broker/redis/redis.h"

#include "base/clock.h"
#include "base/error.h"

#include <stdlib.h>

/* Leases of one queue that go with one call. */
typedef struct lease_batch {
    cq_lease *leases;
    const uint32_t *next; /* the next lease of the same queue */
    int64_t argument;
} lease_batch;

#define NO_LEASE UINT32_MAX

static void encode_leases(cq_conn *conn, const cq_script *script, const cq_call *call)
{
    const lease_batch *batch = call->arg;

    cq_script_call(conn, script, 1, 1 + 2 * call->count);
    cq_conn_arg_str(conn, call->prefix);
    cq_conn_arg_int(conn, batch->argument);
    for (size_t i = call->first; i != NO_LEASE; i = batch->next[i]) {
        cq_conn_arg_str(conn, batch->leases[i].id);
        cq_conn_arg_int(conn, batch->leases[i].fence);
    }
}

/* Chain the leases of each queue; returns the number of calls. */
static size_t plan_leases(const lease_batch *batch, size_t count, cq_lua lua,
                          uint32_t *next, uint32_t *last, cq_call *calls, cq_arena *arena)
{
    size_t call_count = 0, c;

    for (size_t i = 0; i < count; i++) {
        cq_str queue = batch->leases[i].queue;

        for (c = call_count; c-- > 0;)
            if (cq_str_eq(batch->leases[calls[c].first].queue, queue))
                break;
        next[i] = NO_LEASE;
        if (c == SIZE_MAX) {
            c = call_count++;
            calls[c] = (cq_call){ .lua = lua,
                                  .encode = encode_leases,
                                  .arg = batch,
                                  .first = i,
                                  .prefix = cq_redis_prefix(arena, queue) };
        } else {
            next[last[c]] = (uint32_t)i;
        }
        calls[c].count++;
        last[c] = (uint32_t)i;
    }
    return call_count;
}

static cronq_status judge_leases(const lease_batch *batch, const cq_call *call,
                                 cronq_error *err)
{
    const cq_reply *reply = call->reply;
    cronq_status status = CRONQ_OK;
    size_t n = 0;

    if (!reply)
        return CRONQ_EIO; /* said by cq_redis_run */
    if (reply->type == CQ_REPLY_ERROR)
        status = cq_conn_reply_failure(reply, err);
    else if (reply->text.len != call->count)
        status = cq_fail(err, CRONQ_EPROTO, "%zu leases were answered with %zu statuses",
                         call->count, reply->text.len);
    for (size_t i = call->first; i != NO_LEASE; i = batch->next[i], n++)
        batch->leases[i].status = status                       ? status
                                  : reply->text.data[n] == 'o' ? CRONQ_OK
                                  : reply->text.data[n] == 'c' ? CRONQ_ECANCELED
                                                               : CRONQ_ESTATE;
    return status;
}

/* One chunk of leases: a call a queue. A queue that fails does not stop the others. */
static cronq_status run_chunk(cq_redis *redis, cq_lease *leases, size_t count, cq_lua lua,
                              int64_t argument, cq_arena *arena, cronq_error *err)
{
    uint32_t *next = cq_arena_calloc(arena, count, 2 * sizeof *next);
    cq_call *calls = cq_arena_calloc(arena, count, sizeof *calls);
    lease_batch batch = { leases, next, argument };
    cronq_status status, one;
    size_t call_count;

    if (!next || !calls)
        return cq_fail_nomem(err);
    call_count = plan_leases(&batch, count, lua, next, next + count, calls, arena);
    for (size_t i = 0; i < call_count; i++)
        if (!calls[i].prefix.data)
            return cq_fail_nomem(err);
    status = cq_redis_run(redis, calls, call_count, false, 0, arena, err);
    for (size_t i = 0; i < call_count; i++) {
        one = judge_leases(&batch, &calls[i], status ? NULL : err);
        if (!status)
            status = one;
    }
    return status;
}

static cronq_status run_leases(cq_broker *broker, cq_lease *leases, size_t count,
                               cq_lua lua, int64_t argument, cronq_error *err)
{
    cq_redis *redis = cq_redis_of(broker);
    cronq_status status, first = CRONQ_OK;
    cq_arena arena;

    for (size_t i = 0; i < count; i++)
        leases[i].status = CRONQ_EIO;
    cq_arena_init(&arena, CQ_REDIS_ARENA_BYTES);
    for (size_t at = 0; at < count && first != CRONQ_EIO; at += CQ_REDIS_CHUNK) {
        size_t n = count - at < CQ_REDIS_CHUNK ? count - at : CQ_REDIS_CHUNK;

        cq_arena_reset(&arena);
        status =
            run_chunk(redis, leases + at, n, lua, argument, &arena, first ? NULL : err);
        if (!first)
            first = status;
    }
    cq_arena_release(&arena);
    return first;
}

cronq_status cq_redis_extend(cq_broker *broker, cq_lease *leases, size_t count,
                             int64_t now_ns, cronq_error *err)
{
    int64_t end_ns = now_ns + cq_redis_of(broker)->lease_ms * CQ_NS_PER_MS;

    return run_leases(broker, leases, count, CQ_LUA_extend, cq_ns_to_s(end_ns), err);
}

cronq_status cq_redis_mark_started(cq_broker *broker, cq_lease *leases, size_t count,
                                   cronq_error *err)
{
    return run_leases(broker, leases, count, CQ_LUA_started, 0, err);
}

/* Few tasks, once in the life of a worker: a call each. */
cronq_status cq_redis_count_deaths(cq_broker *broker, cq_lease *leases, size_t count,
                                   uint32_t *deaths, cronq_error *err)
{
    cronq_status status = CRONQ_OK;
    cq_reply *reply;
    cq_arena arena;

    cq_arena_init(&arena, CQ_REDIS_ARENA_BYTES);
    for (size_t i = 0; i < count && !status; i++) {
        status = cq_redis_script_on(
            cq_redis_of(broker), CQ_LUA_deaths, leases[i].queue,
            (cq_str[]){ leases[i].id, cq_redis_int(&arena, leases[i].fence) }, 2, &arena,
            &reply, err);
        deaths[i] = status ? 0 : (uint32_t)cq_reply_int(reply, 0);
        leases[i].status = status ? status : !deaths[i] ? CRONQ_ESTATE : CRONQ_OK;
        cq_arena_reset(&arena);
    }
    cq_arena_release(&arena);
    return status;
}

cronq_status cq_redis_write_result(cq_broker *broker, cq_str queue, cq_str id,
                                   uint32_t fence, cronq_bytes result, cronq_error *err)
{
    cronq_status status;
    cq_reply *reply;
    cq_arena arena;

    cq_arena_init(&arena, CQ_REDIS_ARENA_BYTES);
    status =
        cq_redis_script_on(cq_redis_of(broker), CQ_LUA_result, queue,
                           (cq_str[]){ id,
                                       cq_redis_int(&arena, fence),
                                       { result.data ? result.data : "", result.len } },
                           3, &arena, &reply, err);
    if (!status && cq_reply_int(reply, 0) != 1)
        status = cq_fail(err, CRONQ_ESTATE, "the task's lease is not ours any more");
    cq_arena_release(&arena);
    return status;
}

cronq_status cq_redis_find_leased(cq_intake *base, uint32_t fence, cq_arena *arena,
                                  cq_delivery **out, size_t *count, cronq_error *err)
{
    cq_redis_intake *intake = cq_redis_intake_of(base);
    cq_delivery *found = cq_arena_calloc(arena, CQ_BATCH_LIMIT, sizeof *found);
    const cq_str words[] = { cq_redis_int(arena, fence),
                             cq_redis_int(arena, CQ_BATCH_LIMIT) };
    cronq_status status;
    cq_reply *rows;
    size_t n = 0;

    if (!found)
        return cq_fail_nomem(err);
    for (uint32_t q = 0; q < intake->queue_count; q++) {
        status = cq_redis_rows_on(intake->redis, CQ_LUA_leased, intake->queues[q].name,
                                  words, 2, 3, arena, &rows, err);
        if (status)
            return status;
        for (size_t i = 0; i < rows->count && n < CQ_BATCH_LIMIT; i += 3) {
            const cq_reply *row = &rows->elements[i];

            found[n++] = (cq_delivery){
                .queue = q,
                .id = row[0].text,
                .message = { row[2].text.data, row[2].text.len },
                .score = strtod(row[1].text.data, NULL),
            };
        }
    }
    *out = found;
    *count = n;
    return CRONQ_OK;
}
