/* SPDX-License-Identifier: MIT */
/* server/server.h - a worker and a scheduler on one broker.
 *
 * States: new -> active (start) -> stopped (stop); quiet is the worker's own matter. What
 * is registered (add, use, entries) is handed to worker and scheduler at once; the
 * broker, the worker and the scheduler exist from new to stop. */
#ifndef CQ_SERVER_SERVER_H
#define CQ_SERVER_SERVER_H

#include "base/arena.h"
#include "broker/broker.h"
#include "obs/metrics.h"
#include "scheduler/scheduler.h"
#include "worker/worker.h"

#include <cronq/server.h>
#include <pthread.h>

typedef enum cq_server_state {
    CQ_SERVER_NEW,
    CQ_SERVER_ACTIVE,
    CQ_SERVER_STOPPED,
} cq_server_state;

/* An entry whose tasks this server is to run: its queue must be served. */
typedef struct cq_own_entry {
    struct cq_own_entry *next;
    const char *pattern, *queue;
} cq_own_entry;

typedef struct cq_server_sizes cq_server_sizes;

/* What a process that works under a supervisor has from it. */
typedef struct cq_supervision {
    struct cq_ledger *ledger;
    int report_fd;
} cq_supervision;

struct cronq_server {
    pthread_mutex_t mutex; /* protects state and what changes with it */
    cq_server_state state;
    cq_arena arena; /* copies of names, from new to free */
    cronq_server_options options;
    cq_broker *broker;
    cq_worker *worker;
    cronq_scheduler *scheduler;
    cq_own_entry *own_entries;
    atomic_bool started, draining; /* draining: quiet, or being stopped */
    /* Keeps the broker while it is looked at by who must not wait for a stop: readers of
     * metrics and of readiness. Taken alone, or after mutex. */
    pthread_mutex_t looking;
    cq_server_sizes *sizes;      /* of the queues; under looking; NULL without metrics */
    cq_supervision *supervision; /* NULL: none */
    atomic_bool is_over;         /* stopped: run has nothing to wait for */
    bool abandoned; /* handlers still ran after the stop: they use all of this */
};

/* Copy, check and fill in every default; what options points to is copied to arena. */
cronq_status cq_server_resolve(const cronq_server_options *options, cq_arena *arena,
                               cronq_server_options *out, cronq_error *err);

/* measure.c: begin and end to tell the registry about queues. */
cronq_status cq_server_tell_begin(cronq_server *server, cronq_error *err);
void cq_server_tell_end(cronq_server *server);

/* cronq_server_start, or the same without pushing anything by the clock. */
cronq_status cq_server_start(cronq_server *server, bool with_scheduler, cronq_error *err);

/* run.c: cronq_server_run in this process. */
cronq_status cq_server_run_here(cronq_server *server, cronq_error *err);
/* supervise.c: cronq_server_run in others. */
cronq_status cq_server_supervise(cronq_server *server, cronq_error *err);

/* run.c: a stop, by whomever, ends the run. */
void cq_server_end_run(cronq_server *server);

/* "NAMESPACE:pattern", or a copy of the pattern without one. NULL when out of memory. */
const char *cq_server_pattern(cronq_server *server, const char *pattern);

#endif
