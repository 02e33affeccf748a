/* SPDX-License-Identifier: MIT */
/* dash/look.h - a picture of what was asked for, by calls of the inspector. */
#ifndef CQ_DASH_LOOK_H
#define CQ_DASH_LOOK_H

#include "dash/store.h"

/* What counters of queues were, for rates: of the queues that were looked at last. */
#define CQ_DASH_RATES_LIMIT 512

typedef struct cq_dash_rate {
    char queue[201];
    uint64_t processed_count, failed_count;
    int64_t at_ns; /* of the monotonic clock; 0: not used */
    double processed[CQ_DASH_SAMPLES], failed[CQ_DASH_SAMPLES];
    size_t sample_count;
} cq_dash_rate;

typedef struct cq_dash_rates {
    cq_dash_rate rates[CQ_DASH_RATES_LIMIT];
    int64_t gap_ns; /* a queue not seen for so long begins anew */
} cq_dash_rates;

/* A sample of the queue, at most ten a second; now_ns is of the monotonic clock. */
const cq_dash_rate *cq_dash_rates_add(cq_dash_rates *rates, const cronq_queue_info *info,
                                      int64_t now_ns);

cronq_status cq_dash_look(cronq_inspector *inspector, const cq_dash_ask *ask,
                          cq_dash_rates *rates, cq_dash_picture **out, cronq_error *err);

#endif
