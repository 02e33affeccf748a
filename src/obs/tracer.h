/* SPDX-License-Identifier: MIT */
/* obs/tracer.h - what a tracer is made of; for tracer.c and span.c. */
#ifndef CQ_OBS_TRACER_H
#define CQ_OBS_TRACER_H

#include "obs/span.h"

#include <stdatomic.h>

/* Nothing but the counter changes after the making. */
struct cronq_tracer {
    cronq_span_fn *write;
    void *write_arg;
    uint64_t threshold; /* of 2^63 */
    bool retry_links;
    uint64_t low_seed, high_seed;
    _Atomic uint64_t counter;
};

#endif
