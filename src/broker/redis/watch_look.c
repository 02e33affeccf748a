/* SPDX-License-Identifier: MIT */
/* broker/redis/watch_look.c - what a watch reads, at which nodes, and has armed by it. */
#include "broker/redis/watch.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"

#include <math.h>
#include <stdlib.h>

#define REFUSED_NS (60 * CQ_NS_PER_S) /* then tracking is tried again */
#define ROUNDS     3                  /* of a look that is redirected */

static void doubt(cq_redis_watch *watch, size_t node, uint8_t parts)
{
    for (size_t i = 0; i < watch->intake->queue_count; i++)
        if (watch->views[i].node == node)
            watch->views[i].stale |= parts;
}

void cq_watch_drop(cq_redis_watch *watch, size_t node)
{
    cq_watch_node *at = &watch->nodes[node];

    cq_conn_free(at->watcher);
    at->watcher = NULL;
    at->watched = NULL;
    at->tracked_id = 0;
    doubt(watch, node, CQ_VIEW_ALL);
}

/* ---- tracking ---- */

static void tracking_refused(cq_redis_watch *watch, cq_watch_node *at, cq_str why)
{
    const cq_redis *redis = watch->intake->redis;

    at->refused_until = cq_mono_ns() + REFUSED_NS;
    if (!watch->complained)
        CQ_WARN(&redis->logger,
                "the store refuses to tell about new tasks: %.*s; looking every %lld ms",
                CQ_FMT(why), (long long)redis->check_ms);
    watch->complained = true;
}

/* Have the present listener hear what changes of what the watcher reads. */
static cronq_status track(cq_redis_watch *watch, size_t node)
{
    int64_t id = cq_watch_listener(watch, node);
    cq_watch_node *at = &watch->nodes[node];
    cronq_status status;
    cq_reply *reply;

    if (id == at->tracked_id)
        return CRONQ_OK;
    at->tracked_id = 0;
    doubt(watch, node, CQ_VIEW_ALL);
    if (!id || cq_mono_ns() < at->refused_until)
        return CRONQ_OK;
    cq_conn_command(at->watcher, 5);
    cq_conn_arg_text(at->watcher, "CLIENT");
    cq_conn_arg_text(at->watcher, "TRACKING");
    cq_conn_arg_text(at->watcher, "ON");
    cq_conn_arg_text(at->watcher, "REDIRECT");
    cq_conn_arg_int(at->watcher, id);
    status = cq_conn_read(at->watcher, &watch->arena, &reply, NULL);
    if (status)
        return status;
    if (reply->type != CQ_REPLY_ERROR) {
        at->tracked_id = id;
        watch->complained = false;
    } else if (cq_watch_listener(watch, node) == id) {
        tracking_refused(watch, at, reply->text);
    }
    return CRONQ_OK;
}

/* ---- reading ---- */

static const struct view_key {
    uint8_t bit;
    size_t argc;
    const char *command, *name, *rest[3];
} view_keys[] = {
    { CQ_VIEW_PENDING, 3, "LINDEX", "pending", { "-1" } },
    { CQ_VIEW_PAUSED, 2, "EXISTS", "paused", { NULL } },
    { CQ_VIEW_SCHEDULED, 5, "ZRANGE", "scheduled", { "0", "0", "WITHSCORES" } },
    { CQ_VIEW_RETRY, 5, "ZRANGE", "retry", { "0", "0", "WITHSCORES" } },
};

enum { VIEW_KEYS = sizeof view_keys / sizeof view_keys[0] };

static void ask(cq_redis_watch *watch, size_t queue, const struct view_key *key)
{
    cq_conn *conn = watch->nodes[watch->views[queue].node].watcher;

    cq_conn_command(conn, key->argc);
    cq_conn_arg_text(conn, key->command);
    cq_conn_arg_str(conn, cq_redis_key(&watch->arena, watch->intake->queues[queue].prefix,
                                       key->name, CQ_STR("")));
    for (size_t i = 2; i < key->argc; i++)
        cq_conn_arg_text(conn, key->rest[i - 2]);
}

