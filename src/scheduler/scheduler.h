/* SPDX-License-Identifier: MIT */
/* scheduler/scheduler.h - what the server needs of the scheduler beside the public API.
 */
#ifndef CQ_SCHEDULER_SCHEDULER_H
#define CQ_SCHEDULER_SCHEDULER_H

#include "broker/broker.h"

#include <cronq/scheduler.h>

/* A scheduler on a broker that somebody else owns and keeps until after
 * cronq_scheduler_free. seed_compat: entries without max_retry are pushed without
 * retries. */
cronq_status cq_scheduler_new_on(cq_broker *broker,
                                 const cronq_scheduler_options *options, bool seed_compat,
                                 cronq_scheduler **out, cronq_error *err);

/* How many entries there are. */
size_t cq_scheduler_count(cronq_scheduler *scheduler);

#endif
