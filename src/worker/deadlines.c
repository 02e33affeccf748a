/* SPDX-License-Identifier: MIT */
/* deadlines.c - ending the time of attempts. */
#include "worker/deadlines.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "worker/internal.h"

#define STUCK_AFTER_NS (10 * CQ_NS_PER_S)

typedef struct scan {
    int64_t now_ns, next_ns;
} scan;

static void report_stuck(cronq_attempt *attempt, int64_t now_ns)
{
    cq_worker *worker = attempt->worker;
    cq_log_about about = cq_attempt_about(attempt);

    about.duration_ms = (now_ns - attempt->started_at_mono_ns) / CQ_NS_PER_MS;
    attempt->stuck = true;
    cq_count(&worker->counters.stuck, 1);
    CQ_LOG_ABOUT(&worker->logger, CRONQ_LOG_ERROR, &about,
                 "handler of %s is stuck: still running %lld s after its deadline",
                 attempt->type, (long long)(STUCK_AFTER_NS / CQ_NS_PER_S));
}

static void look_at(cronq_attempt *attempt, void *arg)
{
    scan *s = arg;
    int64_t due_ns = atomic_load(&attempt->deadline_mono_ns);

    if (attempt->stuck || cq_attempt_phase(attempt) != CQ_RUNNING || due_ns == INT64_MAX)
        return;
    if (due_ns <= s->now_ns) {
        cq_attempt_cancel(attempt, CRONQ_ETIMEDOUT);
        due_ns += STUCK_AFTER_NS;
        if (due_ns <= s->now_ns) {
            report_stuck(attempt, s->now_ns);
            return;
        }
    }
    if (due_ns < s->next_ns)
        s->next_ns = due_ns;
}

/* The mutex is held; without it while looking. What starts meanwhile either is seen or
 * lowers `next`, which is at infinity from before the look. */
static void look_at_all(cq_deadlines *deadlines)
{
    scan s = { .next_ns = INT64_MAX };

    atomic_store(&deadlines->next_mono_ns, INT64_MAX);
    pthread_mutex_unlock(&deadlines->mutex);
    s.now_ns = cq_mono_ns();
    cq_live_each(&deadlines->worker->live, look_at, &s);
    pthread_mutex_lock(&deadlines->mutex);
    if (s.next_ns < atomic_load(&deadlines->next_mono_ns))
        atomic_store(&deadlines->next_mono_ns, s.next_ns);
}

static void *run(void *arg)
{
    cq_deadlines *deadlines = arg;

    pthread_mutex_lock(&deadlines->mutex);
    while (!deadlines->stopping) {
        int64_t next_ns = atomic_load(&deadlines->next_mono_ns);

        if (next_ns <= cq_mono_ns())
            look_at_all(deadlines);
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
    *deadlines = (cq_deadlines){ .worker = worker };
    atomic_init(&deadlines->next_mono_ns, INT64_MAX);
    pthread_mutex_init(&deadlines->mutex, NULL);
    cq_cond_init(&deadlines->changed);
}

void cq_deadlines_release(cq_deadlines *deadlines)
{
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
