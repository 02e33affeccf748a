/* SPDX-License-Identifier: MIT */
/* shares.c - smooth weighted round robin over queues. */
#include "worker/shares.h"

#include <assert.h>

/* No queue owes or is owed more than this many tasks: a long drought of one queue must
 * not become a long drought of another. */
#define CREDIT_LIMIT_TASKS 1024

void cq_shares_init(cq_shares *shares, const cronq_queue *queues, size_t count,
                    bool strict)
{
    *shares = (cq_shares){ .count = count, .strict = strict };
    for (uint32_t i = 0; i < count; i++) {
        uint32_t at = i;

        shares->weights[i] = queues[i].weight;
        shares->total += queues[i].weight;
        for (; at > 0 && queues[shares->by_weight[at - 1]].weight < queues[i].weight;
             at--)
            shares->by_weight[at] = shares->by_weight[at - 1];
        shares->by_weight[at] = i;
    }
}

static void add_credit(cq_shares *shares, uint32_t queue, int64_t credit)
{
    int64_t limit = CREDIT_LIMIT_TASKS * (int64_t)shares->total;
    int64_t sum = shares->credits[queue] + credit;

    shares->credits[queue] = sum > limit ? limit : sum < -limit ? -limit : sum;
}

/* Most credit first; of equals the heaviest, because wants come in by weight. */
static void sort_by_credit(const cq_shares *shares, cq_want *wants)
{
    for (size_t i = 1; i < shares->count; i++) {
        cq_want want = wants[i];
        size_t at = i;

        for (;
             at > 0 && shares->credits[wants[at - 1].queue] < shares->credits[want.queue];
             at--)
            wants[at] = wants[at - 1];
        wants[at] = want;
    }
}

void cq_shares_plan(cq_shares *shares, uint32_t budget, cq_want *wants)
{
    int64_t total = (int64_t)shares->total;
    uint32_t rest = budget;

    for (size_t i = 0; i < shares->count; i++)
        wants[i] = (cq_want){ .queue = shares->by_weight[i] };
    if (shares->strict)
        return;
    assert(shares->count > 0 && total > 0);
    for (size_t i = 0; i < shares->count && budget; i++) {
        uint32_t queue = wants[i].queue;
        int64_t share;

        add_credit(shares, queue, (int64_t)budget * shares->weights[queue]);
        share = shares->credits[queue] / total;
        share = share < 0 ? 0 : share > rest ? rest : share;
        wants[i].share = (uint32_t)share;
        rest -= (uint32_t)share;
        shares->credits[queue] -= share * total;
    }
    sort_by_credit(shares, wants);
    for (size_t i = 0; rest; i = (i + 1) % shares->count, rest--) {
        wants[i].share++;
        shares->credits[wants[i].queue] -= total;
    }
    sort_by_credit(shares, wants);
}

/* Beyond its share: what the queue took of what others left. Short of it: it is empty. */
static int64_t beyond(const cq_want *want, const uint32_t *taken)
{
    return (int64_t)taken[want->queue] - want->share;
}

void cq_shares_settle(cq_shares *shares, const cq_want *wants, const uint32_t *taken)
{
    int64_t total = (int64_t)shares->total, extra = 0, weight_with_work = 0;

    if (shares->strict)
        return;
    for (size_t i = 0; i < shares->count; i++) {
        if (beyond(&wants[i], taken) < 0)
            continue;
        extra += beyond(&wants[i], taken);
        weight_with_work += shares->weights[wants[i].queue];
    }
    for (size_t i = 0; i < shares->count && extra; i++) {
        uint32_t queue = wants[i].queue;
        int64_t fair = extra * total / weight_with_work * shares->weights[queue];

        if (beyond(&wants[i], taken) >= 0)
            add_credit(shares, queue, fair - beyond(&wants[i], taken) * total);
    }
}
