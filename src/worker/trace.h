/* SPDX-License-Identifier: MIT */
/* worker/trace.h - the span of an attempt.
 *
 * It is on the stack of the thread that runs the attempt, from begin to end, and nobody
 * else looks at it. */
#ifndef CQ_WORKER_TRACE_H
#define CQ_WORKER_TRACE_H

#include "obs/span.h"
#include "worker/attempt.h"

typedef struct cq_attempt_trace {
    cq_span_id id;
    char traceparent[CQ_TRACEPARENT_LEN + 1];
    char trace_id[33], span_id[17]; /* for log lines */
    char link[CQ_TRACEPARENT_LEN + 1];
    cronq_span span; /* only when it is recorded */
} cq_attempt_trace;

/* With a tracer. */
void cq_attempt_trace_begin(cronq_attempt *attempt, cq_attempt_trace *trace);
void cq_attempt_trace_end(cronq_attempt *attempt);
/* Its outcome is this failure. */
void cq_attempt_trace_fail(cronq_attempt *attempt, cronq_status status, cq_str text);
/* For a log line; untouched without a tracer. */
void cq_attempt_trace_tell(const cronq_attempt *attempt, const char **trace_id,
                           const char **span_id);

#endif
