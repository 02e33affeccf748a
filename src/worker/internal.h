/* SPDX-License-Identifier: MIT */
/* worker/internal.h - a worker's parts, and the threads they live in.
 *
 * Locks, in the order in which they may be taken: state, live, cancel. The mutexes of
 * the desk and of the deadlines are taken alone. No lock is held during a call of the
 * broker or of user code. */
#ifndef CQ_WORKER_INTERNAL_H
#define CQ_WORKER_INTERNAL_H

#include "base/log.h"
#include "base/thread.h"
#include "base/ticker.h"
#include "obs/metrics.h"
#include "worker/aggregator.h"
#include "worker/batch.h"
#include "worker/counters.h"
#include "worker/deadlines.h"
#include "worker/desk.h"
#include "worker/fetcher.h"
#include "worker/heartbeat.h"
#include "worker/isolation.h"
#include "worker/ledger.h"
#include "worker/mux.h"
#include "worker/notices.h"
#include "worker/recoverer.h"
#include "worker/worker.h"

typedef enum cq_worker_state {
    CQ_WORKER_NEW,
    CQ_WORKER_ACTIVE,
    CQ_WORKER_STOPPED,
} cq_worker_state;

typedef struct cq_hand {
    cq_worker *worker;
    pthread_t thread;
    cq_random random;
} cq_hand;

/* A thread as it was seen: how often it had gone round, and since when that stands. */
typedef struct cq_pulse {
    uint64_t turns;
    int64_t since_ns; /* 0: not looked at yet */
} cq_pulse;

struct cq_worker {
    cq_broker *broker;
    const cronq_server_options *options;
    cronq_logger logger;
    cronq_metrics *metrics; /* or NULL */
    cronq_tracer *tracer;   /* or NULL */
    cq_str *queues;         /* as in options, in its order */
    void *user_data;
    cq_mux mux;
    cq_worker_counters counters;

    pthread_mutex_t state_mutex; /* state, running */
    cq_worker_state state;
    size_t left_running; /* after the stop */

    cq_intake *intake;
    cq_live live;
    cq_desk desk;
    pthread_mutex_t cancel_mutex; /* cancel_fd of all attempts */
    cq_fetcher fetcher;
    cq_deadlines deadlines;
    cq_heartbeat heartbeat;
    cq_recoverer recoverer;
    cq_isolation isolation;
    cq_ledger *ledger; /* or NULL */
    cq_ticker *ticker;
    cq_aggregator aggregator;
    cq_notices notices;
    pthread_t listener;
    bool listening;
    cq_hand *hands;
    size_t hand_count;
    atomic_bool quiet;          /* fetch no more */
    atomic_bool ending;         /* the other threads leave */
    const atomic_bool *hurried; /* NULL: nobody hurries a stop */
    cq_pulse pulses[2];         /* of fetcher and heartbeat, as last looked at */
    cq_event ended;             /* set with `ending` */
};

static inline int64_t cq_now_ns(cq_worker *worker)
{
    return worker->broker->ops->now_ns(worker->broker);
}

static inline cq_log_about cq_attempt_about(const cronq_attempt *attempt)
{
    return (cq_log_about){ .task_id = attempt->id,
                           .task_type = attempt->type,
                           .queue = attempt->worker->queues[attempt->queue].data,
                           .duration_ms = -1 };
}

/* listener.c */
void *cq_listener_run(void *worker);

/* components.c: janitor, health check, clock, forwarder, recoverer. */
cronq_status cq_components_start(cq_worker *worker, cronq_error *err);

#endif
