/* SPDX-License-Identifier: MIT */
/* codec/info.h - what servers and schedulers tell about themselves: Asynq's ServerInfo,
 * WorkerInfo, SchedulerEntry and SchedulerEnqueueEvent (proto3).
 *
 * Encoding appends, decoding points into its input, arrays are in the arena; errors as in
 * codec/message.h. */
#ifndef CQ_CODEC_INFO_H
#define CQ_CODEC_INFO_H

#include "base/arena.h"
#include "base/buf.h"

#include <cronq/base.h>

/* Seconds since 1970, which may be negative, and 0 … 999,999,999 nanoseconds. */
typedef struct cq_timestamp {
    int64_t seconds;
    int32_t nanos;
} cq_timestamp;

/* Go's zero time, 0001-01-01: "never". */
#define CQ_TIMESTAMP_NEVER ((cq_timestamp){ -62135596800, 0 })

cq_timestamp cq_timestamp_of_ns(int64_t unix_ns);

typedef struct cq_queue_weight {
    cq_str name;
    int32_t weight;
} cq_queue_weight;

typedef struct cq_server_info {
    cq_str host;
    int32_t pid;
    cq_str server_id;
    int32_t concurrency;
    const cq_queue_weight *queues; /* written in the order given */
    size_t queue_count;
    bool strict_priority;
    cq_str status; /* new, active, stopped, closed */
    cq_timestamp start_time;
    int32_t active_worker_count;
} cq_server_info;

typedef struct cq_worker_info {
    cq_str host;
    int32_t pid;
    cq_str server_id, task_id, task_type;
    cronq_bytes task_payload;
    cq_str queue;
    cq_timestamp start_time, deadline;
} cq_worker_info;

typedef struct cq_entry_info {
    cq_str id, spec, task_type;
    cronq_bytes task_payload;
    const cq_str *options; /* texts of codec/option.h */
    size_t option_count;
    cq_timestamp next, previous;
} cq_entry_info;

typedef struct cq_enqueue_event {
    cq_str task_id;
    cq_timestamp enqueued_at;
} cq_enqueue_event;

cronq_status cq_server_info_encode(const cq_server_info *info, cq_buf *out,
                                   cronq_error *err);
cronq_status cq_server_info_decode(cronq_bytes in, cq_arena *arena, cq_server_info *out,
                                   cronq_error *err);
cronq_status cq_worker_info_encode(const cq_worker_info *info, cq_buf *out,
                                   cronq_error *err);
cronq_status cq_worker_info_decode(cronq_bytes in, cq_arena *arena, cq_worker_info *out,
                                   cronq_error *err);
cronq_status cq_entry_info_encode(const cq_entry_info *info, cq_buf *out,
                                  cronq_error *err);
cronq_status cq_entry_info_decode(cronq_bytes in, cq_arena *arena, cq_entry_info *out,
                                  cronq_error *err);
cronq_status cq_enqueue_event_encode(const cq_enqueue_event *event, cq_buf *out,
                                     cronq_error *err);
cronq_status cq_enqueue_event_decode(cronq_bytes in, cq_arena *arena,
                                     cq_enqueue_event *out, cronq_error *err);

#endif
