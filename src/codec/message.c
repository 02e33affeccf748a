/* SPDX-License-Identifier: MIT */
/* message.c - the table of Asynq's TaskMessage. */
#include "codec/message.h"

#include "codec/proto.h"

#define FIELD(kind, member)                                                 \
    {                                                                       \
        CQ_PROTO_##kind, (uint16_t)offsetof(cq_message, member), 0, #member \
    }

static const cq_proto_field fields[] = {
    FIELD(STRING, type),
    FIELD(BYTES, payload),
    FIELD(STRING, id),
    FIELD(STRING, queue),
    FIELD(INT32, max_retry),
    FIELD(INT32, retried),
    FIELD(STRING, error_msg),
    FIELD(INT64, timeout_s),
    FIELD(INT64, deadline_at_s),
    FIELD(STRING, unique_key),
    FIELD(INT64, last_failed_at_s),
    FIELD(INT64, retention_s),
    FIELD(INT64, completed_at_s),
    FIELD(STRING, group),
    { CQ_PROTO_HEADERS, offsetof(cq_message, headers), offsetof(cq_message, header_count),
      "headers" },
};

static const cq_proto_message table = { "task", fields,
                                        sizeof fields / sizeof fields[0] };

cronq_status cq_message_encode(const cq_message *message, cq_buf *out, cronq_error *err)
{
    return cq_proto_encode(&table, message, out, err);
}

cronq_status cq_message_decode(cronq_bytes in, cq_arena *arena, cq_message *out,
                               cronq_error *err)
{
    cq_message message = { 0 };
    cronq_status status = cq_proto_decode(&table, in, arena, &message, err);

    if (!status)
        *out = message;
    return status;
}

static bool same_bytes(cronq_bytes a, cronq_bytes b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* Headers come in any order. */
static bool same_headers(const cq_message *a, const cq_message *b)
{
    if (a->header_count != b->header_count)
        return false;
    for (size_t i = 0; i < a->header_count; i++) {
        size_t j = 0;

        while (j < b->header_count && !cq_str_eq(a->headers[i].key, b->headers[j].key))
            j++;
        if (j == b->header_count || !cq_str_eq(a->headers[i].value, b->headers[j].value))
            return false;
    }
    return true;
}

bool cq_message_is_echo(cronq_bytes stored, cronq_bytes ours, cq_arena *arena)
{
    cq_message a, b;

    if (cq_message_decode(stored, arena, &a, NULL) ||
        cq_message_decode(ours, arena, &b, NULL))
        return false;
    return cq_str_eq(a.type, b.type) && same_bytes(a.payload, b.payload) &&
           cq_str_eq(a.id, b.id) && cq_str_eq(a.queue, b.queue) &&
           a.max_retry == b.max_retry && a.timeout_s == b.timeout_s &&
           a.deadline_at_s == b.deadline_at_s && cq_str_eq(a.unique_key, b.unique_key) &&
           a.retention_s == b.retention_s && cq_str_eq(a.group, b.group) &&
           same_headers(&a, &b);
}
