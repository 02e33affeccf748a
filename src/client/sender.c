/* SPDX-License-Identifier: MIT */
/* sender.c - threads that push at the same time share round trips.
 *
 * Each thread brings a request and appends it to the queue. The one that finds that
 * nobody leads does: it takes requests from the head of the queue, as many as fit into a
 * batch, sends them without the mutex, answers them, and hands the lead to the head of
 * the queue once its own is answered. So a thread alone sends at once, and under load a
 * batch is what came while the one before was under way. Requests are served in order.
 *
 * Where the store takes it (max_pushes), a second thread leads beside the first as soon
 * as as much is queued as is under way, and no batch holds more than half of both: the
 * store works on one while threads are woken for, and make, the other.
 *
 * A batch that failed as a whole goes back to the end of the queue, and the next requests
 * are sent alone: one that breaks the connection, or that the store chokes on, must not
 * take the others with it.
 *
 * A request lives on the stack of its thread, which sleeps until it gets an order, to
 * lead or to leave, or until its time is over while it is QUEUED. Orders are given
 * without the mutex, the one to lead before all others, and after one to leave the
 * request is gone.
 *
 * Invariants, under the mutex: QUEUED and CHOSEN are in the queue, the others are not;
 * at most one is CHOSEN, the queue's head, and until it leads nobody begins to. When the
 * queue is not empty, somebody leads or is chosen. `leaders` counts both.
 */
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/thread.h"
#include "client/internal.h"

#include <sched.h>
#include <stdlib.h>

#define BACKOFF_FIRST_MS     10
#define BACKOFF_LIMIT_MS     500
#define CLOCK_SYNC_PERIOD_NS (60 * CQ_NS_PER_S)
#define LANES                2
#define YIELDS               8 /* before sleeping: less than a sleep and a wake-up cost */

typedef enum request_state {
    REQUEST_QUEUED,
    REQUEST_IN_FLIGHT, /* in the leader's batch */
    REQUEST_CHOSEN,    /* to lead */
    REQUEST_ANSWERED,
} request_state;

enum { ORDER_NONE, ORDER_NONE_ASLEEP, ORDER_LEAD, ORDER_LEAVE };

typedef struct push_lane push_lane;

typedef struct request {
    push_lane *by;        /* whose batch it is in, or was answered in */
    struct request *next; /* in the queue, in the batch, or among those to be told */
    cq_prepared *items;
    size_t item_count, bytes;
    int64_t deadline_ns;
    request_state state;
    cronq_error why; /* code is OK when all items got an answer of their own */
    _Atomic uint32_t order;
} request;

/* What a leader works with while it leads. */
struct push_lane {
    cq_push *batch; /* CQ_BATCH_LIMIT of them */
    cq_prepared **items;
    size_t count;
    bool taken;
};

struct cq_sender {
    cq_broker *broker;
    cronq_metrics *metrics; /* or NULL */
    cronq_logger logger;
    pthread_mutex_t mutex;
    request *head, **tail;             /* the queue, oldest first */
    size_t alone_count;                /* so many of the next ones are sent alone */
    size_t queued_count, flying_count; /* items */
    size_t leaders;
    bool chosen;
    push_lane lanes[LANES];
    cq_random random;
    /* Without it: */
    _Atomic int64_t clock_synced_ns; /* 0: never */
};

static size_t lane_count(const cq_sender *sender)
{
    return sender->broker->max_pushes < LANES ? 1 : LANES;
}

cronq_status cq_sender_new(cq_broker *broker, const cronq_logger *logger,
                           cronq_metrics *metrics, cq_sender **out, cronq_error *err)
{
    cq_sender *sender = calloc(1, sizeof *sender);

    if (!sender)
        return cq_fail_nomem(err);
    sender->tail = &sender->head;
    sender->broker = broker;
    sender->metrics = metrics;
    sender->logger = *logger;
    pthread_mutex_init(&sender->mutex, NULL);
    cq_random_init(&sender->random);
    for (size_t i = 0; i < lane_count(sender); i++) {
        push_lane *each = &sender->lanes[i];

        each->batch = calloc(CQ_BATCH_LIMIT, sizeof *each->batch);
        each->items = calloc(CQ_BATCH_LIMIT, sizeof(cq_prepared *));
        if (!each->batch || !each->items) {
            cq_sender_free(sender);
            return cq_fail_nomem(err);
        }
    }
    *out = sender;
    return CRONQ_OK;
}

