/* SPDX-License-Identifier: MIT */
/* broker/redis/route.c - which node a call goes to, and what comes back from clusters.
 *
 * Every script names as a key its queue's prefix, which is never a key: so while the slot
 * of the queue is on the move, the node that gives it away redirects each script before
 * it has run (ASK), and the node that gets it does so too (MOVED). Followed, a script
 * would find half of its keys. So it waits until the move is over: scripts run on whole
 * queues only. Plain commands have one key and follow. */
#include "broker/redis/redis.h"

#include "base/clock.h"
#include "base/error.h"

#define FIRST_NAP_MS   10
#define LONGEST_NAP_MS 1000

cronq_status cq_redis_pool_of(cq_redis *redis, cq_str key, cq_pool **out,
                              cronq_error *err)
{
    if (redis->cluster)
        return cq_cluster_pool(redis->cluster, cq_key_slot(key), out, err);
    *out = redis->pool;
    return CRONQ_OK;
}

/* How often and how long one operation has been sent elsewhere. */
typedef struct patience {
    uint32_t redirects;
    int64_t nap_ms, until_ms;
} patience;

static patience patience_of(int64_t patience_ms)
{
    return (patience){ 0, FIRST_NAP_MS, cq_mono_ms() + patience_ms };
}

/* Is it to be tried again? Naps when that is better. */
static bool again(const cq_redis *redis, patience *p, cq_redirect redirect)
{
    int64_t left_ms = p->until_ms - cq_mono_ms();

    if (redirect != CQ_REDIRECT_LATER)
        return p->redirects++ < redis->max_redirects;
    if (left_ms <= 0)
        return false;
    cq_sleep_ms(p->nap_ms < left_ms ? p->nap_ms : left_ms);
    p->nap_ms = p->nap_ms * 2 < LONGEST_NAP_MS ? p->nap_ms * 2 : LONGEST_NAP_MS;
    return true;
}

/* ---- one server ---- */

/* Until enough replicas have what this connection wrote, or found written. */
static cronq_status await_replicas(const cq_redis *redis, cq_conn *conn, cq_arena *arena,
                                   cronq_error *err)
{
    cronq_status status;
    cq_reply *reply;

    cq_conn_command(conn, 3);
    cq_conn_arg_text(conn, "WAIT");
    cq_conn_arg_int(conn, redis->wait_replica_count);
    cq_conn_arg_int(conn, redis->wait_timeout_ms);
    status = cq_conn_read(conn, arena, &reply, err);
    if (status)
        return status;
    if (reply->type != CQ_REPLY_INTEGER)
        return cq_conn_reply_failure(reply, err);
    if (reply->integer >= redis->wait_replica_count)
        return CRONQ_OK;
    return cq_fail(err, CRONQ_EIO, "%lld of %u replicas have it within %lld ms",
                   (long long)reply->integer, redis->wait_replica_count,
                   (long long)redis->wait_timeout_ms);
}

static cronq_status run_single(cq_redis *redis, cq_call *calls, size_t count,
                               bool durable, cq_arena *arena, cronq_error *err)
{
    cronq_status status;
    cq_conn *conn;

    status = cq_pool_take(redis->pool, &conn, err);
    if (status)
        return status;
    for (size_t i = 0; i < count; i++) {
        calls[i].sent = true;
        calls[i].epoch = cq_pool_epoch(redis->pool);
    }
    status = cq_redis_calls(redis, conn, calls, count, arena, err);
    if (!status && durable && redis->wait_replica_count) {
        status = await_replicas(redis, conn, arena, err);
        for (size_t i = 0; i < count; i++)
            calls[i].unconfirmed = status != CRONQ_OK;
    }
    cq_pool_give(redis->pool, conn);
    return status;
}

/* ---- a cluster ---- */

/* The calls of one node. */
typedef struct node_leg {
    cq_pool *pool;
    cq_conn *conn; /* NULL: there is none, or not any more */
} node_leg;

typedef struct journey {
    cq_redis *redis;
    cq_call *calls;
    size_t count;
    bool durable;
    cq_arena *arena;
    cq_pool **pools; /* of each call that is still to be made; else NULL */
    node_leg *legs;  /* by the addresses of their pools: all take them in one order */
    size_t leg_count;
    cronq_status failure; /* the first */
    cronq_error *err;
} journey;