/* Never 0. */
static uint64_t hash_of(cq_str text, uint64_t seed)
{
    uint64_t hash = 14695981039346656037u ^ seed;

    for (size_t i = 0; i < text.len; i++)
        hash = (hash ^ (uint8_t)text.data[i]) * 1099511628211u;
    return hash | 1;
}

/* The first whole second at which a score is due. */
static int64_t due_second(cq_str score)
{
    double value = score.len ? ceil(strtod(score.data, NULL)) : INFINITY;

    if (!(value < 9e15))
        return CQ_NOTHING_DUE;
    return value > 0 ? (int64_t)value : 0;
}

static void view_reply(cq_view *view, uint8_t bit, const cq_reply *reply)
{
    size_t zset = bit == CQ_VIEW_RETRY;

    if (bit == CQ_VIEW_PENDING) {
        view->next = reply->type == CQ_REPLY_STRING ? hash_of(reply->text, 0) : 0;
    } else if (bit == CQ_VIEW_PAUSED) {
        view->paused = cq_reply_int(reply, 0) == 1;
    } else if (reply->type == CQ_REPLY_ARRAY && reply->count == 2) {
        view->due_s[zset] = due_second(reply->elements[1].text);
        view->due_first[zset] = hash_of(reply->elements[0].text, zset);
    } else {
        view->due_s[zset] = CQ_NOTHING_DUE;
    }
    view->stale &= (uint8_t)~bit;
}

typedef cronq_status key_fn(cq_redis_watch *watch, size_t queue,
                            const struct view_key *key);

static cronq_status ask_key(cq_redis_watch *watch, size_t queue,
                            const struct view_key *key)
{
    ask(watch, queue, key);
    return CRONQ_OK;
}

/* What is redirected stays stale. While the slot is on the move it is left alone: its
 * scripts wait as well, and an answer from the other node would not be armed. */
static bool is_redirected(cq_redis_watch *watch, const cq_reply *reply)
{
    cq_cluster *cluster = watch->intake->redis->cluster;
    cq_redirect redirect = CQ_REDIRECT_NONE;
    cq_pool *to;

    if (cluster)
        redirect = cq_cluster_redirect(cluster, reply, &to);
    watch->moved = watch->moved || redirect == CQ_REDIRECT_MOVED;
    return redirect != CQ_REDIRECT_NONE;
}

/* What is of a wrong type holds no work; a store that can not answer now is a failure. */
static cronq_status read_key(cq_redis_watch *watch, size_t queue,
                             const struct view_key *key)
{
    cq_view *view = &watch->views[queue];
    cq_conn *conn = watch->nodes[view->node].watcher;
    cronq_status status;
    cq_reply *reply;

    status = cq_conn_read(conn, &watch->arena, &reply, NULL);
    if (!status && is_redirected(watch, reply))
        return CRONQ_OK;
    if (!status && reply->type == CQ_REPLY_ERROR)
        status = cq_conn_reply_failure(reply, NULL);
    if (status && status != CRONQ_EPROTO)
        return status;
    if (cq_conn_broken(conn))
        return CRONQ_EIO;
    view_reply(view, key->bit, reply);
    return CRONQ_OK;
}

static cronq_status each_stale(cq_redis_watch *watch, size_t node, key_fn *act)
{
    cronq_status status;

    for (size_t q = 0; q < watch->intake->queue_count; q++) {
        uint8_t stale = watch->views[q].stale;

        if (watch->views[q].node != node)
            continue;
        for (size_t i = 0; i < VIEW_KEYS; i++) {
            if (!(stale & view_keys[i].bit))
                continue;
            status = act(watch, q, &view_keys[i]);
            if (status)
                return status;
        }
    }
    return CRONQ_OK;
}

uint8_t cq_watch_gather(cq_redis_watch *watch)
{
    uint8_t all = 0;

    pthread_mutex_lock(&watch->lock);
    for (size_t q = 0; watch->notices && q < watch->intake->queue_count; q++) {
        all |= watch->noticed[q];
        watch->views[q].stale |= watch->noticed[q];
        watch->views[q].node = watch->node_of[q];
        watch->noticed[q] = 0;
    }
    watch->notices = false;
    pthread_mutex_unlock(&watch->lock);
    return all;
}

