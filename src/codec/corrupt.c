/* SPDX-License-Identifier: MIT */
/* corrupt.c - messages that are not what they should be, and what stands for them. */
#include "codec/message.h"

#include "base/error.h"
#include "base/utf8.h"

#define ID_LIMIT_BYTES ((size_t)16 * 1024)

cronq_status cq_message_replace(cq_str queue, cq_str id, const char *why, int64_t now_s,
                                cq_buf *out, cronq_error *err)
{
    cq_message message = { .type = CQ_STR("corrupt"), .queue = queue };
    cronq_status status;
    cq_buf repaired;

    cq_buf_init(&repaired, ID_LIMIT_BYTES);
    cq_utf8_repair(&repaired, id.data, id.len, ID_LIMIT_BYTES);
    message.id = cq_buf_str(&repaired);
    message.error_msg = cq_str_of(why);
    message.last_failed_at_s = now_s;
    status = cq_message_encode(&message, out, err);
    cq_buf_release(&repaired);
    return status;
}

cronq_status cq_message_check(cronq_bytes bytes, cq_str queue, cq_str id, cq_arena *arena,
                              cq_message *out, cronq_error *err)
{
    cq_message message;
    cronq_status status = cq_message_decode(bytes, arena, &message, err);

    if (status)
        return status;
    if (!cq_str_eq(message.id, id))
        return cq_fail(err, CRONQ_EPROTO, "message of another task: id %.*s",
                       CQ_FMT(message.id));
    if (!cq_str_eq(message.queue, queue))
        return cq_fail(err, CRONQ_EPROTO, "message of another queue: %.*s",
                       CQ_FMT(message.queue));
    *out = message;
    return CRONQ_OK;
}
