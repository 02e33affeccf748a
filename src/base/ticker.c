/* SPDX-License-Identifier: MIT */
/* ticker.c - one thread that calls components, each with a name and a period. */
#include "base/ticker.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/thread.h"

#include <stdlib.h>
#include <string.h>

struct turn {
    cq_component component;
    int64_t due_ns;
};

struct cq_ticker {
    pthread_t thread;
    pthread_mutex_t mutex; /* protects stopping and every due_ns */
    pthread_cond_t changed;
    bool stopping;
    size_t count;
    struct turn turns[];
};

static struct turn *earliest(cq_ticker *ticker)
{
    struct turn *first = &ticker->turns[0];

    for (size_t i = 1; i < ticker->count; i++)
        if (ticker->turns[i].due_ns < first->due_ns)
            first = &ticker->turns[i];
    return first;
}

static void *run(void *arg)
{
    cq_ticker *ticker = arg;

    pthread_mutex_lock(&ticker->mutex);
    while (!ticker->stopping) {
        struct turn *turn = earliest(ticker);

        if (turn->due_ns > cq_mono_ns()) {
            cq_cond_wait_until(&ticker->changed, &ticker->mutex, turn->due_ns);
            continue;
        }
        turn->due_ns = INT64_MAX;
        pthread_mutex_unlock(&ticker->mutex);
        turn->component.tick(turn->component.arg);
        pthread_mutex_lock(&ticker->mutex);
        if (turn->due_ns == INT64_MAX) /* nobody hurried it meanwhile */
            turn->due_ns = cq_mono_ns() + turn->component.period_ms * CQ_NS_PER_MS;
    }
    pthread_mutex_unlock(&ticker->mutex);
    return NULL;
}

cronq_status cq_ticker_start(const char *thread_name, const cq_component *components,
                             size_t count, cq_ticker **out, cronq_error *err)
{
    cq_ticker *ticker = calloc(1, sizeof *ticker + count * sizeof ticker->turns[0]);
    cronq_status status;

    if (!ticker)
        return cq_fail_nomem(err);
    ticker->count = count;
    for (size_t i = 0; i < count; i++) {
        ticker->turns[i].component = components[i];
        ticker->turns[i].due_ns = cq_mono_ns() + components[i].period_ms * CQ_NS_PER_MS;
    }
    pthread_mutex_init(&ticker->mutex, NULL);
    cq_cond_init(&ticker->changed);
    status = cq_thread_start(&ticker->thread, thread_name, run, ticker, err);
    if (status) {
        pthread_cond_destroy(&ticker->changed);
        pthread_mutex_destroy(&ticker->mutex);
        free(ticker);
        return status;
    }
    *out = ticker;
    return CRONQ_OK;
}

void cq_ticker_hurry(cq_ticker *ticker, const char *name)
{
    pthread_mutex_lock(&ticker->mutex);
    for (size_t i = 0; i < ticker->count; i++)
        if (strcmp(ticker->turns[i].component.name, name) == 0)
            ticker->turns[i].due_ns = cq_mono_ns();
    pthread_cond_signal(&ticker->changed);
    pthread_mutex_unlock(&ticker->mutex);
}

void cq_ticker_stop(cq_ticker *ticker)
{
    if (!ticker)
        return;
    pthread_mutex_lock(&ticker->mutex);
    ticker->stopping = true;
    pthread_cond_signal(&ticker->changed);
    pthread_mutex_unlock(&ticker->mutex);
    pthread_join(ticker->thread, NULL);
    pthread_cond_destroy(&ticker->changed);
    pthread_mutex_destroy(&ticker->mutex);
    free(ticker);
}
