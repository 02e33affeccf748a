/* SPDX-License-Identifier: MIT */
/* deadlines.c - ending the time of attempts. */
#include "worker/deadlines.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "worker/internal.h"

#include <stdlib.h>

#define STUCK_AFTER_NS (10 * CQ_NS_PER_S)
#define NO_MEMORY_NS   (10 * CQ_NS_PER_MS) /* then it is tried again */

static void report_stuck(cronq_attempt *attempt, int64_t now_ns)
{
    cq_worker *worker = attempt->worker;
    cq_log_about about = cq_attempt_about(attempt);

    about.duration_ms = (now_ns - attempt->started_at_mono_ns) / CQ_NS_PER_MS;
    attempt->stuck = true;
    cq_count(&worker->counters.stuck, 1);
    CQ_METRICS_ADD(attempt->worker->metrics, stuck, 1);
    CQ_LOG_ABOUT(&worker->logger, CRONQ_LOG_ERROR, &about,
                 "handler of %s is stuck: still running %lld s after its deadline",
                 attempt->type,
                 (long long)(worker->deadlines.stuck_after_ns / CQ_NS_PER_S));
}

/* Cancel it when its time is over; returns when to look at it again. */
static int64_t look_at(cronq_attempt *attempt, int64_t now_ns)
{
    int64_t due_ns = atomic_load(&attempt->deadline_mono_ns);

    if (attempt->stuck || cq_attempt_phase(attempt) != CQ_RUNNING || due_ns == INT64_MAX)
        return INT64_MAX;
    if (due_ns > now_ns)
        return due_ns;
    cq_attempt_cancel(attempt, CRONQ_ETIMEDOUT);
    due_ns += attempt->worker->deadlines.stuck_after_ns;
    if (due_ns > now_ns)
        return due_ns;
    report_stuck(attempt, now_ns);
    return INT64_MAX;
}

static int64_t look_at_batches(cq_deadlines *deadlines)
{
    cq_live *live = &deadlines->worker->live;
    int64_t now_ns = cq_mono_ns(), next_ns = INT64_MAX;

    if (cq_live_snapshot(live, &deadlines->batches, &deadlines->batch_count,
                         &deadlines->batch_room))
        return now_ns + NO_MEMORY_NS;
    for (size_t i = 0; i < deadlines->batch_count; i++) {
        cq_batch *batch = deadlines->batches[i];

        for (size_t j = 0; j < batch->count; j++) {
            int64_t due_ns = look_at(&batch->attempts[j], now_ns);

            next_ns = due_ns < next_ns ? due_ns : next_ns;
        }
        cq_live_drop(live, batch);
    }
    return next_ns;
}

/* The mutex is held; without it while looking. What starts meanwhile either is seen or
 * lowers `next`, which is at infinity from before the look. */
static void look(cq_deadlines *deadlines)
{
    int64_t next_ns;

    atomic_store(&deadlines->next_mono_ns, INT64_MAX);
    pthread_mutex_unlock(&deadlines->mutex);
    next_ns = look_at_batches(deadlines);
    pthread_mutex_lock(&deadlines->mutex);
    if (next_ns < atomic_load(&deadlines->next_mono_ns))
        atomic_store(&deadlines->next_mono_ns, next_ns);
}

static void *run(void *arg)
{
    cq_deadlines *deadlines = arg;

    pthread_mutex_lock(&deadlines->mutex);
    while (!deadlines->stopping) {
        int64_t next_ns = atomic_load(&deadlines->next_mono_ns);

        if (next_ns <= cq_mono_ns())
            look(deadlines);
        else if (next_ns == INT64_MAX)
            pthread_cond_wait(&deadlines->changed, &deadlines->mutex);
        else
            cq_cond_wait_until(&deadlines->changed, &deadlines->mutex, next_ns);
    }
    pthread_mutex_unlock(&deadlines->mutex);
    return NULL;
}

void cq_deadlines_init(cq_deadlines *deadlines, cq_worker *worker)
{
    *deadlines = (cq_deadlines){ .worker = worker, .stuck_after_ns = STUCK_AFTER_NS };
    atomic_init(&deadlines->next_mono_ns, INT64_MAX);
    pthread_mutex_init(&deadlines->mutex, NULL);
    cq_cond_init(&deadlines->changed);
}

void cq_deadlines_release(cq_deadlines *deadlines)
{
    free(deadlines->batches);
    pthread_cond_destroy(&deadlines->changed);
    pthread_mutex_destroy(&deadlines->mutex);
}

cronq_status cq_deadlines_start(cq_deadlines *deadlines, cronq_error *err)
{
    cronq_status status =
        cq_thread_start(&deadlines->thread, "cronq-deadline", run, deadlines, err);

    deadlines->running = status == CRONQ_OK;
    return status;
}

void cq_deadlines_stop(cq_deadlines *deadlines)
{
    if (!deadlines->running)
        return;
    pthread_mutex_lock(&deadlines->mutex);
    deadlines->stopping = true;
    pthread_cond_signal(&deadlines->changed);
    pthread_mutex_unlock(&deadlines->mutex);
    pthread_join(deadlines->thread, NULL);
    deadlines->running = false;
}

void cq_deadlines_watch(cq_deadlines *deadlines, cronq_attempt *attempt)
{
    int64_t due_ns = atomic_load(&attempt->deadline_mono_ns);

    if (due_ns >= atomic_load(&deadlines->next_mono_ns))
        return;
    pthread_mutex_lock(&deadlines->mutex);
    if (due_ns < atomic_load(&deadlines->next_mono_ns)) {
        atomic_store(&deadlines->next_mono_ns, due_ns);
        pthread_cond_signal(&deadlines->changed);
    }
    pthread_mutex_unlock(&deadlines->mutex);
}
