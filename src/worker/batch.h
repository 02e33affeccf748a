/* SPDX-License-Identifier: MIT */
/* worker/batch.h - the attempts of one fetch and their memory, freed whole; and the list
 * of all batches in flight.
 *
 * Invariants: a batch is in the list from add until its last reference is dropped. The
 * fetcher holds one reference while an attempt of it is unanswered, and everyone who
 * works on attempts outside the list's mutex holds another. Batches are used again. */
#ifndef CQ_WORKER_BATCH_H
#define CQ_WORKER_BATCH_H

#include "worker/attempt.h"

#include <pthread.h>

typedef struct cq_batch {
    struct cq_batch *next, *previous;
    cq_arena arena;
    cronq_attempt *attempts;
    size_t count; /* of attempts */
    size_t open;  /* unanswered ones; the fetcher's */
    size_t references;
} cq_batch;

typedef struct cq_live {
    pthread_mutex_t mutex;
    cq_batch *first;
    cq_batch *spare;
    size_t count, spare_count;
} cq_live;

void cq_live_init(cq_live *live);
void cq_live_release(cq_live *live); /* frees all batches, answered or not */

/* An empty batch that is not in the list; NULL when out of memory. */
cq_batch *cq_live_new_batch(cq_live *live);
/* Nothing is going on: keep only a few spare ones. */
void cq_live_trim(cq_live *live);
/* One that was never added, back to the spare ones. */
void cq_live_return(cq_live *live, cq_batch *batch);

/* Into the list, with the fetcher's reference. */
void cq_live_add(cq_live *live, cq_batch *batch);
void cq_live_drop(cq_live *live, cq_batch *batch);

/* References to all batches, appended to an array that grows as needed; the caller drops
 * each. ENOMEM: none was taken. */
cronq_status cq_live_snapshot(cq_live *live, cq_batch ***batches, size_t *count,
                              size_t *room);

/* Call visit for each attempt in flight, under the mutex: it must be quick. */
void cq_live_each(cq_live *live, void (*visit)(cronq_attempt *attempt, void *arg),
                  void *arg);

#endif
