/* SPDX-License-Identifier: MIT */
/* client/internal.h - what the files of this folder share.
 *
 * The way of a push: a cronq_task is checked and encoded by the thread that pushes it
 * (prepare.c), waits with those of other threads to be sent (sender.c), gets its time
 * from the store's clock when it is first sent, and becomes a cronq_task_info (task.c).
 */
#ifndef CQ_CLIENT_INTERNAL_H
#define CQ_CLIENT_INTERNAL_H

#include "base/buf.h"
#include "base/random.h"
#include "client/client.h"
#include "obs/metrics.h"
#include "obs/span.h"

#include <pthread.h>

#define CQ_PAYLOAD_BYTES_DEFAULT ((size_t)1 << 20)
#define CQ_MESSAGE_LIMIT_BYTES   ((size_t)512 << 20) /* of a value in Redis */
#define CQ_HEADER_LIMIT_COUNT    1000
#define CQ_HEADERS_LIMIT_BYTES   ((size_t)1 << 20) /* keys and values together */
#define CQ_BATCH_LIMIT_BYTES     ((size_t)4 << 20)
#define CQ_PUSH_TIMEOUT_MS       10000
#define CQ_MAX_RETRY_DEFAULT     25
#define CQ_TIMEOUT_DEFAULT_S     1800
/* Go peers hold durations in nanoseconds, and instants must be exact as scores. */
#define CQ_DURATION_LIMIT_MS ((int64_t)9223372036 * 1000)   /* 292 years */
#define CQ_INSTANT_LIMIT_MS  ((int64_t)253402300799 * 1000) /* the end of year 9999 */

typedef enum cq_when {
    CQ_WHEN_TASK, /* as the task says */
    CQ_WHEN_IN,
    CQ_WHEN_AT,
} cq_when;

/* What a push asks for beside the task. All zero is an ordinary push. */
typedef struct cq_ask {
    cq_when when;
    int64_t when_ms;
    const char *tick_entry; /* of a cron entry; NULL: not a tick */
    int64_t tick_at_s;
    bool skip_overlap;
} cq_ask;

/* A task that was checked and encoded. Borrows what the caller's task points to. */
typedef struct cq_prepared {
    cq_push push;    /* kind, run_at_ms and unique_ttl_s are set by cq_prepared_stamp */
    cronq_task task; /* with the time of the ask in it */
    int32_t max_retry;
    int64_t timeout_s, deadline_at_s;
    size_t header_count; /* in the message */
    bool stamped;
    bool settled; /* push.status is final: not to be sent (again) */
    char uuid[CQ_UUID_LEN + 1];
    cq_buf id, unique_key, message;
    cq_span_id span;                          /* of this push; zeros without a tracer */
    char traceparent[CQ_TRACEPARENT_LEN + 1]; /* that the task gets; empty: its own */
    cronq_task_info
        *info; /* made beforehand: what was stored is never reported as ENOMEM */
} cq_prepared;

typedef struct cq_prepare_rules {
    size_t payload_limit_bytes;
    int64_t now_ns; /* for deadlines that are over */
    const char *new_id;
    bool want_info;
    cronq_tracer *tracer; /* or NULL */
} cq_prepare_rules;

/* Release prepared after success and after failure. */
cronq_status cq_prepare(const cronq_task *task, const cq_ask *ask,
                        const cq_prepare_rules *rules, cq_prepared *prepared,
                        cronq_error *err);
void cq_prepared_release(cq_prepared *prepared);

/* The first time it is sent: what its times mean by the store's clock. */
void cq_prepared_stamp(cq_prepared *prepared, int64_t now_ns);

/* After it was stored; the caller owns the info then. */
cronq_task_info *cq_prepared_take_info(cq_prepared *prepared);

cronq_status cq_task_info_new(const cq_prepared *prepared, cronq_task_info **out,
                              cronq_error *err);
/* State and time, which are known once the task is stamped. */
void cq_task_info_set_place(cronq_task_info *info, const cq_push *push);

/* Joins what threads push at the same time. */
typedef struct cq_sender cq_sender;

/* metrics may be NULL. */
cronq_status cq_sender_new(cq_broker *broker, const cronq_logger *logger,
                           cronq_metrics *metrics, cq_sender **out, cronq_error *err);
void cq_sender_free(cq_sender *sender);

/* Send those that are not settled, and return when all are: each has its status. At most
 * CQ_BATCH_LIMIT items, and CQ_BATCH_LIMIT_BYTES when there is more than one. *why says
 * what was wrong with the store, if anything was; its code is returned when that is why
 * an item was not stored. */
cronq_status cq_sender_push(cq_sender *sender, cq_prepared *items, size_t count,
                            int64_t timeout_ms, cronq_error *why);

struct cronq_client {
    cq_broker *broker;
    bool owns_broker;
    size_t payload_limit_bytes;
    int64_t push_timeout_ms;
    cronq_metrics *metrics; /* or NULL */
    cronq_tracer *tracer;   /* or NULL */
    cq_sender *sender;
    pthread_mutex_t random_mutex;
    cq_random random;
};

/* Check, encode, send, tell. */
cronq_status cq_client_push_one(cronq_client *client, const cronq_task *task,
                                const cq_ask *ask, cronq_task_info **info,
                                cronq_error *err);

/* Its steps. Release out after success and after failure; why is about the store. */
cronq_status cq_client_prepare(cronq_client *client, const cronq_task *task,
                               const cq_ask *ask, bool want_info, cq_prepared *out,
                               cronq_error *err);
cronq_status cq_client_explain(const cq_prepared *item, const cronq_error *why,
                               cronq_error *err);

/* Was it a push of ours? A tick that another scheduler has pushed, or that is skipped, is
 * none. */
bool cq_is_push(const cq_push *push);

/* trace.c: what the task is pushed under, from the task and the tracer. EINVAL. */
cronq_status cq_client_take_trace(cq_prepared *prepared, const cq_ask *ask,
                                  cronq_tracer *tracer, cronq_error *err);
/* The push of this item is over. */
void cq_client_trace(cronq_client *client, const cq_prepared *item);

/* measure.c: a push of this item is over, after ns. */
void cq_client_measure(cronq_client *client, const cq_prepared *item, int64_t ns);
void cq_client_tell(void *client, cq_collection *out);

#endif
