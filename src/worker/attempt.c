/* SPDX-License-Identifier: MIT */
/* attempt.c - making attempts, cancelling them, and what handlers may ask of them. */
#include "worker/attempt.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/utf8.h"
#include "worker/internal.h"
#include "worker/trace.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define MEMORY_LIMIT_BYTES ((size_t)1 << 30)
#define LOG_LINE_BYTES     2048

static cronq_status keep_headers(cronq_attempt *attempt, cq_arena *arena,
                                 cronq_error *err)
{
    const cq_message *message = &attempt->message;
    cronq_header *headers =
        cq_arena_calloc(arena, message->header_count, sizeof *headers);

    if (!headers)
        return cq_fail_nomem(err);
    for (size_t i = 0; i < message->header_count; i++) {
        const cq_header *from = &message->headers[i];

        headers[i].key = cq_arena_dup(arena, from->key.data, from->key.len);
        headers[i].value = cq_arena_dup(arena, from->value.data, from->value.len);
        if (!headers[i].key || !headers[i].value)
            return cq_fail_nomem(err);
    }
    attempt->headers = headers;
    return CRONQ_OK;
}

cronq_status cq_attempt_init(cronq_attempt *attempt, cq_worker *worker,
                             const cq_delivery *delivery, cq_arena *arena,
                             cronq_error *err)
{
    cronq_status status;

    memset(attempt, 0, sizeof *attempt);
    attempt->worker = worker;
    attempt->queue = delivery->queue;
    attempt->raw = delivery->message;
    attempt->cancel_fd = -1;
    atomic_init(&attempt->deadline_mono_ns, INT64_MAX);
    cq_buf_init(&attempt->error_text, CQ_ERROR_TEXT_LIMIT_BYTES);
    cq_buf_init(&attempt->rewritten, CQ_MESSAGE_LIMIT_BYTES);
    cq_arena_init(&attempt->memory, MEMORY_LIMIT_BYTES);
    status = cq_message_check(delivery->message, worker->queues[delivery->queue],
                              delivery->id, arena, &attempt->message, err);
    if (status)
        return status;
    attempt->id = cq_arena_dup(arena, delivery->id.data, delivery->id.len);
    attempt->type =
        cq_arena_dup(arena, attempt->message.type.data, attempt->message.type.len);
    if (!attempt->id || !attempt->type)
        return cq_fail_nomem(err);
    return attempt->message.header_count ? keep_headers(attempt, arena, err) : CRONQ_OK;
}

void cq_attempt_release(cronq_attempt *attempt)
{
    if (attempt->cancel_fd >= 0)
        close(attempt->cancel_fd);
    attempt->cancel_fd = -1;
    cq_buf_release(&attempt->error_text);
    cq_buf_release(&attempt->rewritten);
    cq_arena_release(&attempt->memory);
}

bool cq_attempt_cancel(cronq_attempt *attempt, int reason)
{
    cq_worker *worker = attempt->worker;
    bool first;

    pthread_mutex_lock(&worker->cancel_mutex);
    first = cq_attempt_phase(attempt) < CQ_FINISHED && !atomic_load(&attempt->reason);
    if (first)
        atomic_store(&attempt->reason, reason);
    if (first && attempt->cancel_fd >= 0)
        cq_event_set(&(cq_event){ attempt->cancel_fd });
    if (first && attempt->seat)
        cq_seat_cancel(attempt->seat, attempt->run, reason);
    pthread_mutex_unlock(&worker->cancel_mutex);
    return first;
}

void cq_attempt_enter_seat(cronq_attempt *attempt, cq_seat *seat, uint32_t run)
{
    cq_worker *worker = attempt->worker;
    int reason;

    pthread_mutex_lock(&worker->cancel_mutex);
    attempt->seat = seat;
    attempt->run = run;
    reason = atomic_load(&attempt->reason);
    if (reason)
        cq_seat_cancel(seat, run, reason);
    pthread_mutex_unlock(&worker->cancel_mutex);
}

