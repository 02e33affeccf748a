/* SPDX-License-Identifier: MIT */
/* listener.c - the thread that hears cancellations and wake-ups of the store. */
#include "base/clock.h"
#include "worker/internal.h"

#define LISTEN_MS      200
#define RETRY_FIRST_MS 100
#define RETRY_LIMIT_MS 1000

typedef struct cancellation {
    cq_str id;
    size_t count;
} cancellation;

/* The message names no queue: every task with the id is meant. One that waits for a
 * thread is withdrawn: its handler will not be called. */
static void cancel_if_named(cronq_attempt *attempt, void *arg)
{
    cancellation *c = arg;

    if (cq_str_eq(attempt->message.id, c->id))
        c->count += cq_attempt_cancel(attempt, CRONQ_ECANCELED);
}

static void on_cancel(cq_str task_id, void *arg)
{
    cq_worker *worker = arg;
    cancellation c = { .id = task_id };

    cq_live_each(&worker->live, cancel_if_named, &c);
    if (c.count)
        CQ_INFO(&worker->logger, "task %.*s is cancelled", CQ_FMT(task_id));
}

void *cq_listener_run(void *arg)
{
    cq_worker *worker = arg;
    cq_intake *intake = worker->intake;
    int64_t delay_ms = RETRY_FIRST_MS;

    while (!atomic_load(&worker->ending)) {
        if (intake->ops->listen(intake, LISTEN_MS, on_cancel, worker, NULL) == CRONQ_OK) {
            delay_ms = RETRY_FIRST_MS;
            continue;
        }
        cq_event_wait(&worker->ended, delay_ms);
        delay_ms = delay_ms * 2 < RETRY_LIMIT_MS ? delay_ms * 2 : RETRY_LIMIT_MS;
    }
    return NULL;
}
