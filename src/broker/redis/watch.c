/* SPDX-License-Identifier: MIT */
/* broker/redis/watch.c - the waiting side of a watch: what is told, and sleeping. */
#include "broker/redis/watch.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"

#include <poll.h>
#include <stdlib.h>
#include <time.h>

#define ARENA_BYTES   ((size_t)4 << 20)
#define ECHO_NS       (5 * CQ_NS_PER_MS) /* a notice so soon is of our own doing */
#define STEP_ASIDE_US 2000

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

/* ---- telling ---- */

/* The same answer is not given again while it was acted upon in vain: a queue that can
 * not be served looks as if it held work for ever. */
static bool tell(cq_redis_watch *watch, cq_told *told, uint64_t signature,
                 uint64_t exchanges, uint64_t delivered)
{
    int64_t now = cq_mono_ns();
    bool vain = told->signature == signature && told->exchanges < exchanges &&
                told->delivered == delivered &&
                now < told->at_mono_ns + cq_watch_check_ns(watch);

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
    int64_t now = cq_mono_ns(), now_s = store_now_s(watch), first = CQ_NOTHING_DUE;

    for (size_t q = 0; q < watch->intake->queue_count; q++) {
        const cq_view *view = &watch->views[q];

        for (size_t z = 0; z < 2; z++)
            if (view->due_s[z] > now_s)
                first = earlier(first, view->due_s[z]);
        if (view->stale || has_work(view)) /* told in vain */
            until = earlier(until, now + cq_watch_check_ns(watch));
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
            cq_watch_drop(watch, nodes[i]); /* nothing is due on it: it was closed */
}

/* Nobody can tell. Wait a little, and have the exchange find out. */
static void wait_blindly(cq_redis_watch *watch, cq_wait *wait)
{
    int64_t until = earlier(wait->until_mono_ns, cq_mono_ns() + cq_watch_check_ns(watch));

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
    uint8_t noticed = cq_watch_gather(watch);

    if (!(noticed & CQ_VIEW_PENDING) || !watch->found_nothing)
        return noticed;
    nanosleep(
        &(struct timespec){
            .tv_nsec = (long)cq_random_below(&watch->random, STEP_ASIDE_US) * 1000 },
        NULL);
    return noticed | cq_watch_gather(watch);
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
static bool must_try(const cq_redis_watch *watch, cq_seen what, int64_t began)
{
    return what == CQ_SEEN_SOME && cq_mono_ns() >= began + cq_watch_check_ns(watch);
}

cronq_status cq_redis_wait(cq_intake *base, cq_wait *wait, cronq_error *err)
{
    cq_redis_watch *watch = cq_redis_intake_of(base)->watch;
    int64_t began = cq_mono_ns(), until;
    uint8_t noticed;
    cq_seen what;

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
        what = cq_watch_look(watch);
        if (what == CQ_SEEN_NOTHING) {
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
        if (what == CQ_SEEN_SOME)
            until = earlier(until, began + cq_watch_check_ns(watch));
        slumber(watch, until);
        doubt_due(watch);
    }
}
