/* SPDX-License-Identifier: MIT */
/* broker/redis/watch.c - the waiting side of a watch: reading, arming, sleeping. */
#include "broker/redis/watch.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"

#include <math.h>
#include <poll.h>
#include <stdlib.h>
#include <time.h>

#define ARENA_BYTES   ((size_t)4 << 20)
#define REFUSED_NS    (60 * CQ_NS_PER_S) /* then tracking is tried again */
#define ECHO_NS       (5 * CQ_NS_PER_MS) /* a notice so soon is of our own doing */
#define STEP_ASIDE_US 2000
#define NOTHING_DUE   INT64_MAX
#define ROUNDS        3 /* of a look that is redirected */

/* ---- life ---- */

cronq_status cq_redis_watch_new(cq_redis_intake *intake, cq_redis_watch **out,
                                cronq_error *err)
{
    cq_redis_watch *watch = calloc(1, sizeof *watch);
    cronq_status status;

    if (!watch)
        return cq_fail_nomem(err);
    watch->intake = intake;
    watch->probe_at = cq_mono_ns() + CQ_WATCH_QUIET_NS;
    status = cq_event_init(&watch->event, err);
    if (status) {
        free(watch);
        return status;
    }
    pthread_mutex_init(&watch->lock, NULL);
    cq_arena_init(&watch->arena, ARENA_BYTES);
    cq_random_init(&watch->random);
    for (size_t i = 0; i < intake->queue_count; i++) {
        watch->views[i] = (cq_view){ .stale = CQ_VIEW_ALL, .node = CQ_WATCH_NOBODY };
        watch->node_of[i] = CQ_WATCH_NOBODY;
    }
    *out = watch;
    return CRONQ_OK;
}

void cq_redis_watch_free(cq_redis_watch *watch)
{
    if (!watch)
        return;
    for (size_t i = 0; i < CQ_QUEUES_LIMIT; i++) {
        cq_conn_free(watch->nodes[i].listener);
        cq_conn_free(watch->nodes[i].watcher);
    }
    cq_arena_release(&watch->arena);
    pthread_mutex_destroy(&watch->lock);
    cq_event_release(&watch->event);
    free(watch);
}

void cq_redis_wake(cq_intake *base)
{
    cq_redis_watch *watch = cq_redis_intake_of(base)->watch;

    atomic_store(&watch->woken, true);
    cq_event_set(&watch->event);
}

static void doubt(cq_redis_watch *watch, size_t node, uint8_t parts)
{
    for (size_t i = 0; i < watch->intake->queue_count; i++)
        if (watch->views[i].node == node)
            watch->views[i].stale |= parts;
}

static void drop_watcher(cq_redis_watch *watch, size_t node)
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
        return NOTHING_DUE;
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
        view->due_s[zset] = NOTHING_DUE;
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

static int64_t check_ns(const cq_redis_watch *watch)
{
    return watch->intake->redis->check_ms * CQ_NS_PER_MS;
}

/* Take over what the listening side has noted; which parts of any queue. */
static uint8_t gather(cq_redis_watch *watch)
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
        watch->poll_at = now + check_ns(watch);
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
        drop_watcher(watch, node);
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
        drop_watcher(watch, i);
        if (watch->intake->redis->cluster)
            cq_cluster_doubt(watch->intake->redis->cluster);
    }
}

/* Which nodes are to be looked at; connections to others are closed. */
static size_t choose_nodes(cq_redis_watch *watch)
{
    size_t count = cq_watch_map(watch);

    watch->looked = count;
    gather(watch);
    for (size_t i = 0; i < count; i++)
        watch->nodes[i].used = watch->nodes[i].failed = false;
    for (size_t q = 0; q < watch->intake->queue_count; q++)
        if (watch->views[q].node != CQ_WATCH_NOBODY)
            watch->nodes[watch->views[q].node].used = true;
    for (size_t i = 0; i < count; i++)
        if (!watch->nodes[i].used && watch->nodes[i].watcher)
            drop_watcher(watch, i);
    return count;
}

typedef enum seen {
    SEEN_ALL,
    SEEN_SOME, /* some queues are on nodes that did not answer */
    SEEN_NOTHING,
} seen;

