/* SPDX-License-Identifier: MIT */
/* worker/outcome.h - what the end of an attempt makes of its task: pure functions. */
#ifndef CQ_WORKER_OUTCOME_H
#define CQ_WORKER_OUTCOME_H

#include "broker/broker.h"
#include "codec/message.h"

#define CQ_ERROR_TEXT_LIMIT_BYTES ((size_t)16 * 1024)
#define CQ_MESSAGE_LIMIT_BYTES    ((size_t)1 << 30)
#define CQ_DEFAULT_TIMEOUT_S      ((int64_t)30 * 60)

/* Texts that the reference's tools know. */
#define CQ_TEXT_TIMED_OUT     "context deadline exceeded"
#define CQ_TEXT_CANCELED      "context canceled"
#define CQ_TEXT_CANCELLED     "cancelled" /* ours: not retried */
#define CQ_TEXT_LEASE_EXPIRED "asynq: task lease expired"
#define CQ_PANIC_PREFIX       "panic: "

/* How an attempt ended. */
typedef struct cq_ending {
    cronq_status status; /* what the handler returned, or why it was stopped */
    bool failure;        /* it counts: uses up a retry, is counted */
    bool aborted;        /* the server stops: not the task's fault */
} cq_ending;

cq_outcome_kind cq_outcome_kind_of(const cq_ending *ending, const cq_message *message);

/* Append the line to remember of a failure, and return where it is; without memory
 * nothing. */
cronq_bytes cq_outcome_failure_line(const cq_message *message, cq_str error_text,
                                    const char *host, int64_t now_ns, cq_buf *out);

/* Append the encoding of the message as it is after an outcome of this kind (RETRY,
 * ARCHIVE, COMPLETE), with the error text repaired and cut. */
cronq_status cq_outcome_rewrite(const cq_message *message, cq_outcome_kind kind,
                                bool failure, cq_str error_text, int64_t now_s,
                                cq_buf *out, cronq_error *err);

/* A task that asks again and again for an uncounted retry says so in a header, which
 * every store and every peer keeps: how often it was granted, and one more of them. The
 * message gets headers in the arena, which outlives it. */
#define CQ_HEADER_DEFERRED "cronq-deferred"
#define CQ_DEFERRED_LIMIT  1000
int64_t cq_deferred_count(const cq_message *message);
cronq_status cq_count_deferral(cq_message *message, cq_arena *arena, cronq_error *err);

/* The end of an attempt that starts at start_ns: the earlier of its timeout and its
 * deadline, 30 minutes without either. Saturates. */
int64_t cq_deadline_ns(const cq_message *message, int64_t start_ns);

/* Saturating sum, for instants that come from the store. */
int64_t cq_add_saturating(int64_t a, int64_t b);

#endif
