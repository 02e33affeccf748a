/* SPDX-License-Identifier: MIT */
/* desk.c - handing attempts over. */
#include "worker/desk.h"

#include "base/thread.h"

void cq_desk_init(cq_desk *desk)
{
    *desk = (cq_desk){ 0 };
    pthread_mutex_init(&desk->mutex, NULL);
    cq_cond_init(&desk->more);
}

void cq_desk_release(cq_desk *desk)
{
    pthread_cond_destroy(&desk->more);
    pthread_mutex_destroy(&desk->mutex);
}

/* The mutex is held. True: the caller signals, after unlocking. */
static bool should_wake(cq_desk *desk)
{
    if (!desk->first || desk->sleepers == 0 || desk->waking)
        return false;
    if (desk->busy > 0 && atomic_load_explicit(&desk->brief, memory_order_relaxed))
        return false;
    desk->waking = true;
    return true;
}

void cq_desk_set_brief(cq_desk *desk, bool brief)
{
    atomic_store_explicit(&desk->brief, brief, memory_order_relaxed);
}

bool cq_desk_nudge(cq_desk *desk, int64_t before_mono_ns)
{
    bool waiting, late;

    pthread_mutex_lock(&desk->mutex);
    waiting = desk->first && desk->sleepers > 0;
    late = waiting && !desk->waking && desk->first->queued_at_mono_ns < before_mono_ns;
    desk->waking |= late;
    pthread_mutex_unlock(&desk->mutex);
    if (!late)
        return waiting;
    cq_desk_set_brief(desk, false); /* until handlers prove it again */
    pthread_cond_signal(&desk->more);
    return false;
}

void cq_desk_put(cq_desk *desk, cronq_attempt *first, cronq_attempt *last)
{
    bool wake;

    last->next = NULL;
    pthread_mutex_lock(&desk->mutex);
    if (desk->first)
        desk->last->next = first;
    else
        desk->first = first;
    desk->last = last;
    wake = should_wake(desk);
    pthread_mutex_unlock(&desk->mutex);
    if (wake)
        pthread_cond_signal(&desk->more);
}

/* The mutex is held, and let go. */
static cronq_attempt *take_first(cq_desk *desk)
{
    cronq_attempt *attempt = desk->closed ? NULL : desk->first;
    bool wake;

    if (attempt)
        desk->first = attempt->next;
    wake = should_wake(desk);
    pthread_mutex_unlock(&desk->mutex);
    if (wake)
        pthread_cond_signal(&desk->more);
    return attempt;
}

cronq_attempt *cq_desk_try(cq_desk *desk)
{
    pthread_mutex_lock(&desk->mutex);
    return take_first(desk);
}

cronq_attempt *cq_desk_take(cq_desk *desk, bool busy)
{
    pthread_mutex_lock(&desk->mutex);
    desk->busy -= busy;
    while (!desk->first && !desk->closed) {
        desk->sleepers++;
        pthread_cond_wait(&desk->more, &desk->mutex);
        desk->sleepers--;
        desk->waking = false;
    }
    desk->busy++;
    return take_first(desk);
}

cronq_attempt *cq_desk_take_more(cq_desk *desk, cq_desk_fits_fn *fits, void *arg)
{
    cronq_attempt *attempt;

    pthread_mutex_lock(&desk->mutex);
    attempt = desk->closed ? NULL : desk->first;
    if (attempt && fits(attempt, arg))
        desk->first = attempt->next;
    else
        attempt = NULL;
    pthread_mutex_unlock(&desk->mutex);
    return attempt;
}

void cq_desk_put_back(cq_desk *desk, cronq_attempt *attempt)
{
    pthread_mutex_lock(&desk->mutex);
    attempt->next = desk->first;
    if (!desk->first)
        desk->last = attempt;
    desk->first = attempt;
    pthread_mutex_unlock(&desk->mutex);
    pthread_cond_signal(&desk->more);
}

bool cq_desk_is_brief(const cq_desk *desk)
{
    return atomic_load(&desk->brief);
}

bool cq_desk_is_empty(cq_desk *desk)
{
    bool empty;

    pthread_mutex_lock(&desk->mutex);
    empty = desk->first == NULL;
    pthread_mutex_unlock(&desk->mutex);
    return empty;
}

void cq_desk_close(cq_desk *desk)
{
    pthread_mutex_lock(&desk->mutex);
    desk->closed = true;
    pthread_mutex_unlock(&desk->mutex);
    pthread_cond_broadcast(&desk->more);
}

int64_t cq_desk_oldest_mono_ns(cq_desk *desk)
{
    int64_t oldest = INT64_MAX;

    pthread_mutex_lock(&desk->mutex);
    if (desk->first)
        oldest = desk->first->queued_at_mono_ns;
    pthread_mutex_unlock(&desk->mutex);
    return oldest;
}

cronq_attempt *cq_desk_take_back(cq_desk *desk, bool if_busy)
{
    cronq_attempt *all = NULL;

    pthread_mutex_lock(&desk->mutex);
    if (!if_busy || desk->sleepers == 0) {
        all = desk->first;
        desk->first = NULL;
    }
    pthread_mutex_unlock(&desk->mutex);
    return all;
}

void cq_desk_finish(cq_desk *desk, cronq_attempt *attempt)
{
    cronq_attempt *head = atomic_load(&desk->finished);

    do
        attempt->next = head;
    while (!atomic_compare_exchange_weak(&desk->finished, &head, attempt));
}

static cronq_attempt *reverse(cronq_attempt *attempt)
{
    cronq_attempt *reversed = NULL;

    for (cronq_attempt *next; attempt; attempt = next) {
        next = attempt->next;
        attempt->next = reversed;
        reversed = attempt;
    }
    return reversed;
}

cronq_attempt *cq_desk_collect(cq_desk *desk)
{
    if (!cq_desk_has_finished(desk))
        return NULL;
    return reverse(atomic_exchange(&desk->finished, NULL));
}
