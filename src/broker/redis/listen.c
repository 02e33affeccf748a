/* SPDX-License-Identifier: MIT */
/* broker/redis/listen.c - the listening side of a watch: cancellations and notices. */
#include "broker/redis/watch.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "codec/key.h"

#include <poll.h>

#define CHANNEL_NOTICES  "__redis__:invalidate"
#define MESSAGE_BYTES    ((size_t)64 << 20)
#define MESSAGE_ELEMENTS 3
#define REOPEN_NS        (600 * CQ_NS_PER_S)
#define ANSWER_NS        (3 * CQ_NS_PER_S)
#define RETRY_NS         (1 * CQ_NS_PER_S)

static const struct {
    const char *name;
    uint8_t bit;
} parts[] = {
    { "pending", CQ_VIEW_PENDING },
    { "paused", CQ_VIEW_PAUSED },
    { "scheduled", CQ_VIEW_SCHEDULED },
    { "retry", CQ_VIEW_RETRY },
};

/* ---- notices ---- */

static uint8_t part_of(cq_str name)
{
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (cq_str_eq(cq_str_of(parts[i].name), name))
            return parts[i].bit;
    return 0;
}

static void note_key(cq_redis_watch *watch, cq_str key)
{
    const cq_redis_intake *intake = watch->intake;

    for (size_t i = 0; i < intake->queue_count; i++) {
        cq_str prefix = intake->queues[i].prefix;

        if (!cq_str_starts(key, prefix))
            continue;
        watch->noticed[i] |=
            part_of((cq_str){ key.data + prefix.len, key.len - prefix.len });
        watch->notices = true;
        return;
    }
}

/* Without keys: the store was emptied. */
static void note(cq_redis_watch *watch, const cq_reply *keys)
{
    pthread_mutex_lock(&watch->lock);
    for (size_t i = 0; keys->type == CQ_REPLY_ARRAY && i < keys->count; i++)
        note_key(watch, keys->elements[i].text);
    if (keys->type != CQ_REPLY_ARRAY) {
        memset(watch->noticed, CQ_VIEW_ALL, sizeof watch->noticed);
        watch->notices = true;
    }
    pthread_mutex_unlock(&watch->lock);
    cq_event_set(&watch->event);
}

/* ---- the connection ---- */

static void close_listener(cq_redis_watch *watch, size_t node)
{
    cq_watch_node *at = &watch->nodes[node];

    cq_conn_free(at->listener);
    at->listener = NULL;
    cq_watch_set_listener(watch, node, at->listened, 0);
    at->listened = NULL;
    at->own_id = 0;
}

static cronq_status subscribe(cq_conn *conn, const char *channel, cq_arena *arena,
                              cronq_error *err)
{
    cronq_status status;
    cq_reply *reply;

    status = cq_conn_call(conn, arena, &reply, err, 2, "SUBSCRIBE", channel);
    if (!status && reply->type == CQ_REPLY_ERROR)
        status = cq_conn_reply_failure(reply, err);
    return status;
}

static void notices_refused(cq_redis_watch *watch, cq_watch_node *at, const char *why)
{
    const cq_redis *redis = watch->intake->redis;
    bool told = false;

    for (size_t i = 0; i < CQ_QUEUES_LIMIT && !told; i++)
        told = watch->nodes[i].reopen_at != 0;
    if (!told)
        CQ_WARN(&redis->logger,
                "the store does not tell about new tasks: %s; looking every %lld ms", why,
                (long long)redis->check_ms);
    at->reopen_at = cq_mono_ns() + REOPEN_NS;
}

/* Its id, when it may hear about changed keys; 0 when it may not. */
static cronq_status subscribe_notices(cq_redis_watch *watch, cq_watch_node *at,
                                      cq_arena *arena, int64_t *id, cronq_error *err)
{
    cronq_error why = { 0 };
    cronq_status status;
    cq_reply *reply;

    *id = 0;
    if (watch->intake->redis->no_tracking)
        return CRONQ_OK;
    status = cq_conn_call(at->listener, arena, &reply, &why, 2, "CLIENT", "ID");
    if (!status && reply->type == CQ_REPLY_ERROR)
        status = cq_conn_reply_failure(reply, &why);
    if (!status)
        status = subscribe(at->listener, CHANNEL_NOTICES, arena, &why);
    if (status == CRONQ_EIO || cq_conn_broken(at->listener))
        return cq_fail(err, status, "%s", why.text);
    if (status) {
        notices_refused(watch, at, why.text);
        return CRONQ_OK;
    }
    at->reopen_at = 0;
    *id = cq_reply_int(reply, 0);
    return CRONQ_OK;
}

/* Cancellations last: from then on messages may come between. */
static cronq_status subscribe_all(cq_redis_watch *watch, cq_watch_node *at,
                                  cq_arena *arena, int64_t *id, cronq_error *err)
{
    cronq_status status = subscribe_notices(watch, at, arena, id, err);

    return status ? status : subscribe(at->listener, CQ_CHANNEL_CANCEL, arena, err);
}

static cronq_status open_listener(cq_redis_watch *watch, size_t node, cq_pool *pool,
                                  cronq_error *err)
{
    cq_watch_node *at = &watch->nodes[node];
    cronq_status status;
    cq_arena arena;

    status = cq_pool_dial(pool, &at->listener, err);
    if (status) {
        at->listener = NULL;
        return status;
    }
    at->listened = pool;
    cq_arena_init(&arena, 65536);
    status = subscribe_all(watch, at, &arena, &at->own_id, err);
    cq_arena_release(&arena);
    if (status)
        close_listener(watch, node);
    else
        cq_watch_set_listener(watch, node, pool, at->own_id);
    at->heard_at = cq_mono_ns();
    return status;
}