/* Doubt what is to be read without a notice. */
static void doubt_in_time(cq_redis_watch *watch)
{
    bool cluster = watch->intake->redis->cluster, poll;
    int64_t now = cq_mono_ns();
    bool probe = now >= watch->probe_at;

    poll = now >= watch->poll_at;
    if (probe)
        watch->probe_at = now + CQ_WATCH_QUIET_NS;
    if (poll)
        watch->poll_at = now + cq_watch_check_ns(watch);
    for (size_t i = 0; i < watch->looked; i++) {
        bool tracked = watch->nodes[i].tracked_id != 0;

        if (probe || (poll && !tracked))
            doubt(watch, i, CQ_VIEW_ALL);
        else if (poll && cluster)
            doubt(watch, i, CQ_VIEW_PENDING);
    }
}

/* Have the watcher be of the node that is at the place now. */
static cronq_status connect_watcher(cq_redis_watch *watch, size_t node)
{
    cq_pool *pool = cq_watch_pool(watch, node);
    cq_watch_node *at = &watch->nodes[node];
    cronq_status status;

    if (at->watcher && at->watched != pool)
        cq_watch_drop(watch, node);
    if (at->watcher)
        return CRONQ_OK;
    if (!pool)
        return CRONQ_EIO;
    status = cq_pool_dial(pool, &at->watcher, NULL);
    if (status)
        at->watcher = NULL;
    at->watched = status ? NULL : pool;
    return status;
}

static cronq_status prepare_node(cq_redis_watch *watch, size_t node)
{
    cronq_status status = connect_watcher(watch, node);

    return status ? status : track(watch, node);
}

static cronq_status ask_node(cq_redis_watch *watch, size_t node)
{
    each_stale(watch, node, ask_key);
    return cq_conn_flush(watch->nodes[node].watcher, NULL);
}

static cronq_status hear_node(cq_redis_watch *watch, size_t node)
{
    return each_stale(watch, node, read_key);
}

typedef cronq_status node_fn(cq_redis_watch *watch, size_t node);

/* A node that fails does not keep the others from being looked at. */
static void each_node(cq_redis_watch *watch, size_t count, node_fn *act)
{
    for (size_t i = 0; i < count; i++) {
        cq_watch_node *at = &watch->nodes[i];

        if (!at->used || at->failed || act(watch, i) == CRONQ_OK)
            continue;
        at->failed = true;
        cq_watch_drop(watch, i);
        if (watch->intake->redis->cluster)
            cq_cluster_doubt(watch->intake->redis->cluster);
    }
}

/* Which nodes are to be looked at; connections to others are closed. */
static size_t choose_nodes(cq_redis_watch *watch)
{
    size_t count = cq_watch_map(watch);

    watch->looked = count;
    cq_watch_gather(watch);
    for (size_t i = 0; i < count; i++)
        watch->nodes[i].used = watch->nodes[i].failed = false;
    for (size_t q = 0; q < watch->intake->queue_count; q++)
        if (watch->views[q].node != CQ_WATCH_NOBODY)
            watch->nodes[watch->views[q].node].used = true;
    for (size_t i = 0; i < count; i++)
        if (!watch->nodes[i].used && watch->nodes[i].watcher)
            cq_watch_drop(watch, i);
    return count;
}

static cq_seen how_much(const cq_redis_watch *watch)
{
    size_t blind = 0;

    for (size_t q = 0; q < watch->intake->queue_count; q++) {
        uint16_t node = watch->views[q].node;

        blind += node == CQ_WATCH_NOBODY || watch->nodes[node].failed;
    }
    if (blind == watch->intake->queue_count)
        return CQ_SEEN_NOTHING;
    return blind ? CQ_SEEN_SOME : CQ_SEEN_ALL;
}

cq_seen cq_watch_look(cq_redis_watch *watch)
{
    int rounds = 0;
    size_t count;

    cq_arena_reset(&watch->arena);
    do {
        watch->moved = false;
        count = choose_nodes(watch);
        each_node(watch, count, prepare_node);
        if (rounds == 0)
            doubt_in_time(watch);
        each_node(watch, count, ask_node);
        each_node(watch, count, hear_node);
    } while (watch->moved && ++rounds < ROUNDS);
    return how_much(watch);
}