void cq_attempt_leave_seat(cronq_attempt *attempt)
{
    cq_worker *worker = attempt->worker;

    pthread_mutex_lock(&worker->cancel_mutex);
    attempt->seat = NULL;
    pthread_mutex_unlock(&worker->cancel_mutex);
}

int cronq_attempt_cancel_fd(cronq_attempt *attempt)
{
    cq_worker *worker = attempt->worker;
    cq_event event;

    if (attempt->inside)
        return attempt->inside->cancelled.fd;
    pthread_mutex_lock(&worker->cancel_mutex);
    if (attempt->cancel_fd < 0 && cq_event_init(&event, NULL) == CRONQ_OK) {
        attempt->cancel_fd = event.fd;
        if (atomic_load(&attempt->reason))
            cq_event_set(&event);
    }
    pthread_mutex_unlock(&worker->cancel_mutex);
    return attempt->cancel_fd;
}

static int reason_of(const cronq_attempt *attempt)
{
    return atomic_load(attempt->inside ? &attempt->inside->run->reason
                                       : &attempt->reason);
}

bool cronq_attempt_cancelled(const cronq_attempt *attempt)
{
    return reason_of(attempt) != CRONQ_OK;
}

cronq_status cronq_attempt_cancel_reason(const cronq_attempt *attempt)
{
    int reason = reason_of(attempt);

    return reason == CQ_ABORTED ? CRONQ_ECANCELED : (cronq_status)reason;
}

const char *cronq_attempt_task_id(const cronq_attempt *attempt)
{
    return attempt->id;
}

const char *cronq_attempt_type(const cronq_attempt *attempt)
{
    return attempt->type;
}

const char *cronq_attempt_queue(const cronq_attempt *attempt)
{
    return attempt->worker->queues[attempt->queue].data;
}

cronq_bytes cronq_attempt_payload(const cronq_attempt *attempt)
{
    return attempt->message.payload;
}

int32_t cronq_attempt_retry_count(const cronq_attempt *attempt)
{
    return attempt->message.retried;
}

int32_t cronq_attempt_max_retry(const cronq_attempt *attempt)
{
    return attempt->message.max_retry;
}

const char *cronq_attempt_header(const cronq_attempt *attempt, const char *key)
{
    for (size_t i = 0; key && i < attempt->message.header_count; i++)
        if (strcmp(attempt->headers[i].key, key) == 0)
            return attempt->headers[i].value;
    return NULL;
}

size_t cronq_attempt_header_count(const cronq_attempt *attempt)
{
    return attempt->message.header_count;
}

cronq_header cronq_attempt_header_at(const cronq_attempt *attempt, size_t index)
{
    if (index >= attempt->message.header_count)
        return (cronq_header){ NULL, NULL };
    return attempt->headers[index];
}

void *cronq_attempt_user_data(const cronq_attempt *attempt)
{
    return attempt->worker->user_data;
}

void cronq_attempt_log(cronq_attempt *attempt, cronq_log_level level, const char *format,
                       ...)
{
    const cronq_logger *logger = &attempt->worker->logger;
    char raw[LOG_LINE_BYTES], text[LOG_LINE_BYTES];
    cronq_log_record record = { .struct_size = sizeof record, .duration_ms = -1 };
    va_list args;

    if (!cq_log_enabled(logger, level))
        return;
    va_start(args, format);
    vsnprintf(raw, sizeof raw, format, args);
    va_end(args);
    cq_utf8_copy(text, sizeof text, raw, strlen(raw));
    if (attempt->inside) {
        cq_inside_log(attempt, level, text);
        return;
    }
    record.level = level;
    record.at_ms = cq_wall_ns() / CQ_NS_PER_MS;
    record.text = text;
    record.task_id = attempt->id;
    record.task_type = attempt->type;
    record.queue = cronq_attempt_queue(attempt);
    cq_attempt_trace_tell(attempt, &record.trace_id, &record.span_id);
    logger->write(logger->arg, &record);
}

