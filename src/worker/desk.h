/* SPDX-License-Identifier: MIT */
/* worker/desk.h - where the fetcher and the worker threads hand attempts to each other.
 *
 * Invariants: waiting attempts are in the order in which they were fetched. Of the
 * sleeping threads at most one is being woken at a time, and it wakes the next while
 * there is more: so short tasks are done by few threads, and long ones wake them all.
 * Where a wake-up costs more than the tasks do (brief), one thread does them all, and the
 * fetcher nudges another when an attempt has waited for too long.
 * Finished attempts are on a stack without a lock. */
#ifndef CQ_WORKER_DESK_H
#define CQ_WORKER_DESK_H

#include "worker/attempt.h"

#include <pthread.h>

typedef struct cq_desk {
    pthread_mutex_t mutex;
    pthread_cond_t more;
    cronq_attempt *first, *last;
    size_t sleepers, busy; /* threads: waiting here, and the others */
    bool waking, closed;
    atomic_bool brief;                 /* the fetcher says so */
    _Atomic(cronq_attempt *) finished; /* newest first */
} cq_desk;

void cq_desk_init(cq_desk *desk);
void cq_desk_release(cq_desk *desk);

/* The fetcher: are handlers so short that one thread should do them? */
void cq_desk_set_brief(cq_desk *desk, bool brief);
/* The fetcher: wake a thread for what waits since before then; true while more may. */
bool cq_desk_nudge(cq_desk *desk, int64_t before_mono_ns);

/* The fetcher: append a chain of attempts. */
void cq_desk_put(cq_desk *desk, cronq_attempt *first, cronq_attempt *last);
/* A worker thread that is busy: the oldest one; NULL when there is none. It stays busy.
 */
cronq_attempt *cq_desk_try(cq_desk *desk);
/* The same, waiting for it, when it is busy no more; NULL once the desk is closed. */
cronq_attempt *cq_desk_take(cq_desk *desk, bool busy);
/* A worker thread that has one: the next, if fits says so; NULL: not. */
typedef bool cq_desk_fits_fn(cronq_attempt *attempt, void *arg);
cronq_attempt *cq_desk_take_more(cq_desk *desk, cq_desk_fits_fn *fits, void *arg);
/* A worker thread: back to the front, it was not started. */
void cq_desk_put_back(cq_desk *desk, cronq_attempt *attempt);
bool cq_desk_is_brief(const cq_desk *desk);
bool cq_desk_is_empty(cq_desk *desk);
void cq_desk_close(cq_desk *desk);

/* The fetcher: when was the oldest of those that wait put there? INT64_MAX: none do. */
int64_t cq_desk_oldest_mono_ns(cq_desk *desk);
/* Take back all that wait, oldest first; with if_busy not while a thread could take them.
 */
cronq_attempt *cq_desk_take_back(cq_desk *desk, bool if_busy);

/* A worker thread: it has ended. */
void cq_desk_finish(cq_desk *desk, cronq_attempt *attempt);
/* The fetcher: all that have ended since, oldest first. */
cronq_attempt *cq_desk_collect(cq_desk *desk);

static inline bool cq_desk_has_finished(cq_desk *desk)
{
    return atomic_load(&desk->finished) != NULL;
}

#endif
