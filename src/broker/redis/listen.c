/* SPDX-License-Identifier: MIT */
/* broker/redis/listen.c - the listening side of a watch: cancellations and notices. */
#include "broker/redis/watch.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "codec/key.h"

#define CHANNEL_NOTICES  "__redis__:invalidate"
#define MESSAGE_BYTES    ((size_t)64 << 20)
#define MESSAGE_ELEMENTS 3
#define REOPEN_NS        (600 * CQ_NS_PER_S)
#define ANSWER_NS        (3 * CQ_NS_PER_S)

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

static void set_listener(cq_redis_watch *watch, int64_t id)
{
    pthread_mutex_lock(&watch->lock);
    watch->listener_id = id;
    pthread_mutex_unlock(&watch->lock);
    cq_event_set(&watch->event);
}

/* ---- the connection ---- */

static void close_listener(cq_redis_watch *watch)
{
    cq_conn_free(watch->listener);
    watch->listener = NULL;
    set_listener(watch, 0);
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

static void notices_refused(cq_redis_watch *watch, const char *why)
{
    const cq_redis *redis = watch->intake->redis;

    if (!watch->reopen_at)
        CQ_WARN(&redis->logger,
                "the store does not tell about new tasks: %s; looking every %lld ms", why,
                (long long)redis->check_ms);
    watch->reopen_at = cq_mono_ns() + REOPEN_NS;
}

/* Its id, when it may hear about changed keys; 0 when it may not. */
static cronq_status subscribe_notices(cq_redis_watch *watch, cq_arena *arena, int64_t *id,
                                      cronq_error *err)
{
    cronq_error why = { 0 };
    cronq_status status;
    cq_reply *reply;

    *id = 0;
    if (watch->intake->redis->no_tracking || watch->intake->redis->cluster)
        return CRONQ_OK;
    status = cq_conn_call(watch->listener, arena, &reply, &why, 2, "CLIENT", "ID");
    if (!status && reply->type == CQ_REPLY_ERROR)
        status = cq_conn_reply_failure(reply, &why);
    if (!status)
        status = subscribe(watch->listener, CHANNEL_NOTICES, arena, &why);
    if (status == CRONQ_EIO || cq_conn_broken(watch->listener))
        return cq_fail(err, status, "%s", why.text);
    if (status) {
        notices_refused(watch, why.text);
        return CRONQ_OK;
    }
    watch->reopen_at = 0;
    *id = cq_reply_int(reply, 0);
    return CRONQ_OK;
}

/* Cancellations last: from then on messages may come between. */
static cronq_status subscribe_all(cq_redis_watch *watch, cq_arena *arena, int64_t *id,
                                  cronq_error *err)
{
    cronq_status status = subscribe_notices(watch, arena, id, err);

    return status ? status : subscribe(watch->listener, CQ_CHANNEL_CANCEL, arena, err);
}

static cronq_status open_listener(cq_redis_watch *watch, cronq_error *err)
{
    cronq_status status;
    cq_arena arena;
    cq_pool *pool;
    int64_t id;

    status =
        cq_redis_pool_of(watch->intake->redis, CQ_STR(CQ_CHANNEL_CANCEL), &pool, err);
    if (!status)
        status = cq_pool_dial(pool, &watch->listener, err);
    if (status) {
        watch->listener = NULL;
        return status;
    }
    cq_arena_init(&arena, 65536);
    status = subscribe_all(watch, &arena, &id, err);
    cq_arena_release(&arena);
    if (status)
        close_listener(watch);
    else
        set_listener(watch, id);
    watch->heard_at = cq_mono_ns();
    return status;
}

/* Nothing came for a while. A connection that leads nowhere any more looks like this. */
static cronq_status probe(cq_redis_watch *watch, cronq_error *err)
{
    int64_t now = cq_mono_ns();

    if (now - watch->heard_at < CQ_WATCH_QUIET_NS)
        return CRONQ_OK;
    if (watch->pinged_at < watch->heard_at) {
        watch->pinged_at = now;
        cq_conn_command(watch->listener, 1);
        cq_conn_arg_text(watch->listener, "PING");
        return cq_conn_flush(watch->listener, err);
    }
    return now - watch->pinged_at < ANSWER_NS
               ? CRONQ_OK
               : cq_fail(err, CRONQ_EIO, "the store does not answer who listens");
}

/* ["message", channel, payload] */
static void receive(cq_redis_watch *watch, const cq_reply *reply, cq_cancel_fn *on_cancel,
                    void *arg)
{
    const cq_reply *parts_of = reply->elements;

    if (reply->type != CQ_REPLY_ARRAY || reply->count != MESSAGE_ELEMENTS ||
        !cq_str_eq(parts_of[0].text, CQ_STR("message")))
        return;
    if (cq_str_eq(parts_of[1].text, CQ_STR(CHANNEL_NOTICES)))
        note(watch, &parts_of[2]);
    else if (parts_of[2].type == CQ_REPLY_STRING)
        on_cancel(parts_of[2].text, arg);
}

cronq_status cq_redis_listen(cq_intake *base, int64_t timeout_ms, cq_cancel_fn *on_cancel,
                             void *arg, cronq_error *err)
{
    cq_redis_watch *watch = cq_redis_intake_of(base)->watch;
    int64_t until_ms = cq_mono_ms() + timeout_ms;
    cronq_status status = CRONQ_OK;
    cq_arena arena;

    if (watch->listener && watch->reopen_at && cq_mono_ns() > watch->reopen_at)
        close_listener(watch); /* perhaps it may hear notices now */
    if (!watch->listener)
        status = open_listener(watch, err);
    if (status)
        return status;
    cq_arena_init(&arena, MESSAGE_BYTES);
    for (;;) {
        int64_t left_ms = until_ms - cq_mono_ms();
        cq_reply *reply = NULL;

        cq_arena_reset(&arena);
        status = cq_conn_read_within(watch->listener, left_ms > 0 ? left_ms : 0, &arena,
                                     &reply, err);
        if (!status && !reply)
            status = probe(watch, err);
        if (status)
            close_listener(watch);
        if (status || !reply)
            break;
        watch->heard_at = cq_mono_ns();
        receive(watch, reply, on_cancel, arg);
    }
    cq_arena_release(&arena);
    return status;
}
