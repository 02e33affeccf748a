/* SPDX-License-Identifier: MIT */
/* dash/store.c - the thread that looks at the store; see store.h.
 *
 * Everything below the mutex is shared. The inspector and the rates are the thread's own.
 * The view is woken by the event, the thread by the condition. */
#include "dash/store.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/thread.h"
#include "dash/look.h"

#include <stdio.h>
#include <stdlib.h>

#define STORE_TIMEOUT_MS 2000
#define GAP_INTERVALS    5

struct cq_dash_store {
    const char *uri;
    int64_t interval_ms;
    pthread_t thread;
    cq_event event;
    cronq_inspector *inspector;
    cq_dash_rates *rates;
    cq_dash_ask queues; /* the last page of queues: sampled on the other pages too */

    pthread_mutex_t mutex;
    pthread_cond_t wake;
    bool is_over, is_asked;
    cq_dash_ask ask;
    cq_dash_action action;
    cq_dash_news news;
};

static const struct {
    const char *name;
    cronq_status (*of_queue)(cronq_inspector *inspector, const char *queue,
                             cronq_error *err);
    cronq_status (*of_task)(cronq_inspector *inspector, const char *queue, const char *id,
                            cronq_error *err);
} verbs[] = {
    [CQ_DASH_NOTHING] = { "", NULL, NULL },
    [CQ_DASH_PAUSE] = { "pause", cronq_inspector_pause, NULL },
    [CQ_DASH_RESUME] = { "resume", cronq_inspector_resume, NULL },
    [CQ_DASH_RUN] = { "run", NULL, cronq_inspector_run },
    [CQ_DASH_ARCHIVE] = { "archive", NULL, cronq_inspector_archive },
    [CQ_DASH_CANCEL] = { "cancel", NULL, cronq_inspector_cancel },
    [CQ_DASH_DELETE] = { "delete", NULL, cronq_inspector_delete },
};

const char *cq_dash_verb_name(cq_dash_verb verb)
{
    return verbs[verb].name;
}

static cronq_status open_inspector(cq_dash_store *store, cronq_error *err)
{
    const cronq_store_options *options =
        CRONQ_STORE_OPTIONS(.pool_size = 1, .dial_timeout_ms = STORE_TIMEOUT_MS,
                            .read_timeout_ms = STORE_TIMEOUT_MS);

    if (store->inspector)
        return CRONQ_OK;
    return cronq_inspector_new(store->uri, options, &store->inspector, err);
}

static void act(cq_dash_store *store, const cq_dash_action *action)
{
    cronq_error err = { .code = CRONQ_OK };
    cronq_status status = open_inspector(store, &err);

    if (!status && verbs[action->verb].of_queue)
        verbs[action->verb].of_queue(store->inspector, action->queue, &err);
    else if (!status)
        verbs[action->verb].of_task(store->inspector, action->queue, action->id, &err);
    pthread_mutex_lock(&store->mutex);
    store->news.is_action_over = true;
    store->news.action = *action;
    store->news.outcome = err;
    store->action.verb = CQ_DASH_NOTHING;
    pthread_mutex_unlock(&store->mutex);
    cq_event_set(&store->event);
}

/* So that the bars of the queues have no hole after a visit to another page. */
static void sample_queues(cq_dash_store *store, const cq_dash_ask *ask)
{
    cq_dash_picture *picture = NULL;

    if (ask->page == CQ_DASH_QUEUES)
        store->queues = *ask;
    else if (store->queues.limit && !cq_dash_look(store->inspector, &store->queues,
                                                  store->rates, &picture, NULL))
        cq_dash_picture_free(picture);
}

/* Other failures are answers: what was looked at is gone, not the store. */
static bool is_lost(cronq_status status)
{
    return status == CRONQ_EIO || status == CRONQ_ETIMEDOUT || status == CRONQ_EAUTH;
}

static void look(cq_dash_store *store, const cq_dash_ask *ask)
{
    cq_dash_picture *picture = NULL, *old = NULL;
    cronq_error err = { .code = CRONQ_OK };
    cronq_status status = open_inspector(store, &err);

    if (!status)
        status = cq_dash_look(store->inspector, ask, store->rates, &picture, &err);
    if (!status)
        sample_queues(store, ask);
    pthread_mutex_lock(&store->mutex);
    if (picture) {
        old = store->news.picture;
        store->news.picture = picture;
    }
    if (!is_lost(status))
        store->news.failing_since_ms = 0;
    else if (!store->news.failing_since_ms)
        store->news.failing_since_ms = cq_mono_ms();
    store->news.failure = err;
    pthread_mutex_unlock(&store->mutex);
    cq_dash_picture_free(old);
    cq_event_set(&store->event);
}

