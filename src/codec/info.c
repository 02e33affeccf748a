/* SPDX-License-Identifier: MIT */
/* info.c - the tables of ServerInfo, WorkerInfo, SchedulerEntry and
 * SchedulerEnqueueEvent. */
#include "codec/info.h"

#include "base/clock.h"
#include "codec/proto.h"

#define FIELD(kind, type, member)                                     \
    {                                                                 \
        CQ_PROTO_##kind, (uint16_t)offsetof(type, member), 0, #member \
    }
#define ARRAY(kind, type, member, count)                   \
    {                                                      \
        CQ_PROTO_##kind, (uint16_t)offsetof(type, member), \
            (uint16_t)offsetof(type, count), #member       \
    }
#define TABLE(name, fields)                            \
    {                                                  \
        name, fields, sizeof fields / sizeof fields[0] \
    }

static const cq_proto_field server_fields[] = {
    FIELD(STRING, cq_server_info, host),
    FIELD(INT32, cq_server_info, pid),
    FIELD(STRING, cq_server_info, server_id),
    FIELD(INT32, cq_server_info, concurrency),
    ARRAY(WEIGHTS, cq_server_info, queues, queue_count),
    FIELD(BOOL, cq_server_info, strict_priority),
    FIELD(STRING, cq_server_info, status),
    FIELD(TIMESTAMP, cq_server_info, start_time),
    FIELD(INT32, cq_server_info, active_worker_count),
};

static const cq_proto_field worker_fields[] = {
    FIELD(STRING, cq_worker_info, host),
    FIELD(INT32, cq_worker_info, pid),
    FIELD(STRING, cq_worker_info, server_id),
    FIELD(STRING, cq_worker_info, task_id),
    FIELD(STRING, cq_worker_info, task_type),
    FIELD(BYTES, cq_worker_info, task_payload),
    FIELD(STRING, cq_worker_info, queue),
    FIELD(TIMESTAMP, cq_worker_info, start_time),
    FIELD(TIMESTAMP, cq_worker_info, deadline),
};

static const cq_proto_field entry_fields[] = {
    FIELD(STRING, cq_entry_info, id),
    FIELD(STRING, cq_entry_info, spec),
    FIELD(STRING, cq_entry_info, task_type),
    FIELD(BYTES, cq_entry_info, task_payload),
    ARRAY(STRINGS, cq_entry_info, options, option_count),
    FIELD(TIMESTAMP, cq_entry_info, next),
    FIELD(TIMESTAMP, cq_entry_info, previous),
};

static const cq_proto_field event_fields[] = {
    FIELD(STRING, cq_enqueue_event, task_id),
    FIELD(TIMESTAMP, cq_enqueue_event, enqueued_at),
};

static const cq_proto_message server_table = TABLE("server info", server_fields);
static const cq_proto_message worker_table = TABLE("worker info", worker_fields);
static const cq_proto_message entry_table = TABLE("scheduler entry", entry_fields);
static const cq_proto_message event_table = TABLE("enqueue event", event_fields);

cq_timestamp cq_timestamp_of_ns(int64_t unix_ns)
{
    int64_t nanos = unix_ns % CQ_NS_PER_S;

    if (nanos < 0)
        nanos += CQ_NS_PER_S;
    return (cq_timestamp){ unix_ns / CQ_NS_PER_S - (unix_ns % CQ_NS_PER_S < 0),
                           (int32_t)nanos };
}

cronq_status cq_server_info_encode(const cq_server_info *info, cq_buf *out,
                                   cronq_error *err)
{
    return cq_proto_encode(&server_table, info, out, err);
}

cronq_status cq_server_info_decode(cronq_bytes in, cq_arena *arena, cq_server_info *out,
                                   cronq_error *err)
{
    cq_server_info info = { 0 };
    cronq_status status = cq_proto_decode(&server_table, in, arena, &info, err);

    if (!status)
        *out = info;
    return status;
}

cronq_status cq_worker_info_encode(const cq_worker_info *info, cq_buf *out,
                                   cronq_error *err)
{
    return cq_proto_encode(&worker_table, info, out, err);
}

cronq_status cq_worker_info_decode(cronq_bytes in, cq_arena *arena, cq_worker_info *out,
                                   cronq_error *err)
{
    cq_worker_info info = { 0 };
    cronq_status status = cq_proto_decode(&worker_table, in, arena, &info, err);

    if (!status)
        *out = info;
    return status;
}

cronq_status cq_entry_info_encode(const cq_entry_info *info, cq_buf *out,
                                  cronq_error *err)
{
    return cq_proto_encode(&entry_table, info, out, err);
}

cronq_status cq_entry_info_decode(cronq_bytes in, cq_arena *arena, cq_entry_info *out,
                                  cronq_error *err)
{
    cq_entry_info info = { 0 };
    cronq_status status = cq_proto_decode(&entry_table, in, arena, &info, err);

    if (!status)
        *out = info;
    return status;
}

cronq_status cq_enqueue_event_encode(const cq_enqueue_event *event, cq_buf *out,
                                     cronq_error *err)
{
    return cq_proto_encode(&event_table, event, out, err);
}

cronq_status cq_enqueue_event_decode(cronq_bytes in, cq_arena *arena,
                                     cq_enqueue_event *out, cronq_error *err)
{
    cq_enqueue_event event = { 0 };
    cronq_status status = cq_proto_decode(&event_table, in, arena, &event, err);

    if (!status)
        *out = event;
    return status;
}
