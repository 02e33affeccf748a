/* SPDX-License-Identifier: MIT */
/* pool.c - connections to one server, shared by threads.
 *
 * Where that server is can change: with sentinels each dial asks anew. When they tell of
 * a move, connections to other places are shut, so that whoever waits on one finds out.
 *
 * Reachable: anyone who needs a connection dials. A failed dial makes the server
 * unreachable: until retry_at_ms takers get the last error, then one of them dials, and
 * its success makes the server reachable again (dial_ended). */
#include "net/pool.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/random.h"
#include "base/thread.h"
#include "net/sentinel.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>

#define FIRST_DELAY_MS   50
#define LONGEST_DELAY_MS 4000
#define ADDRESS_BYTES    300

struct cq_pool {
    cq_endpoint endpoint;
    cq_sentinel *sentinel; /* NULL: the server is where the endpoint says */
    cronq_logger logger;
    cq_prepare_fn *prepare;
    void *prepare_arg;
    char address[ADDRESS_BYTES];

    pthread_mutex_t lock; /* over all that follows */
    pthread_cond_t freed; /* a connection or its place */
    cq_conn **idle;       /* a stack: those used last are taken first */
    size_t idle_count;
    size_t open_count; /* idle, taken or being dialled */
    cq_conn **all;     /* that live, those beyond the pool's size too */
    size_t all_count, all_size;
    uint64_t epoch; /* of the newest of them */
    cq_random random;
    cronq_error failure; /* of the last dial; code OK: reachable */
    bool probing;        /* unreachable, and someone is dialling */
    int64_t delay_ms, retry_at_ms;
};

static atomic_uint_least64_t epochs; /* of all pools */

/* Sentinels say that the server is here now. */
static void moved(void *arg, const char *host, uint16_t port)
{
    cq_endpoint at = { .port = port };
    cq_pool *pool = arg;
    char address[ADDRESS_BYTES], *copy = strdup(host);

    if (!copy)
        return; /* broken connections will tell too */
    at.host = copy;
    cq_endpoint_print(&at, address, sizeof address);
    free(copy);
    pthread_mutex_lock(&pool->lock);
    for (size_t i = 0; i < pool->all_count; i++)
        if (strcmp(cq_conn_address(pool->all[i]), address) != 0)
            cq_conn_shut(pool->all[i]);
    pool->retry_at_ms = 0;
    pool->delay_ms = 0;
    pthread_mutex_unlock(&pool->lock);
}

cronq_status cq_pool_new(const cq_endpoint *endpoint, const cronq_logger *logger,
                         cq_prepare_fn *prepare, void *arg, cq_pool **out,
                         cronq_error *err)
{
    cq_pool *pool = calloc(1, sizeof *pool);
    cronq_status status = CRONQ_OK;

    if (!pool)
        return cq_fail_nomem(err);
    pool->idle = calloc(endpoint->pool_size, sizeof(cq_conn *));
    status = pool->idle ? cq_endpoint_copy(&pool->endpoint, endpoint, err)
                        : cq_fail_nomem(err);
    if (!status && endpoint->topology == CQ_TOPOLOGY_SENTINEL)
        status = cq_sentinel_new(endpoint, logger, moved, pool, &pool->sentinel, err);
    if (status) {
        cq_endpoint_release(&pool->endpoint);
        free(pool->idle);
        free(pool);
        return status;
    }
    if (logger)
        pool->logger = *logger;
    pool->prepare = prepare;
    pool->prepare_arg = arg;
    cq_endpoint_print(endpoint, pool->address, sizeof pool->address);
    pthread_mutex_init(&pool->lock, NULL);
    cq_cond_init(&pool->freed);
    cq_random_init(&pool->random);
    *out = pool;
    return CRONQ_OK;
}

void cq_pool_free(cq_pool *pool)
{
    if (!pool)
        return;
    assert(pool->open_count == pool->idle_count);
    cq_sentinel_free(pool->sentinel);
    while (pool->idle_count > 0)
        cq_conn_free(pool->idle[--pool->idle_count]);
    assert(pool->all_count == 0);
    free(pool->all);
    pthread_cond_destroy(&pool->freed);
    pthread_mutex_destroy(&pool->lock);
    cq_endpoint_release(&pool->endpoint);
    free(pool->idle);
    free(pool);
}

/* ---- dialling, and how it went ---- */