int64_t cronq_attempt_deadline_at_ms(const cronq_attempt *attempt)
{
    if (attempt->deadline_at_ns == INT64_MAX)
        return 0;
    return attempt->deadline_at_ns / CQ_NS_PER_MS;
}

int64_t cronq_attempt_remaining_ms(const cronq_attempt *attempt)
{
    int64_t due_ns = atomic_load(&attempt->deadline_mono_ns), left_ns;

    if (due_ns == INT64_MAX)
        return INT64_MAX;
    left_ns = due_ns - cq_mono_ns();
    return left_ns < 0 ? 0 : left_ns / CQ_NS_PER_MS;
}

void *cronq_attempt_alloc(cronq_attempt *attempt, size_t size)
{
    return cq_arena_alloc(&attempt->memory, size);
}

cronq_status cronq_attempt_write_result(cronq_attempt *attempt, cronq_bytes result,
                                        cronq_error *err)
{
    cq_worker *worker = attempt->worker;

    if (!result.data && result.len)
        return cq_fail(err, CRONQ_EINVAL, "result: NULL with a length of %zu",
                       result.len);
    if (!result.data)
        result.data = "";
    if (attempt->inside)
        return cq_inside_write_result(attempt, result, err);
    if (attempt->fence == CQ_FENCE_NONE || atomic_load(&attempt->lost))
        return cq_fail(err, CRONQ_ESTATE, "the task's lease is not ours any more");
    return worker->broker->ops->write_result(
        worker->broker, worker->queues[attempt->queue], attempt->message.id,
        attempt->fence, result, err);
}

void cq_attempt_set_text(cronq_attempt *attempt, const char *prefix, const char *text,
                         size_t len)
{
    cq_buf_reset(&attempt->error_text);
    cq_buf_append_text(&attempt->error_text, prefix);
    cq_utf8_repair(&attempt->error_text, text, len,
                   CQ_ERROR_TEXT_LIMIT_BYTES - strlen(prefix));
}

/* Keep the text, cut on a character; one that can not be kept is empty. */
static void keep_text(cronq_attempt *attempt, const char *prefix, const char *format,
                      va_list args)
{
    char *raw;
    va_list again;
    int len;

    va_copy(again, args);
    len = vsnprintf(NULL, 0, format, args);
    cq_buf_reset(&attempt->error_text);
    raw = len < 0 ? NULL : malloc((size_t)len + 1);
    if (raw) {
        vsnprintf(raw, (size_t)len + 1, format, again);
        cq_attempt_set_text(attempt, prefix, raw, (size_t)len);
    }
    va_end(again);
    free(raw);
}

cronq_status cronq_attempt_fail(cronq_attempt *attempt, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    keep_text(attempt, "", format, args);
    va_end(args);
    return CRONQ_EFAILED;
}

cronq_status cronq_attempt_skip_retry(cronq_attempt *attempt, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    keep_text(attempt, "", format, args);
    va_end(args);
    return CRONQ_ENORETRY;
}

cronq_status cronq_attempt_revoke(cronq_attempt *attempt)
{
    (void)attempt;
    return CRONQ_EREVOKED;
}

cronq_status cronq_attempt_retry_in(cronq_attempt *attempt, int64_t delay_ms,
                                    bool counted, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    keep_text(attempt, "", format, args);
    va_end(args);
    attempt->retry_asked = true;
    attempt->retry_in_ms = delay_ms;
    attempt->retry_counted = counted;
    return CRONQ_ERETRYIN;
}

void cronq_panic(cronq_attempt *attempt, const char *format, ...)
{
    cq_escape *escape = attempt->escape;
    va_list args;

    if (!escape || !pthread_equal(escape->thread, pthread_self()))
        abort();
    va_start(args, format);
    keep_text(attempt, CQ_PANIC_PREFIX, format, args);
    va_end(args);
    longjmp(escape->frame, 1);
}
