/* SPDX-License-Identifier: MIT */
/* worker/deadlines.h - the thread that cancels attempts when their time is over, and
 * reports handlers that go on all the same.
 *
 * Invariant: `next` is at most the earliest deadline of a running attempt (it may be that
 * of one that has ended: then the thread wakes once for nothing). So a start costs one
 * comparison, and no structure is kept in order. */
#ifndef CQ_WORKER_DEADLINES_H
#define CQ_WORKER_DEADLINES_H

#include "worker/attempt.h"

#include <pthread.h>

typedef struct cq_deadlines {
    struct cq_worker *worker;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    _Atomic int64_t next_mono_ns;
    int64_t stuck_after_ns; /* past its deadline a handler is reported */
    bool running, stopping;
    struct cq_batch **batches; /* of one look, kept for the next */
    size_t batch_count, batch_room;
} cq_deadlines;

void cq_deadlines_init(cq_deadlines *deadlines, struct cq_worker *worker);
void cq_deadlines_release(cq_deadlines *deadlines);

cronq_status cq_deadlines_start(cq_deadlines *deadlines, cronq_error *err);
void cq_deadlines_stop(cq_deadlines *deadlines); /* not running: fine */

/* A worker thread: this attempt runs now. */
void cq_deadlines_watch(cq_deadlines *deadlines, cronq_attempt *attempt);

#endif