/* With the lock. May this caller dial now? If not, the last error. */
static cronq_status dial_begins(cq_pool *pool, cronq_error *err)
{
    if (!pool->failure.code)
        return CRONQ_OK;
    if (!pool->probing && cq_mono_ms() >= pool->retry_at_ms) {
        pool->probing = true;
        return CRONQ_OK;
    }
    if (err)
        *err = pool->failure;
    return pool->failure.code;
}

/* Between a half and the whole of a delay that doubles. */
static void set_back(cq_pool *pool)
{
    int64_t delay_ms = pool->delay_ms ? pool->delay_ms * 2 : FIRST_DELAY_MS;
    uint64_t half_ms;

    if (delay_ms > LONGEST_DELAY_MS)
        delay_ms = LONGEST_DELAY_MS;
    pool->delay_ms = delay_ms;
    half_ms = (uint64_t)delay_ms / 2;
    pool->retry_at_ms =
        cq_mono_ms() + (int64_t)(half_ms + cq_random_below(&pool->random, half_ms + 1));
}

/* With the lock. Returns whether the state changed: that is logged, without the lock. */
static bool dial_ended(cq_pool *pool, cronq_status status, const cronq_error *why)
{
    bool changed = status != pool->failure.code;

    pool->probing = false;
    if (!status) {
        pool->failure.code = CRONQ_OK;
        pool->delay_ms = 0;
        return changed;
    }
    /* Of many that dialled at the same time only the first sets back. */
    if (!pool->failure.code || cq_mono_ms() >= pool->retry_at_ms)
        set_back(pool);
    pool->failure = *why;
    return changed;
}

static void log_change(const cq_pool *pool, cronq_status status, const cronq_error *why)
{
    if (status)
        CQ_WARN(&pool->logger, "cannot reach the store, will try again: %s", why->text);
    else
        CQ_INFO(&pool->logger, "reached the store again: redis at %s", pool->address);
}

/* Forget a connection that is being freed. */
static void forget(cq_conn *conn, void *arg)
{
    cq_pool *pool = arg;

    pthread_mutex_lock(&pool->lock);
    for (size_t i = 0; i < pool->all_count; i++)
        if (pool->all[i] == conn) {
            pool->all[i] = pool->all[--pool->all_count];
            break;
        }
    pthread_mutex_unlock(&pool->lock);
}

/* With the lock. */
static bool make_room(cq_pool *pool)
{
    size_t size = pool->all_size ? pool->all_size * 2 : 16;
    cq_conn **all;

    if (pool->all_count < pool->all_size)
        return true;
    all = realloc(pool->all, size * sizeof(cq_conn *));
    if (!all)
        return false;
    pool->all = all;
    pool->all_size = size;
    return true;
}

static cronq_status remember(cq_pool *pool, cq_conn *conn, cronq_error *err)
{
    bool room;

    pthread_mutex_lock(&pool->lock);
    room = make_room(pool);
    if (room) {
        pool->all[pool->all_count++] = conn;
        pool->epoch = atomic_fetch_add(&epochs, 1) + 1;
    }
    pthread_mutex_unlock(&pool->lock);
    if (!room)
        return cq_fail_nomem(err);
    cq_conn_on_free(conn, forget, pool);
    return CRONQ_OK;
}

/* Where the server is now, and is it the one? */
static cronq_status open_found(cq_pool *pool, cq_conn **conn, cronq_error *err)
{
    cq_endpoint endpoint;
    cronq_status status;

    if (!pool->sentinel)
        return cq_conn_open(&pool->endpoint, conn, err);
    status = cq_sentinel_find(pool->sentinel, &endpoint, err);
    if (status)
        return status;
    status = cq_conn_open(&endpoint, conn, err);
    cq_endpoint_release(&endpoint);
    if (!status)
        status = cq_sentinel_check(pool->sentinel, *conn, err);
    if (status)
        cq_sentinel_doubt(pool->sentinel);
    return status;
}