static void failed(journey *j, cronq_status status, const cronq_error *why)
{
    if (j->failure)
        return;
    j->failure = status;
    if (j->err)
        *j->err = *why;
}

static void add_leg(journey *j, cq_pool *pool)
{
    size_t at = 0;

    while (at < j->leg_count && (uintptr_t)j->legs[at].pool < (uintptr_t)pool)
        at++;
    if (at < j->leg_count && j->legs[at].pool == pool)
        return;
    memmove(j->legs + at + 1, j->legs + at, (j->leg_count - at) * sizeof *j->legs);
    j->legs[at] = (node_leg){ pool, NULL };
    j->leg_count++;
}

/* Where each call that is still to be made goes. */
static void plan(journey *j)
{
    cronq_error why = { .code = CRONQ_OK };
    cronq_status status;

    j->leg_count = 0;
    for (size_t i = 0; i < j->count; i++) {
        if (!j->pools[i])
            continue;
        j->calls[i].sent = false;
        j->calls[i].reply = NULL;
        status = cq_redis_pool_of(j->redis, j->calls[i].prefix, &j->pools[i], &why);
        if (status) {
            j->pools[i] = NULL;
            failed(j, status, &why);
        } else {
            add_leg(j, j->pools[i]);
        }
    }
}

static void drop(journey *j, node_leg *leg, cronq_status status, const cronq_error *why)
{
    failed(j, status, why);
    cq_cluster_doubt(j->redis->cluster);
    if (leg->conn)
        cq_pool_give(leg->pool, leg->conn);
    leg->conn = NULL;
}

static void send_leg(journey *j, node_leg *leg)
{
    cronq_error why = { .code = CRONQ_OK };
    cronq_status status = cq_pool_take(leg->pool, &leg->conn, &why);

    if (status) {
        leg->conn = NULL;
        drop(j, leg, status, &why);
        return;
    }
    for (size_t i = 0; i < j->count; i++) {
        if (j->pools[i] != leg->pool)
            continue;
        cq_redis_send_calls(j->redis, leg->conn, &j->calls[i], 1);
        j->calls[i].sent = true;
        j->calls[i].epoch = cq_pool_epoch(leg->pool);
    }
    status = cq_conn_flush(leg->conn, &why);
    if (status)
        drop(j, leg, status, &why);
}

typedef cronq_status leg_fn(journey *j, node_leg *leg, cq_call *call, cronq_error *err);

static cronq_status read_call(journey *j, node_leg *leg, cq_call *call, cronq_error *err)
{
    return cq_redis_read_calls(leg->conn, call, 1, j->arena, err);
}

static cronq_status heal_call(journey *j, node_leg *leg, cq_call *call, cronq_error *err)
{
    if (!cq_redis_refused(call, 1))
        return CRONQ_OK;
    return cq_redis_heal_calls(j->redis, leg->conn, call, 1, j->arena, err);
}

static void each_call(journey *j, node_leg *leg, leg_fn *act)
{
    cronq_error why = { .code = CRONQ_OK };
    cronq_status status = CRONQ_OK;

    for (size_t i = 0; i < j->count && leg->conn && !status; i++)
        if (j->pools[i] == leg->pool)
            status = act(j, leg, &j->calls[i], &why);
    if (status)
        drop(j, leg, status, &why);
}

static void confirm_leg(journey *j, node_leg *leg)
{
    cronq_error why = { .code = CRONQ_OK };
    cronq_status status;

    if (!leg->conn || !j->durable || !j->redis->wait_replica_count)
        return;
    status = await_replicas(j->redis, leg->conn, j->arena, &why);
    if (!status)
        return;
    for (size_t i = 0; i < j->count; i++)
        if (j->pools[i] == leg->pool)
            j->calls[i].unconfirmed = true;
    failed(j, status, &why);
}

