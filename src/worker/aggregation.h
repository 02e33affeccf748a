/* SPDX-License-Identifier: MIT */
/* worker/aggregation.h - a set of tasks while a user's aggregator makes one of them. */
#ifndef CQ_WORKER_AGGREGATION_H
#define CQ_WORKER_AGGREGATION_H

#include "broker/broker.h"
#include "codec/message.h"

#include <cronq/server.h>

struct cronq_aggregation {
    const cq_set *set;
    const char *queue, *group; /* NUL-terminated */
    cq_message *messages;      /* of those that can be read */
    const char **ids, **types; /* theirs, NUL-terminated */
    size_t count;
    cq_misfit *misfits;
    size_t misfit_count;
    int64_t now_ns;
    cq_arena arena;
    cq_buf merged; /* encoded; empty: none yet */
};

/* Decodes the records, which must live as long; those that can not be read, or are not
 * there, become misfits. Release it in any case. */
cronq_status cq_aggregation_init(cronq_aggregation *aggregation, const cq_set *set,
                                 const cq_record *records, size_t count, int64_t now_ns,
                                 cronq_error *err);
void cq_aggregation_release(cronq_aggregation *aggregation);

#endif