/* Without the lock, after dial_begins. */
static cronq_status dial(cq_pool *pool, cq_conn **out, cronq_error *err)
{
    cronq_error why = { .code = CRONQ_OK };
    cq_conn *conn = NULL;
    cronq_status status = open_found(pool, &conn, &why);
    bool changed;

    if (!status)
        status = remember(pool, conn, &why);
    if (!status && pool->prepare)
        status = pool->prepare(conn, pool->prepare_arg, &why);
    pthread_mutex_lock(&pool->lock);
    changed = dial_ended(pool, status, &why);
    pthread_mutex_unlock(&pool->lock);
    if (changed)
        log_change(pool, status, &why);
    if (status) {
        cq_conn_free(conn);
        if (err)
            *err = why;
        return status;
    }
    *out = conn;
    return CRONQ_OK;
}

cronq_status cq_pool_dial(cq_pool *pool, cq_conn **out, cronq_error *err)
{
    cronq_status status;

    pthread_mutex_lock(&pool->lock);
    status = dial_begins(pool, err);
    pthread_mutex_unlock(&pool->lock);
    return status ? status : dial(pool, out, err);
}

/* ---- taking and giving back ---- */

static void close_taken(cq_pool *pool, cq_conn *conn)
{
    cq_conn_free(conn);
    pthread_mutex_lock(&pool->lock);
    pool->open_count--;
    pthread_cond_signal(&pool->freed);
    pthread_mutex_unlock(&pool->lock);
}

/* Takes an idle connection (*out), or the place for a new one (*out NULL). */
static cronq_status take_place(cq_pool *pool, cq_conn **out, cronq_error *err)
{
    int64_t timeout_ms = pool->endpoint.read_timeout_ms;
    int64_t until_ns = timeout_ms < 0 || timeout_ms > INT64_MAX / CQ_NS_PER_MS / 2
                           ? INT64_MAX
                           : cq_mono_ns() + timeout_ms * CQ_NS_PER_MS;
    cronq_status status = CRONQ_OK;

    pthread_mutex_lock(&pool->lock);
    while (pool->idle_count == 0 && pool->open_count == pool->endpoint.pool_size) {
        if (cq_cond_wait_until(&pool->freed, &pool->lock, until_ns) ||
            cq_mono_ns() < until_ns)
            continue;
        pthread_mutex_unlock(&pool->lock);
        return cq_fail(err, CRONQ_EIO,
                       "redis at %s: none of the %u connections became free within %lld "
                       "ms (pool size)",
                       pool->address, pool->endpoint.pool_size, (long long)timeout_ms);
    }
    if (pool->idle_count > 0) {
        *out = pool->idle[--pool->idle_count];
    } else {
        *out = NULL;
        status = dial_begins(pool, err);
        pool->open_count += status == CRONQ_OK;
        if (status) /* the place is still there, for whoever waits too */
            pthread_cond_signal(&pool->freed);
    }
    pthread_mutex_unlock(&pool->lock);
    return status;
}

cronq_status cq_pool_take(cq_pool *pool, cq_conn **out, cronq_error *err)
{
    cronq_status status;
    cq_conn *conn;

    for (;;) {
        status = take_place(pool, &conn, err);
        if (status)
            return status;
        if (!conn)
            break;
        if (cq_conn_reusable(conn)) {
            *out = conn;
            return CRONQ_OK;
        }
        close_taken(pool, conn);
    }
    status = dial(pool, &conn, err);
    if (status)
        close_taken(pool, NULL);
    else
        *out = conn;
    return status;
}

/* What broke one has mostly broken all, and each would be found out by a time-out. */
static void drop_idle(cq_pool *pool)
{
    cq_conn *conn;

    do {
        pthread_mutex_lock(&pool->lock);
        conn = pool->idle_count ? pool->idle[--pool->idle_count] : NULL;
        pthread_mutex_unlock(&pool->lock);
        if (conn)
            close_taken(pool, conn);
    } while (conn);
}

void cq_pool_give(cq_pool *pool, cq_conn *conn)
{
    if (cq_conn_broken(conn))
        drop_idle(pool);
    if (cq_conn_broken(conn) || cq_conn_due(conn) > 0) {
        close_taken(pool, conn);
        return;
    }
    pthread_mutex_lock(&pool->lock);
    pool->idle[pool->idle_count++] = conn;
    pthread_cond_signal(&pool->freed);
    pthread_mutex_unlock(&pool->lock);
}

uint64_t cq_pool_epoch(cq_pool *pool)
{
    uint64_t epoch;

    pthread_mutex_lock(&pool->lock);
    epoch = pool->epoch;
    pthread_mutex_unlock(&pool->lock);
    return epoch;
}