/* Send what is still to be made, and say whether something has to be sent elsewhere. */
static cq_redirect make_round(journey *j)
{
    cq_redirect redirect = CQ_REDIRECT_NONE, one;
    cq_pool *to;

    plan(j);
    for (size_t i = 0; i < j->leg_count; i++)
        send_leg(j, &j->legs[i]);
    for (size_t i = 0; i < j->leg_count; i++) {
        each_call(j, &j->legs[i], read_call);
        each_call(j, &j->legs[i], heal_call);
        confirm_leg(j, &j->legs[i]);
        if (j->legs[i].conn)
            cq_pool_give(j->legs[i].pool, j->legs[i].conn);
    }
    for (size_t i = 0; i < j->count; i++) {
        if (!j->pools[i])
            continue;
        one = j->calls[i].reply
                  ? cq_cluster_redirect(j->redis->cluster, j->calls[i].reply, &to)
                  : CQ_REDIRECT_NONE;
        if (one == CQ_REDIRECT_ASK)
            one = CQ_REDIRECT_LATER;
        if (one == CQ_REDIRECT_NONE)
            j->pools[i] = NULL;
        if (one > redirect)
            redirect = one;
    }
    return redirect;
}

static cronq_status run_cluster(journey *j, int64_t patience_ms)
{
    patience p = patience_of(patience_ms);
    cq_redirect redirect;

    j->pools = cq_arena_calloc(j->arena, j->count + 1, sizeof(cq_pool *));
    j->legs = cq_arena_calloc(j->arena, j->count + 1, sizeof *j->legs);
    if (!j->pools || !j->legs)
        return cq_fail_nomem(j->err);
    for (size_t i = 0; i < j->count; i++)
        j->pools[i] = (cq_pool *)j; /* any that is not NULL: to be planned */
    do
        redirect = make_round(j);
    while (redirect != CQ_REDIRECT_NONE && again(j->redis, &p, redirect));
    return j->failure;
}

cronq_status cq_redis_run(cq_redis *redis, cq_call *calls, size_t count, bool durable,
                          int64_t patience_ms, cq_arena *arena, cronq_error *err)
{
    journey j = { .redis = redis,
                  .calls = calls,
                  .count = count,
                  .durable = durable,
                  .arena = arena,
                  .err = err };

    for (size_t i = 0; i < count; i++) {
        calls[i].reply = NULL;
        calls[i].sent = calls[i].unconfirmed = false;
    }
    return redis->cluster ? run_cluster(&j, patience_ms)
                          : run_single(redis, calls, count, durable, arena, err);
}

/* ---- plain commands ---- */

static cronq_status command_on(cq_pool *pool, bool asking, const cq_str *words,
                               size_t count, cq_arena *arena, cq_reply **out,
                               cronq_error *err)
{
    cronq_status status;
    cq_conn *conn;

    status = cq_pool_take(pool, &conn, err);
    if (status)
        return status;
    if (asking) {
        cq_conn_command(conn, 1);
        cq_conn_arg_text(conn, "ASKING");
    }
    cq_conn_command(conn, count);
    for (size_t i = 0; i < count; i++)
        cq_conn_arg_str(conn, words[i]);
    if (asking)
        status = cq_conn_read(conn, arena, out, err);
    if (!status)
        status = cq_conn_read(conn, arena, out, err);
    cq_pool_give(pool, conn);
    return status;
}

cronq_status cq_redis_command(cq_redis *redis, const cq_str *words, size_t count,
                              cq_arena *arena, cq_reply **out, cronq_error *err)
{
    patience p = patience_of(redis->patience_ms);
    cq_redirect redirect = CQ_REDIRECT_NONE;
    cq_pool *pool, *asked = NULL;
    cronq_status status;
    cq_reply *reply;

    for (size_t i = 0; i < count; i++)
        if (!words[i].data)
            return cq_fail_nomem(err);
    do {
        status = CRONQ_OK;
        pool = asked;
        if (redirect != CQ_REDIRECT_ASK)
            status = cq_redis_pool_of(redis, words[count > 1], &pool, err);
        if (!status)
            status = command_on(pool, redirect == CQ_REDIRECT_ASK, words, count, arena,
                                &reply, err);
        if (status && redis->cluster)
            cq_cluster_doubt(redis->cluster);
        if (status)
            return status;
        if (redis->cluster)
            redirect = cq_cluster_redirect(redis->cluster, reply, &asked);
    } while (redirect != CQ_REDIRECT_NONE && again(redis, &p, redirect));
    if (reply->type == CQ_REPLY_ERROR)
        return cq_conn_reply_failure(reply, err);
    *out = reply;
    return CRONQ_OK;
}