static seen how_much(const cq_redis_watch *watch)
{
    size_t blind = 0;

    for (size_t q = 0; q < watch->intake->queue_count; q++) {
        uint16_t node = watch->views[q].node;

        blind += node == CQ_WATCH_NOBODY || watch->nodes[node].failed;
    }
    if (blind == watch->intake->queue_count)
        return SEEN_NOTHING;
    return blind ? SEEN_SOME : SEEN_ALL;
}

/* Read what is stale, in one pipeline a node; what has moved, once more where it is. */
static seen look(cq_redis_watch *watch)
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

/* ---- telling ---- */

/* The same answer is not given again while it was acted upon in vain: a queue that can
 * not be served looks as if it held work for ever. */
static bool tell(cq_redis_watch *watch, cq_told *told, uint64_t signature,
                 uint64_t exchanges, uint64_t delivered)
{
    int64_t now = cq_mono_ns();
    bool vain = told->signature == signature && told->exchanges < exchanges &&
                told->delivered == delivered && now < told->at_mono_ns + check_ns(watch);

    if (!signature || vain)
        return false;
    *told = (cq_told){ signature, exchanges, delivered, now };
    return true;
}

static bool has_work(const cq_view *view)
{
    return view->next && !view->paused;
}

static bool tell_work(cq_redis_watch *watch)
{
    const cq_redis_intake *intake = watch->intake;
    uint64_t signature = 0;

    for (size_t q = 0; q < intake->queue_count; q++)
        if (has_work(&watch->views[q]))
            signature = (signature ^ watch->views[q].next ^ q) * 1099511628211u + 1;
    if (!tell(watch, &watch->work, signature, intake->fetches, intake->delivered))
        return false;
    for (size_t q = 0; q < intake->queue_count; q++)
        if (has_work(&watch->views[q]))
            watch->views[q].stale |= CQ_VIEW_PENDING;
    return true;
}

static int64_t store_now_s(const cq_redis_watch *watch)
{
    cq_broker *broker = &watch->intake->redis->broker;

    return cq_ns_to_s(broker->ops->now_ns(broker));
}

/* Have the heads that are due by now read again. */
static uint64_t doubt_due(cq_redis_watch *watch)
{
    int64_t now_s = store_now_s(watch);
    uint64_t signature = 0;

    for (size_t q = 0; q < watch->intake->queue_count; q++) {
        cq_view *view = &watch->views[q];

        for (size_t z = 0; z < 2; z++) {
            if (view->due_s[z] > now_s)
                continue;
            signature = (signature ^ view->due_first[z] ^ q) * 1099511628211u + 1;
            view->stale |= z ? CQ_VIEW_RETRY : CQ_VIEW_SCHEDULED;
        }
    }
    return signature;
}

static bool tell_due(cq_redis_watch *watch)
{
    return tell(watch, &watch->due, doubt_due(watch), watch->intake->forwards, 0);
}

/* ---- sleeping ---- */

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static bool is_polled(const cq_redis_watch *watch)
{
    bool polled = watch->intake->redis->cluster;

    for (size_t i = 0; i < watch->looked && !polled; i++)
        polled = watch->nodes[i].used && !watch->nodes[i].tracked_id;
    return polled;
}

/* When, on the monotonic clock, there is something to look at without a notice. */
static int64_t alarm_at(const cq_redis_watch *watch, int64_t until)
{
    cq_broker *broker = &watch->intake->redis->broker;
    int64_t now = cq_mono_ns(), now_s = store_now_s(watch), first = NOTHING_DUE;

    for (size_t q = 0; q < watch->intake->queue_count; q++) {
        const cq_view *view = &watch->views[q];

        for (size_t z = 0; z < 2; z++)
            if (view->due_s[z] > now_s)
                first = earlier(first, view->due_s[z]);
        if (view->stale || has_work(view)) /* told in vain */
            until = earlier(until, now + check_ns(watch));
    }
    until = earlier(until, watch->probe_at);
    if (is_polled(watch))
        until = earlier(until, watch->poll_at);
    if (first < INT64_MAX / CQ_NS_PER_S)
        until = earlier(until, now + first * CQ_NS_PER_S - broker->ops->now_ns(broker));
    return until;
}

