/* SPDX-License-Identifier: MIT */
/* worker/recoverer.h - taking tasks back from workers that died, and repairing what a
 * crash between two writes left behind. Runs on the ticker. */
#ifndef CQ_WORKER_RECOVERER_H
#define CQ_WORKER_RECOVERER_H

#include "base/arena.h"

/* Ids that were active without a lease when this queue was last looked at. */
typedef struct cq_seen {
    cq_arena arena;
    cq_str *ids;
    size_t count;
} cq_seen;

typedef struct cq_recoverer {
    struct cq_worker *worker;
    cq_seen *seen; /* a queue each */
    bool *failing; /* a queue each: its last pass failed, which was logged */
} cq_recoverer;

cronq_status cq_recoverer_init(cq_recoverer *recoverer, struct cq_worker *worker,
                               cronq_error *err);
void cq_recoverer_release(cq_recoverer *recoverer);
void cq_recoverer_tick(void *recoverer);

#endif
