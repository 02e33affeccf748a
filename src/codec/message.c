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