/* Waits for the next thing to do; false: it is over. */
static bool next(cq_dash_store *store, int64_t until_ns, cq_dash_ask *ask,
                 cq_dash_action *action)
{
    bool is_over;

    pthread_mutex_lock(&store->mutex);
    while (!store->is_over && !store->is_asked && !store->action.verb &&
           cq_cond_wait_until(&store->wake, &store->mutex, until_ns))
        ;
    is_over = store->is_over;
    *ask = store->ask;
    *action = store->action;
    store->is_asked = false;
    pthread_mutex_unlock(&store->mutex);
    return !is_over;
}

static void *run(void *arg)
{
    cq_dash_store *store = arg;
    int64_t until_ns = 0;
    cq_dash_ask ask;
    cq_dash_action action;

    while (next(store, until_ns, &ask, &action)) {
        if (action.verb)
            act(store, &action);
        if (ask.limit)
            look(store, &ask);
        until_ns = cq_mono_ns() + store->interval_ms * CQ_NS_PER_MS;
    }
    return NULL;
}

/* A store that is away now may come; what is no store never does. */
static bool may_come(cronq_status status)
{
    return status == CRONQ_OK || status == CRONQ_EIO || status == CRONQ_ETIMEDOUT;
}

static cronq_status start(cq_dash_store *store, cronq_error *err)
{
    cronq_error first = { .code = CRONQ_OK };
    cronq_status status = open_inspector(store, &first);

    if (!may_come(status)) {
        if (err)
            *err = first;
        return status;
    }
    store->rates = calloc(1, sizeof *store->rates);
    if (!store->rates)
        return cq_fail_nomem(err);
    store->rates->gap_ns =
        GAP_INTERVALS * (store->interval_ms + STORE_TIMEOUT_MS) * CQ_NS_PER_MS;
    return cq_event_init(&store->event, err);
}

static void release(cq_dash_store *store)
{
    cq_event_release(&store->event);
    cronq_inspector_free(store->inspector);
    cq_dash_picture_free(store->news.picture);
    pthread_mutex_destroy(&store->mutex);
    pthread_cond_destroy(&store->wake);
    free(store->rates);
    free(store);
}

cronq_status cq_dash_store_new(const char *uri, int64_t interval_ms, cq_dash_store **out,
                               cronq_error *err)
{
    cq_dash_store *store = calloc(1, sizeof *store);
    cronq_status status;

    if (!store)
        return cq_fail_nomem(err);
    store->uri = uri;
    store->interval_ms = interval_ms;
    store->event.fd = -1;
    pthread_mutex_init(&store->mutex, NULL);
    cq_cond_init(&store->wake);
    status = start(store, err);
    if (!status)
        status = cq_thread_start(&store->thread, "dash", run, store, err);
    if (status) {
        release(store);
        return status;
    }
    *out = store;
    return CRONQ_OK;
}

void cq_dash_store_free(cq_dash_store *store)
{
    if (!store)
        return;
    pthread_mutex_lock(&store->mutex);
    store->is_over = true;
    pthread_cond_signal(&store->wake);
    pthread_mutex_unlock(&store->mutex);
    pthread_join(store->thread, NULL);
    release(store);
}

int cq_dash_store_fd(const cq_dash_store *store)
{
    return store->event.fd;
}

void cq_dash_store_news(cq_dash_store *store, cq_dash_news *out)
{
    cq_event_clear(&store->event);
    pthread_mutex_lock(&store->mutex);
    *out = store->news;
    store->news.picture = NULL;
    store->news.is_action_over = false;
    pthread_mutex_unlock(&store->mutex);
}

void cq_dash_store_ask(cq_dash_store *store, const cq_dash_ask *ask)
{
    pthread_mutex_lock(&store->mutex);
    store->ask = *ask;
    store->is_asked = true;
    pthread_cond_signal(&store->wake);
    pthread_mutex_unlock(&store->mutex);
}

bool cq_dash_store_act(cq_dash_store *store, const cq_dash_action *action)
{
    bool is_free;

    pthread_mutex_lock(&store->mutex);
    is_free = store->action.verb == CQ_DASH_NOTHING;
    if (is_free)
        store->action = *action;
    pthread_cond_signal(&store->wake);
    pthread_mutex_unlock(&store->mutex);
    return is_free;
}
