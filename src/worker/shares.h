/* SPDX-License-Identifier: MIT */
/* worker/shares.h - how the attention of a worker is divided between its queues.
 *
 * Smooth weighted round robin in bulk: each plan of a budget gives every queue credit by
 * its weight and takes credit for what it is to deliver; what is left over is carried to
 * the next plan, so that shares hold in the long run whatever the budgets are. Credits
 * are in units of 1/total of a task and their sum stays near zero. Pure. */
#ifndef CQ_WORKER_SHARES_H
#define CQ_WORKER_SHARES_H

#include "broker/broker.h"

#include <cronq/server.h>

typedef struct cq_shares {
    size_t count;
    bool strict;
    uint64_t total; /* of the weights */
    uint32_t weights[CQ_QUEUES_LIMIT];
    int64_t credits[CQ_QUEUES_LIMIT];
    uint32_t by_weight[CQ_QUEUES_LIMIT]; /* indices, heaviest first */
} cq_shares;

/* count is 1 … CQ_QUEUES_LIMIT, every weight at least 1. */
void cq_shares_init(cq_shares *shares, const cronq_queue *queues, size_t count,
                    bool strict);

/* Fill wants, of shares->count places: every queue once, with the shares of this budget,
 * in the order in which the rest of the budget is to be taken. Strict: by weight alone.
 */
void cq_shares_plan(cq_shares *shares, uint32_t budget, cq_want *wants);

/* After the answer: taken[queue] tasks came of each queue. What queues took beyond their
 * share, because others were empty, is charged so that those with work share it by
 * weight. */
void cq_shares_settle(cq_shares *shares, const cq_want *wants, const uint32_t *taken);

#endif
