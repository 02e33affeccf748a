/* SPDX-License-Identifier: MIT */
/* worker/aggregator.h - merging the tasks of groups that are due, in threads of its own.
 *
 * A dispatcher (a ticker) looks for groups that are due and gives each to a merger, a
 * thread that takes the group's oldest tasks into a set, lets the user's aggregator make
 * one task of them, and puts that into the place of the set. While a merger has a group
 * nobody else of this worker takes it; a slow one holds up nobody but itself, as long as
 * a merger is free.
 *
 * Steps of a merger's state, and who makes them:
 *   FREE ──dispatcher──> ASKED ──merger──> BUSY ──merger──> FREE */
#ifndef CQ_WORKER_AGGREGATOR_H
#define CQ_WORKER_AGGREGATOR_H

#include "base/random.h"
#include "base/thread.h"
#include "base/ticker.h"
#include "broker/broker.h"

#define CQ_MERGERS 4

typedef enum cq_merger_state {
    CQ_MERGER_FREE,
    CQ_MERGER_ASKED,
    CQ_MERGER_BUSY
} cq_merger_state;

struct cq_aggregator;

typedef struct cq_merger {
    struct cq_aggregator *aggregator;
    pthread_t thread;
    bool running; /* the thread is to be joined */
    cq_random random;

    /* Under the aggregator's mutex: */
    cq_merger_state state;
    size_t queue;
    char *group;                  /* its own */
    char set_id[CQ_UUID_LEN + 1]; /* BUSY with a set: not empty */
    int64_t extended_mono_ns;
} cq_merger;

typedef struct cq_aggregator {
    struct cq_worker *worker; /* NULL: not started */
    cq_group_rules rules;
    cq_ticker *ticker;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool quiet;   /* under mutex: begin no more */
    bool failing; /* the dispatcher's: said that the store is away */
    cq_merger mergers[CQ_MERGERS];
} cq_aggregator;

/* Nothing happens without an aggregator in the options. */
cronq_status cq_aggregator_start(cq_aggregator *aggregator, struct cq_worker *worker,
                                 cronq_error *err);
/* Begin nothing more; what is under way goes on. */
void cq_aggregator_quiet(cq_aggregator *aggregator);
/* Until nothing is under way, or the time is over. */
void cq_aggregator_wait(cq_aggregator *aggregator, int64_t until_mono_ns);
size_t cq_aggregator_busy(cq_aggregator *aggregator);
/* End the threads: those of mergers only with_mergers. */
void cq_aggregator_join(cq_aggregator *aggregator, bool with_mergers);
/* Join those that have ended by now; are there none left? */
bool cq_aggregator_has_ended(cq_aggregator *aggregator);
void cq_aggregator_release(cq_aggregator *aggregator);

#endif
