/* SPDX-License-Identifier: MIT */
/* base/thread.h - threads, timed waits on the monotonic clock, and events for poll(2). */
#ifndef CQ_BASE_THREAD_H
#define CQ_BASE_THREAD_H

#include <cronq/base.h>
#include <pthread.h>
#include <stdatomic.h>

/* Start a joinable thread with all signals but those of crashes blocked, so that they
 * reach the thread that the program chose, and with a name of up to 15 characters for
 * debuggers. */
cronq_status cq_thread_start(pthread_t *thread, const char *name, void *(*run)(void *),
                             void *arg, cronq_error *err);

/* How many threads this process has; 1 when it can not be told. */
size_t cq_thread_count(void);

/* A condition variable that measures waits by the monotonic clock. */
void cq_cond_init(pthread_cond_t *cond);

/* Wait until signalled or until cq_mono_ns() reaches until_ns; false when it was the
 * time. May wake early, as pthread_cond_timedwait may. */
bool cq_cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *mutex, int64_t until_ns);

/* Wait while the word has this value, at the longest until cq_mono_ns() reaches until_ns:
 * false when it was the time. May wake early. futex(2) */
bool cq_futex_wait(_Atomic uint32_t *word, uint32_t value, int64_t until_ns);
/* Wake one that waits on it; the word may be gone already. */
void cq_futex_wake(_Atomic uint32_t *word);

/* An eventfd: set by any thread, or by a signal handler; readable until cleared. */
typedef struct cq_event {
    int fd;
} cq_event;

cronq_status cq_event_init(cq_event *event, cronq_error *err);
void cq_event_release(cq_event *event);
void cq_event_set(cq_event *event);
bool cq_event_clear(cq_event *event); /* was it set? */

/* Wait until it is set (true; stays set) or timeout_ms is over; negative: for ever. */
bool cq_event_wait(cq_event *event, int64_t timeout_ms);

#endif
