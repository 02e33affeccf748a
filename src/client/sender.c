/* SPDX-License-Identifier: MIT */
/* sender.c - threads that push at the same time share round trips.
 *
 * Each thread brings a request and appends it to the queue. While nobody leads, the one
 * that finds this out leads: it takes requests from the head of the queue, as many as fit
 * into a batch, sends them without the mutex, answers them, and steps down once its own
 * is answered. So a thread alone sends at once, and under load a batch is what came while
 * the one before was under way. Requests are served in order; a leader therefore serves
 * at most those that were there before its own, and its batch.
 *
 * A batch that failed as a whole goes back to the end of the queue, and the next requests
 * are sent alone: one that breaks the connection, or that the store chokes on, must not
 * take the others with it.
 *
 * Invariants, under the mutex: a request is in the queue, or in flight (in the batch of
 * the leader), or answered. It lives on the stack of its thread, which leaves only when
 * it is answered. When the queue is not empty, somebody leads or its head was woken. */
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/thread.h"
#include "client/internal.h"

#include <stdlib.h>

#define BACKOFF_FIRST_MS     10
#define BACKOFF_LIMIT_MS     500
#define CLOCK_SYNC_PERIOD_NS (60 * CQ_NS_PER_S)

typedef struct request {
    struct request *next; /* in the queue, or in the batch */
    cq_prepared *items;
    size_t item_count, bytes;
    int64_t deadline_ns;
    bool in_flight, answered;
    cronq_error why; /* code is OK when all items got an answer of their own */
    pthread_cond_t wake;
} request;

struct cq_sender {
    cq_broker *broker;
    cronq_metrics *metrics; /* or NULL */
    cronq_logger logger;
    pthread_mutex_t mutex;
    request *head, **tail; /* the queue, oldest first */
    size_t alone_count;    /* so many of the next ones are sent alone */
    bool led;
    /* The leader's alone: */
    cq_push *batch; /* CQ_BATCH_LIMIT of them */
    cq_prepared **batch_items;
    size_t batch_count;
    bool clock_known;
    int64_t clock_synced_ns;
    cq_random random;
};

cronq_status cq_sender_new(cq_broker *broker, const cronq_logger *logger,
                           cronq_metrics *metrics, cq_sender **out, cronq_error *err)
{
    cq_sender *sender = calloc(1, sizeof *sender);

    if (!sender)
        return cq_fail_nomem(err);
    sender->batch = calloc(CQ_BATCH_LIMIT, sizeof *sender->batch);
    sender->batch_items = calloc(CQ_BATCH_LIMIT, sizeof(cq_prepared *));
    sender->tail = &sender->head;
    sender->broker = broker;
    sender->metrics = metrics;
    sender->logger = *logger;
    pthread_mutex_init(&sender->mutex, NULL);
    cq_random_init(&sender->random);
    if (!sender->batch || !sender->batch_items) {
        cq_sender_free(sender);
        return cq_fail_nomem(err);
    }
    *out = sender;
    return CRONQ_OK;
}

void cq_sender_free(cq_sender *sender)
{
    if (!sender)
        return;
    pthread_mutex_destroy(&sender->mutex);
    free(sender->batch);
    free(sender->batch_items);
    free(sender);
}

/* ---- the queue of requests ---- */

static void append(cq_sender *sender, request *mine)
{
    mine->next = NULL;
    *sender->tail = mine;
    sender->tail = &mine->next;
}

static void unlink_request(cq_sender *sender, const request *mine)
{
    request **at = &sender->head;

    while (*at != mine)
        at = &(*at)->next;
    *at = mine->next;
    if (!*at)
        sender->tail = at;
}