void cq_sender_free(cq_sender *sender)
{
    if (!sender)
        return;
    pthread_mutex_destroy(&sender->mutex);
    for (size_t i = 0; i < LANES; i++) {
        free(sender->lanes[i].batch);
        free(sender->lanes[i].items);
    }
    free(sender);
}

/* ---- the queue of requests ---- */

static void append(cq_sender *sender, request *mine)
{
    mine->next = NULL;
    *sender->tail = mine;
    sender->tail = &mine->next;
    sender->queued_count += mine->item_count;
}

static void unlink_request(cq_sender *sender, const request *mine)
{
    request **at = &sender->head;

    while (*at != mine)
        at = &(*at)->next;
    *at = mine->next;
    if (!*at)
        sender->tail = at;
    sender->queued_count -= mine->item_count;
}

static size_t batch_limit(const cq_sender *sender)
{
    size_t all = sender->queued_count + sender->flying_count;
    size_t share = all / lane_count(sender) + all % lane_count(sender);

    return share < CQ_BATCH_LIMIT ? share : CQ_BATCH_LIMIT;
}

/* What fits into one batch, from the head on; at least one request. */
static request *take_batch(cq_sender *sender, push_lane *by)
{
    request *first = sender->head, *last = first;
    size_t count = first->item_count, bytes = first->bytes, limit = batch_limit(sender);

    if (sender->alone_count)
        sender->alone_count--;
    else
        while (last->next && count + last->next->item_count <= limit &&
               bytes + last->next->bytes <= CQ_BATCH_LIMIT_BYTES) {
            last = last->next;
            count += last->item_count;
            bytes += last->bytes;
        }
    sender->head = last->next;
    if (!sender->head)
        sender->tail = &sender->head;
    last->next = NULL;
    for (request *each = first; each; each = each->next) {
        each->state = REQUEST_IN_FLIGHT;
        each->by = by;
    }
    sender->queued_count -= count;
    sender->flying_count += count;
    return first;
}

/* The failure may be another's: what was not alone is tried again. */
static bool is_final(const request *batch, const cronq_error *why)
{
    return !why->code || (why->code != CRONQ_EIO && !batch->next);
}

static bool is_settled(const request *each)
{
    size_t i = 0;

    while (i < each->item_count && each->items[i].settled)
        i++;
    return i == each->item_count;
}

static void put_back(cq_sender *sender, request *each)
{
    each->state = REQUEST_QUEUED;
    each->by = NULL;
    append(sender, each);
    sender->alone_count++;
}

static void give_up(request *mine)
{
    if (!mine->why.code)
        cq_fail(&mine->why, CRONQ_EIO, "no answer from the store");
    mine->state = REQUEST_ANSWERED;
}

/* Answer a batch, or put it back. Returns those that were answered, to be told. */
static request *close_batch(cq_sender *sender, request *batch, const cronq_error *why)
{
    request *answered = NULL, **tail = &answered;
    bool final = is_final(batch, why);
    int64_t now_ns = cq_mono_ns();

    for (request *each = batch, *next; each; each = next) {
        next = each->next;
        sender->flying_count -= each->item_count;
        each->why = *why;
        if (final || is_settled(each)) {
            each->state = REQUEST_ANSWERED;
        } else if (each->deadline_ns <= now_ns) {
            give_up(each);
        } else {
            put_back(sender, each);
            continue;
        }
        *tail = each;
        tail = &each->next;
    }
    *tail = NULL;
    return answered;
}

/* ---- sending one batch ---- */

/* The store's clock is what run times and locks are measured by. */
static cronq_status know_the_time(cq_sender *sender, cronq_error *why)
{
    int64_t now_ns = cq_mono_ns(), synced_ns = atomic_load(&sender->clock_synced_ns);
    cronq_status status;

    if (synced_ns && now_ns - synced_ns < CLOCK_SYNC_PERIOD_NS)
        return CRONQ_OK;
    status = sender->broker->ops->sync_clock(sender->broker, why);
    if (status && !synced_ns)
        return status;
    atomic_store(&sender->clock_synced_ns, now_ns);
    return CRONQ_OK;
}

static void collect(push_lane *lane, const request *batch)
{
    lane->count = 0;
    for (const request *each = batch; each; each = each->next)
        for (size_t i = 0; i < each->item_count; i++)
            if (!each->items[i].settled)
                lane->items[lane->count++] = &each->items[i];
}

