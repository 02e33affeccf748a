/* SPDX-License-Identifier: MIT */
/* outcome.c - outcomes, and messages as they are afterwards. */
#include "worker/outcome.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/utf8.h"
#include "codec/failures.h"

#include <stdio.h>

/* A century: what is longer is for ever. */
#define FAR_S ((int64_t)100 * 366 * 24 * 3600)

int64_t cq_add_saturating(int64_t a, int64_t b)
{
    int64_t sum;

    if (__builtin_add_overflow(a, b, &sum))
        return b < 0 ? INT64_MIN : INT64_MAX;
    return sum;
}

static bool exhausted(const cq_message *message)
{
    return message->retried >= message->max_retry;
}

cq_outcome_kind cq_outcome_kind_of(const cq_ending *ending, const cq_message *message)
{
    switch (ending->status) {
    case CRONQ_OK:
        return message->retention_s > 0 ? CQ_COMPLETE : CQ_DONE;
    case CRONQ_EREVOKED:
        return CQ_DONE;
    case CRONQ_ENORETRY:
    case CRONQ_EPANIC:
        return CQ_ARCHIVE;
    case CRONQ_ERETRYIN:
        return ending->failure && exhausted(message) ? CQ_ARCHIVE : CQ_RETRY;
    default:
        if (ending->aborted)
            return CQ_GIVE_BACK;
        return ending->failure && exhausted(message) ? CQ_ARCHIVE : CQ_RETRY;
    }
}

cronq_status cq_outcome_rewrite(const cq_message *message, cq_outcome_kind kind,
                                bool failure, cq_str error_text, int64_t now_s,
                                cq_buf *out, cronq_error *err)
{
    cq_message changed = *message;
    cronq_status status;
    cq_buf repaired;

    if (kind == CQ_COMPLETE) {
        changed.completed_at_s = now_s;
        return cq_message_encode(&changed, out, err);
    }
    cq_buf_init(&repaired, CQ_ERROR_TEXT_LIMIT_BYTES);
    cq_utf8_repair(&repaired, error_text.data, error_text.len, CQ_ERROR_TEXT_LIMIT_BYTES);
    changed.error_msg = cq_buf_str(&repaired);
    changed.last_failed_at_s = now_s;
    if (kind == CQ_RETRY && failure && changed.retried < INT32_MAX)
        changed.retried++;
    status = cq_message_encode(&changed, out, err);
    cq_buf_release(&repaired);
    return status;
}

cronq_bytes cq_outcome_failure_line(const cq_message *message, cq_str error_text,
                                    const char *host, int64_t now_ns, cq_buf *out)
{
    char text[CQ_FAILURE_TEXT_LIMIT_BYTES + 1];
    const size_t start = out->len;
    cronq_failure failure = { .at_ms = now_ns / CQ_NS_PER_MS,
                              .attempt = message->retried,
                              .host = host,
                              .text = text };

    if (failure.attempt < INT32_MAX)
        failure.attempt++;
    cq_utf8_copy(text, sizeof text, error_text.data, error_text.len);
    cq_failure_append(out, &failure);
    if (out->status)
        return (cronq_bytes){ NULL, 0 };
    return (cronq_bytes){ out->data + start, out->len - start };
}

static const cq_header *deferred_header(const cq_message *message)
{
    for (size_t i = 0; i < message->header_count; i++)
        if (cq_str_eq(message->headers[i].key, CQ_STR(CQ_HEADER_DEFERRED)))
            return &message->headers[i];
    return NULL;
}

/* What is not a small number was not written by us, and ends the patience. */
int64_t cq_deferred_count(const cq_message *message)
{
    const cq_header *header = deferred_header(message);
    int64_t count = 0;

    if (!header)
        return 0;
    for (size_t i = 0; i < header->value.len; i++) {
        char digit = header->value.data[i];

        if (digit < '0' || digit > '9' || i >= 9)
            return CQ_DEFERRED_LIMIT;
        count = count * 10 + (digit - '0');
    }
    return count;
}

cronq_status cq_count_deferral(cq_message *message, cq_arena *arena, cronq_error *err)
{
    const cq_header *old = deferred_header(message);
    size_t count = message->header_count,
           place = old ? (size_t)(old - message->headers) : count;
    cq_header *headers = cq_arena_alloc(arena, (count + 1) * sizeof *headers);
    char digits[24];
    cq_str value = { digits, 0 };

    value.len = (size_t)snprintf(digits, sizeof digits, "%lld",
                                 (long long)cq_deferred_count(message) + 1);
    value.data = cq_arena_dup(arena, digits, value.len);
    if (!headers || !value.data)
        return cq_fail_nomem(err);
    if (count)
        memcpy(headers, message->headers, count * sizeof *headers);
    headers[place] = (cq_header){ CQ_STR(CQ_HEADER_DEFERRED), value };
    message->headers = headers;
    message->header_count = old ? count : count + 1;
    return CRONQ_OK;
}

int64_t cq_deadline_ns(const cq_message *message, int64_t start_ns)
{
    int64_t timeout_s = message->timeout_s, deadline_s = message->deadline_at_s;
    int64_t end_ns = INT64_MAX, fixed_ns;

    if (timeout_s == 0 && deadline_s == 0)
        timeout_s = CQ_DEFAULT_TIMEOUT_S;
    if (timeout_s > FAR_S)
        timeout_s = FAR_S;
    if (timeout_s < 0) /* ours never are; the reference takes them as over */
        return start_ns;
    if (timeout_s > 0)
        end_ns = cq_add_saturating(start_ns, timeout_s * CQ_NS_PER_S);
    if (deadline_s == 0)
        return end_ns;
    if (deadline_s > INT64_MAX / CQ_NS_PER_S)
        fixed_ns = INT64_MAX;
    else
        fixed_ns = deadline_s < 0 ? 0 : deadline_s * CQ_NS_PER_S;
    return fixed_ns < end_ns ? fixed_ns : end_ns;
}