/* What fits into one batch, from the head on; at least one request. */
static request *take_batch(cq_sender *sender)
{
    request *first = sender->head, *last = first;
    size_t count = first->item_count, bytes = first->bytes;

    first->in_flight = true;
    if (sender->alone_count)
        sender->alone_count--;
    else
        while (last->next && count + last->next->item_count <= CQ_BATCH_LIMIT &&
               bytes + last->next->bytes <= CQ_BATCH_LIMIT_BYTES) {
            last = last->next;
            last->in_flight = true;
            count += last->item_count;
            bytes += last->bytes;
        }
    sender->head = last->next;
    if (!sender->head)
        sender->tail = &sender->head;
    last->next = NULL;
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

/* Answer a batch, or put it back. Whoever is put back waits by its own clock again. */
static void close_batch(cq_sender *sender, request *batch, const cronq_error *why)
{
    bool final = is_final(batch, why);

    for (request *each = batch, *next; each; each = next) {
        next = each->next;
        each->why = *why;
        each->in_flight = false;
        each->answered = final || is_settled(each);
        if (!each->answered) {
            append(sender, each);
            sender->alone_count++;
        }
        pthread_cond_signal(&each->wake);
    }
}

/* Its time is over while it is in the queue. */
static void give_up(cq_sender *sender, request *mine)
{
    unlink_request(sender, mine);
    if (!mine->why.code)
        cq_fail(&mine->why, CRONQ_EIO, "no answer from the store");
    mine->answered = true;
}

/* ---- sending one batch ---- */

/* The store's clock is what run times and locks are measured by. */
static cronq_status know_the_time(cq_sender *sender, cronq_error *why)
{
    int64_t now_ns = cq_mono_ns();
    cronq_status status;

    if (sender->clock_known && now_ns - sender->clock_synced_ns < CLOCK_SYNC_PERIOD_NS)
        return CRONQ_OK;
    status = sender->broker->ops->sync_clock(sender->broker, why);
    if (status && !sender->clock_known)
        return status;
    sender->clock_known = true;
    sender->clock_synced_ns = now_ns;
    return CRONQ_OK;
}

static void collect(cq_sender *sender, const request *batch)
{
    sender->batch_count = 0;
    for (const request *each = batch; each; each = each->next)
        for (size_t i = 0; i < each->item_count; i++)
            if (!each->items[i].settled)
                sender->batch_items[sender->batch_count++] = &each->items[i];
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
static cronq_status take_answers(cq_sender *sender, cronq_status status, cronq_error *why)
{
    for (size_t i = 0; i < sender->batch_count; i++) {
        cq_prepared *item = sender->batch_items[i];
        cronq_status answered = sender->batch[i].status;

        if (status && answered == CRONQ_EPROTO)
            continue;
        if (answered == CRONQ_OK && item->push.again && !item->push.stored_epoch)
            tell_that_it_may_run_twice(sender, &item->push);
        item->push.status = answered;
        item->push.run_at_ms = sender->batch[i].run_at_ms;
        item->push.stored_epoch = sender->batch[i].stored_epoch;
        item->settled = answered != CRONQ_EIO;
        item->push.again = item->push.again || !item->settled;
        if (!status && !item->settled)
            status = cq_fail(why, CRONQ_EIO, "the store did not answer");
    }
    return status;
}

/* OK when every item of the batch has an answer. */
static cronq_status send_once(cq_sender *sender, const request *batch, cronq_error *why)
{
    int64_t now_ns, sent_ns;
    cronq_status status;

    status = know_the_time(sender, why);
    if (status)
        return status;
    collect(sender, batch);
    if (sender->batch_count == 0)
        return CRONQ_OK;
    now_ns = sender->broker->ops->now_ns(sender->broker);
    for (size_t i = 0; i < sender->batch_count; i++) {
        cq_prepared_stamp(sender->batch_items[i], now_ns);
        sender->batch[i] = sender->batch_items[i]->push;
        sender->batch[i].status = CRONQ_EPROTO;
    }
    sent_ns = cq_mono_ns();
    status = sender->broker->ops->push(sender->broker, sender->batch, sender->batch_count,
                                       now_ns, why);
    if (!status)
        cq_metrics_round_trip(sender->metrics, CQ_TRIP_PUSH, cq_mono_ns() - sent_ns);
    return take_answers(sender, status, why);
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

static void lead(cq_sender *sender, request *mine)
{
    int failures = 0;

    sender->led = true;
    while (!mine->answered) {
        request *batch = take_batch(sender);
        int64_t pause, left_ms;
        cronq_error why = { 0 };

        pthread_mutex_unlock(&sender->mutex);
        why.code = send_once(sender, batch, &why);
        pause = pause_ms(sender, &why, &failures);
        pthread_mutex_lock(&sender->mutex);
        close_batch(sender, batch, &why);
        left_ms = (mine->deadline_ns - cq_mono_ns()) / CQ_NS_PER_MS;
        if (mine->answered || !why.code)
            continue;
        if (left_ms <= 0) {
            give_up(sender, mine);
            continue;
        }
        pthread_mutex_unlock(&sender->mutex);
        cq_sleep_ms(pause < left_ms ? pause : left_ms);
        pthread_mutex_lock(&sender->mutex);
    }
    sender->led = false;
    if (sender->head)
        pthread_cond_signal(&sender->head->wake);
    else
        sender->alone_count = 0;
}

/* What is in flight must be waited for; in the queue everybody has a clock of its own. */
static void follow(cq_sender *sender, request *mine)
{
    if (mine->in_flight) {
        pthread_cond_wait(&mine->wake, &sender->mutex);
        return;
    }
    if (cq_cond_wait_until(&mine->wake, &sender->mutex, mine->deadline_ns) ||
        mine->answered || mine->in_flight)
        return;
    give_up(sender, mine);
    if (!sender->led && sender->head)
        pthread_cond_signal(&sender->head->wake);
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

    for (size_t i = 0; i < count; i++)
        mine.bytes += items[i].push.message.len;
    cq_cond_init(&mine.wake);
    pthread_mutex_lock(&sender->mutex);
    append(sender, &mine);
    while (!mine.answered) {
        if (sender->led)
            follow(sender, &mine);
        else
            lead(sender, &mine);
    }
    pthread_mutex_unlock(&sender->mutex);
    pthread_cond_destroy(&mine.wake);
    return settle_rest(&mine, why);
}