/* It may have been stored and done before, if only the answer was lost. */
static void tell_that_it_may_run_twice(const cq_sender *sender, const cq_push *push)
{
    char *id = strndup(push->id.data, push->id.len);
    const cq_log_about about = { .task_id = id, .duration_ms = -1 };

    CQ_LOG_ABOUT(&sender->logger, CRONQ_LOG_WARN, &about,
                 "task %.*s was sent again, since the first answer was lost: it may run "
                 "twice",
                 CQ_FMT(push->id));
    free(id);
}

/* EIO means: may have been written. After a failure, items that the broker did not come
 * to keep the status EPROTO that they were given before. */
static cronq_status take_answers(const cq_sender *sender, const push_lane *lane,
                                 cronq_status status, cronq_error *why)
{
    for (size_t i = 0; i < lane->count; i++) {
        cq_prepared *item = lane->items[i];
        cronq_status answered = lane->batch[i].status;

        if (status && answered == CRONQ_EPROTO)
            continue;
        if (answered == CRONQ_OK && item->push.again && !item->push.stored_epoch)
            tell_that_it_may_run_twice(sender, &item->push);
        item->push.status = answered;
        item->push.run_at_ms = lane->batch[i].run_at_ms;
        item->push.stored_epoch = lane->batch[i].stored_epoch;
        item->settled = answered != CRONQ_EIO;
        item->push.again = item->push.again || !item->settled;
        if (!status && !item->settled)
            status = cq_fail(why, CRONQ_EIO, "the store did not answer");
    }
    return status;
}

/* OK when every item of the batch has an answer. */
static cronq_status send_once(cq_sender *sender, push_lane *lane, const request *batch,
                              cronq_error *why)
{
    int64_t now_ns, sent_ns;
    cronq_status status;

    status = know_the_time(sender, why);
    if (status)
        return status;
    collect(lane, batch);
    if (lane->count == 0)
        return CRONQ_OK;
    now_ns = sender->broker->ops->now_ns(sender->broker);
    for (size_t i = 0; i < lane->count; i++) {
        cq_prepared_stamp(lane->items[i], now_ns);
        lane->batch[i] = lane->items[i]->push;
        lane->batch[i].status = CRONQ_EPROTO;
    }
    sent_ns = cq_mono_ns();
    status =
        sender->broker->ops->push(sender->broker, lane->batch, lane->count, now_ns, why);
    if (!status)
        cq_metrics_round_trip(sender->metrics, CQ_TRIP_PUSH, cq_mono_ns() - sent_ns);
    return take_answers(sender, lane, status, why);
}

static int64_t backoff_ms(cq_sender *sender, int round)
{
    int64_t limit = BACKOFF_LIMIT_MS;

    if (round < 6)
        limit = BACKOFF_FIRST_MS << round;
    return limit / 2 + (int64_t)cq_random_below(&sender->random, (uint64_t)limit / 2 + 1);
}

/* ---- leading and waiting ---- */

/* How long to leave a store that does not answer alone; nothing for any other failure. */
static int64_t pause_ms(cq_sender *sender, const cronq_error *why, int *failures)
{
    if (why->code != CRONQ_EIO) {
        *failures = 0;
        return 0;
    }
    return backoff_ms(sender, (*failures)++);
}

static void give_order(request *to, uint32_t order)
{
    if (atomic_exchange(&to->order, order) == ORDER_NONE_ASLEEP)
        cq_futex_wake(&to->order);
}

static void dismiss(request *answered, const request *mine)
{
    for (request *each = answered, *next; each; each = next) {
        next = each->next;
        if (each != mine)
            give_order(each, ORDER_LEAVE);
    }
}

/* With the mutex. */
static bool is_worth_leading(const cq_sender *sender)
{
    if (!sender->head || sender->chosen)
        return false;
    return sender->leaders == 0 || (sender->leaders < lane_count(sender) &&
                                    sender->queued_count >= sender->flying_count);
}

/* Who is to lead on; NULL when nobody needs to. With the mutex. */
static request *choose_leader(cq_sender *sender)
{
    if (!sender->head && sender->leaders == 0)
        sender->alone_count = 0;
    if (!is_worth_leading(sender))
        return NULL;
    sender->leaders++;
    sender->chosen = true;
    sender->head->state = REQUEST_CHOSEN;
    return sender->head;
}

static push_lane *take_lane(cq_sender *sender)
{
    push_lane *lane = sender->lanes;

    while (lane->taken)
        lane++;
    lane->taken = true;
    return lane;
}

/* With the mutex. */
static bool gives_up(cq_sender *sender, request *mine)
{
    if (mine->state != REQUEST_QUEUED || cq_mono_ns() < mine->deadline_ns)
        return false;
    unlink_request(sender, mine);
    give_up(mine);
    return true;
}

