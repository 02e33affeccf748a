/* SPDX-License-Identifier: MIT */
/* worker/notices.h - telling the user of tasks that were archived, from a thread of its
 * own: who adds a notice never waits for the user's function.
 *
 * Invariants: at most CQ_NOTICES_LIMIT notices of CQ_NOTICES_BYTES together wait; what
 * comes on top is dropped and counted. After the end nothing is added, and what still
 * waits when the time is over is dropped too. */
#ifndef CQ_WORKER_NOTICES_H
#define CQ_WORKER_NOTICES_H

#include "base/thread.h"

#include <cronq/server.h>

#define CQ_NOTICES_LIMIT 1000
#define CQ_NOTICES_BYTES ((size_t)64 << 20)

struct cq_worker;

typedef struct cq_notice {
    cronq_task_info *task;
    size_t bytes;
} cq_notice;

typedef struct cq_notices {
    struct cq_worker *worker; /* NULL: nobody is to be told */
    pthread_t thread;
    bool running; /* the thread is to be joined */

    pthread_mutex_t mutex;
    pthread_cond_t changed;
    /* Under the mutex: */
    cq_notice *ring; /* of CQ_NOTICES_LIMIT */
    size_t first, count, bytes;
    bool busy, ending;
    bool dropping; /* since the queue was full; said once */
} cq_notices;

/* Nothing happens without on_archive in the options. */
cronq_status cq_notices_start(cq_notices *notices, struct cq_worker *worker,
                              cronq_error *err);
/* An archived task, by its message as it is stored now, and what was remembered of its
 * failure. Any thread; borrows. */
void cq_notices_add(cq_notices *notices, cronq_bytes message, cronq_bytes failure_line,
                    int64_t archived_at_ns);
/* Take no more, and wait until all are told, or the time is over. */
void cq_notices_end(cq_notices *notices, int64_t until_mono_ns);
/* Does the user's function still run? */
bool cq_notices_busy(cq_notices *notices);
void cq_notices_join(cq_notices *notices);      /* after the end */
bool cq_notices_has_ended(cq_notices *notices); /* joins it if so */
void cq_notices_release(cq_notices *notices);

#endif