/* Nothing came for a while. A connection that leads nowhere any more looks like this. */
static cronq_status probe(cq_watch_node *at, cronq_error *err)
{
    int64_t now = cq_mono_ns();

    if (now - at->heard_at < CQ_WATCH_QUIET_NS)
        return CRONQ_OK;
    if (at->pinged_at < at->heard_at) {
        at->pinged_at = now;
        cq_conn_command(at->listener, 1);
        cq_conn_arg_text(at->listener, "PING");
        return cq_conn_flush(at->listener, err);
    }
    return now - at->pinged_at < ANSWER_NS
               ? CRONQ_OK
               : cq_fail(err, CRONQ_EIO, "the store does not answer who listens");
}

/* ---- listening ---- */

typedef struct hearing {
    cq_redis_watch *watch;
    size_t count; /* of nodes */
    cq_cancel_fn *on_cancel;
    void *arg;
    cq_arena arena;
} hearing;

/* Every node of a cluster tells of every cancellation: the first that we hear counts. */
static bool is_first(const hearing *h, size_t node)
{
    for (size_t i = 0; i < node; i++)
        if (h->watch->nodes[i].listener)
            return false;
    return true;
}

/* ["message", channel, payload] */
static void receive(hearing *h, size_t node, const cq_reply *reply)
{
    const cq_reply *parts_of = reply->elements;

    if (reply->type != CQ_REPLY_ARRAY || reply->count != MESSAGE_ELEMENTS ||
        !cq_str_eq(parts_of[0].text, CQ_STR("message")))
        return;
    if (cq_str_eq(parts_of[1].text, CQ_STR(CHANNEL_NOTICES)))
        note(h->watch, &parts_of[2]);
    else if (parts_of[2].type == CQ_REPLY_STRING && is_first(h, node))
        h->on_cancel(parts_of[2].text, h->arg);
}

/* All that has arrived. */
static cronq_status hear_node(hearing *h, size_t node, cronq_error *err)
{
    cq_watch_node *at = &h->watch->nodes[node];
    cronq_status status;
    cq_reply *reply;

    for (;;) {
        reply = NULL;
        cq_arena_reset(&h->arena);
        status = cq_conn_read_within(at->listener, 0, &h->arena, &reply, err);
        if (status || !reply)
            return status ? status : probe(at, err);
        at->heard_at = cq_mono_ns();
        receive(h, node, reply);
    }
}

/* Open, or open again, what should be. */
static cronq_status tend_node(cq_redis_watch *watch, size_t node, cronq_error *err)
{
    cq_pool *pool = cq_watch_pool(watch, node);
    cq_watch_node *at = &watch->nodes[node];
    int64_t now = cq_mono_ns();
    cronq_status status;

    if (at->listener && (at->listened != pool || (at->reopen_at && now > at->reopen_at)))
        close_listener(watch, node); /* perhaps it may hear notices now */
    if (at->listener && cq_watch_listener(watch, node) != at->own_id)
        cq_watch_set_listener(watch, node, pool, at->own_id); /* it was away meanwhile */
    if (at->listener || !pool)
        return CRONQ_OK;
    if (watch->intake->redis->cluster && now < at->retry_at)
        return cq_fail(err, CRONQ_EIO, "the node was not reached a moment ago");
    status = open_listener(watch, node, pool, err);
    if (status) /* one that hangs must not take the time of the others */
        at->retry_at = cq_mono_ns() + RETRY_NS + 4 * (cq_mono_ns() - now);
    return status;
}

/* Nodes that fail do not keep the others from being heard, as long as there are any. */
static cronq_status hear_all(hearing *h, cronq_error *err)
{
    cronq_error why = { .code = CRONQ_OK };
    cronq_status status, failure = CRONQ_OK;
    size_t heard = 0;

    for (size_t i = 0; i < h->count; i++) {
        status = tend_node(h->watch, i, &why);
        if (!status && h->watch->nodes[i].listener)
            status = hear_node(h, i, &why);
        if (status && h->watch->nodes[i].listener)
            close_listener(h->watch, i);
        heard += h->watch->nodes[i].listener != NULL;
        failure = failure ? failure : status;
    }
    if (heard)
        return CRONQ_OK;
    return cq_fail(err, failure ? failure : CRONQ_EIO, "%s",
                   failure ? why.text : "no node of the cluster has the queues");
}

static void rest(const hearing *h, int64_t left_ms)
{
    struct pollfd fds[CQ_QUEUES_LIMIT];
    nfds_t count = 0;

    for (size_t i = 0; i < h->count; i++)
        if (h->watch->nodes[i].listener)
            fds[count++] = (struct pollfd){ .fd = cq_conn_fd(h->watch->nodes[i].listener),
                                            .events = POLLIN };
    poll(fds, count, (int)left_ms);
}

cronq_status cq_redis_listen(cq_intake *base, int64_t timeout_ms, cq_cancel_fn *on_cancel,
                             void *arg, cronq_error *err)
{
    int64_t until_ms = cq_mono_ms() + timeout_ms, left_ms;
    hearing h = { .watch = cq_redis_intake_of(base)->watch,
                  .on_cancel = on_cancel,
                  .arg = arg };
    cronq_status status;

    h.count = cq_watch_map(h.watch);
    cq_arena_init(&h.arena, MESSAGE_BYTES);
    for (;;) {
        status = hear_all(&h, err);
        left_ms = until_ms - cq_mono_ms();
        if (status || left_ms <= 0)
            break;
        rest(&h, left_ms);
    }
    cq_arena_release(&h.arena);
    return status;
}