/* Takes batches until its own request was in one or somebody else is to lead. Whether it
 * is answered; if not, or if in the other lane, an order comes. Called with the mutex,
 * which it leaves, and counted among the leaders. */
static bool lead(cq_sender *sender, request *mine)
{
    push_lane *lane = take_lane(sender);
    request *batch, *answered, *leader;
    int64_t pause, left_ms;
    int failures = 0;
    bool done;

    for (;;) {
        cronq_error why = { 0 };

        batch = take_batch(sender, lane);
        pthread_mutex_unlock(&sender->mutex);
        why.code = send_once(sender, lane, batch, &why);
        pthread_mutex_lock(&sender->mutex);
        pause = pause_ms(sender, &why, &failures);
        answered = close_batch(sender, batch, &why);
        if (gives_up(sender, mine) || mine->state != REQUEST_QUEUED || sender->chosen)
            break;
        pthread_mutex_unlock(&sender->mutex);
        dismiss(answered, mine);
        left_ms = (mine->deadline_ns - cq_mono_ns()) / CQ_NS_PER_MS;
        cq_sleep_ms(pause < left_ms ? pause : left_ms);
        pthread_mutex_lock(&sender->mutex);
        answered = NULL;
        if (mine->state != REQUEST_QUEUED || sender->chosen)
            break;
    }
    done = mine->state == REQUEST_ANSWERED && (!mine->by || mine->by == lane);
    lane->taken = false;
    sender->leaders--;
    leader = choose_leader(sender);
    pthread_mutex_unlock(&sender->mutex);
    if (leader)
        give_order(leader, ORDER_LEAD);
    dismiss(answered, mine);
    return done;
}

/* The order that comes, or none when the time is over. Only what is in the queue has a
 * clock: from anywhere else an order comes for certain. */
static uint32_t await_order(cq_sender *sender, request *mine)
{
    uint32_t order = ORDER_NONE;
    int64_t until_ns = mine->deadline_ns;
    bool over;

    for (int i = 0; i < YIELDS && atomic_load(&mine->order) == ORDER_NONE; i++)
        sched_yield();
    atomic_compare_exchange_strong(&mine->order, &order, ORDER_NONE_ASLEEP);
    while ((order = atomic_load(&mine->order)) == ORDER_NONE_ASLEEP) {
        if (cq_futex_wait(&mine->order, ORDER_NONE_ASLEEP, until_ns))
            continue;
        pthread_mutex_lock(&sender->mutex);
        over = gives_up(sender, mine);
        pthread_mutex_unlock(&sender->mutex);
        if (over)
            return ORDER_NONE;
        until_ns = INT64_MAX;
    }
    return order;
}

static void follow(cq_sender *sender, request *mine)
{
    bool done;

    do {
        if (await_order(sender, mine) != ORDER_LEAD)
            return;
        atomic_store(&mine->order, ORDER_NONE);
        pthread_mutex_lock(&sender->mutex);
        sender->chosen = false;
        done = lead(sender, mine);
    } while (!done);
}

/* What got no answer of its own gets the one about the store. */
static cronq_status settle_rest(const request *mine, cronq_error *why)
{
    cronq_status status = CRONQ_OK;

    *why = mine->why;
    for (size_t i = 0; i < mine->item_count; i++) {
        if (mine->items[i].settled)
            continue;
        mine->items[i].settled = true;
        mine->items[i].push.status = status = why->code;
    }
    return status;
}

static int64_t deadline_after(int64_t timeout_ms)
{
    int64_t now_ns = cq_mono_ns();

    if (timeout_ms < 0 || timeout_ms > (INT64_MAX - now_ns) / CQ_NS_PER_MS)
        return INT64_MAX;
    return now_ns + timeout_ms * CQ_NS_PER_MS;
}

cronq_status cq_sender_push(cq_sender *sender, cq_prepared *items, size_t count,
                            int64_t timeout_ms, cronq_error *why)
{
    request mine = { .items = items,
                     .item_count = count,
                     .deadline_ns = deadline_after(timeout_ms) };
    bool done = false;

    for (size_t i = 0; i < count; i++)
        mine.bytes += items[i].push.message.len;
    pthread_mutex_lock(&sender->mutex);
    append(sender, &mine);
    if (is_worth_leading(sender)) {
        sender->leaders++;
        done = lead(sender, &mine);
    } else {
        pthread_mutex_unlock(&sender->mutex);
    }
    if (!done)
        follow(sender, &mine);
    return settle_rest(&mine, why);
}