static void slumber(cq_redis_watch *watch, int64_t until)
{
    struct pollfd fds[1 + CQ_QUEUES_LIMIT];
    int64_t left = until - cq_mono_ns();
    size_t nodes[1 + CQ_QUEUES_LIMIT], count = 1;
    struct timespec time;

    if (left <= 0)
        return;
    time.tv_sec = left / CQ_NS_PER_S;
    time.tv_nsec = left % CQ_NS_PER_S;
    fds[0] = (struct pollfd){ .fd = watch->event.fd, .events = POLLIN };
    for (size_t i = 0; i < watch->looked; i++) {
        if (!watch->nodes[i].watcher)
            continue;
        nodes[count] = i;
        fds[count++] = (struct pollfd){ .fd = cq_conn_fd(watch->nodes[i].watcher),
                                        .events = POLLIN };
    }
    if (ppoll(fds, count, &time, NULL) <= 0)
        return;
    for (size_t i = 1; i < count; i++)
        if (fds[i].revents)
            drop_watcher(watch, nodes[i]); /* nothing is due on it: it was closed */
}

/* Nobody can tell. Wait a little, and have the exchange find out. */
static void wait_blindly(cq_redis_watch *watch, cq_wait *wait)
{
    int64_t until = earlier(wait->until_mono_ns, cq_mono_ns() + check_ns(watch));

    while (cq_mono_ns() < until && !atomic_load(&watch->woken)) {
        slumber(watch, until);
        cq_event_clear(&watch->event);
    }
    wait->woken = atomic_exchange(&watch->woken, false);
    wait->work = !wait->woken;
}

/* Where many wait, those whom the last notice brought nothing let others go first. */
static uint8_t gather_politely(cq_redis_watch *watch)
{
    uint8_t noticed = gather(watch);

    if (!(noticed & CQ_VIEW_PENDING) || !watch->found_nothing)
        return noticed;
    nanosleep(
        &(struct timespec){
            .tv_nsec = (long)cq_random_below(&watch->random, STEP_ASIDE_US) * 1000 },
        NULL);
    return noticed | gather(watch);
}

/* A change of pending that woke us is told at once, without looking: for an idle worker
 * that saves a round trip. Not after one that turned out to be for others, nor so soon
 * that it may be of our own doing. Keys that were not looked at are armed when the caller
 * comes back to wait. */
static bool tell_at_once(cq_redis_watch *watch, uint8_t noticed, int64_t began)
{
    if (!(noticed & CQ_VIEW_PENDING) || watch->found_nothing ||
        cq_mono_ns() - began < ECHO_NS)
        return false;
    watch->at_once = true;
    watch->before = watch->intake->delivered;
    return true;
}

static void judge_at_once(cq_redis_watch *watch)
{
    if (watch->at_once)
        watch->found_nothing = watch->intake->delivered == watch->before;
    watch->at_once = false;
}

/* Which queues of nodes that do not answer have work is for an exchange to find out. */
static bool must_try(const cq_redis_watch *watch, seen what, int64_t began)
{
    return what == SEEN_SOME && cq_mono_ns() >= began + check_ns(watch);
}

cronq_status cq_redis_wait(cq_intake *base, cq_wait *wait, cronq_error *err)
{
    cq_redis_watch *watch = cq_redis_intake_of(base)->watch;
    int64_t began = cq_mono_ns(), until;
    uint8_t noticed;
    seen what;

    (void)err;
    wait->work = wait->due = false;
    judge_at_once(watch);
    for (;;) {
        cq_event_clear(&watch->event);
        wait->woken = atomic_exchange(&watch->woken, false);
        if (wait->woken)
            return CRONQ_OK;
        noticed = gather_politely(watch);
        wait->work = tell_at_once(watch, noticed, began);
        if (wait->work)
            return CRONQ_OK;
        what = look(watch);
        if (what == SEEN_NOTHING) {
            wait_blindly(watch, wait);
            return CRONQ_OK;
        }
        wait->work = tell_work(watch) || must_try(watch, what, began);
        wait->due = tell_due(watch);
        if (noticed & CQ_VIEW_PENDING && cq_mono_ns() - began > ECHO_NS)
            watch->found_nothing = !wait->work;
        if (wait->work || wait->due || cq_mono_ns() >= wait->until_mono_ns)
            return CRONQ_OK;
        until = alarm_at(watch, wait->until_mono_ns);
        if (what == SEEN_SOME)
            until = earlier(until, began + check_ns(watch));
        slumber(watch, until);
        doubt_due(watch);
    }
}
