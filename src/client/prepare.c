/* SPDX-License-Identifier: MIT */
/* prepare.c - from a task as the user wrote it to what the broker stores. */
#include "base/clock.h"
#include "base/error.h"
#include "base/options.h"
#include "base/utf8.h"
#include "client/internal.h"
#include "codec/key.h"
#include "codec/message.h"

#include <stdlib.h>

#define FEW_HEADERS  8 /* no more are not worth an allocation */
#define KEY_ROOM     (CQ_NAME_LIMIT_BYTES + CQ_ID_LIMIT_BYTES + 64)
#define MESSAGE_ROOM 4096 /* of a message, beside its payload and headers */

static cronq_status check_duration(const char *field, int64_t ms, cronq_error *err)
{
    if (ms < 0)
        return cq_fail(err, CRONQ_EINVAL, "%s is %lld; it must not be negative", field,
                       (long long)ms);
    if (ms > CQ_DURATION_LIMIT_MS)
        return cq_fail(err, CRONQ_EINVAL, "%s is %lld; at most %lld (292 years)", field,
                       (long long)ms, (long long)CQ_DURATION_LIMIT_MS);
    return CRONQ_OK;
}

static cronq_status check_instant(const char *field, int64_t at_ms, cronq_error *err)
{
    if (at_ms <= CQ_INSTANT_LIMIT_MS)
        return CRONQ_OK;
    return cq_fail(err, CRONQ_EINVAL, "%s is %lld; at most %lld (the year 9999)", field,
                   (long long)at_ms, (long long)CQ_INSTANT_LIMIT_MS);
}

/* The task's own time, or the one of push_in and push_at; not both. */
static cronq_status take_time(cq_prepared *prepared, const cq_ask *ask, cronq_error *err)
{
    cronq_task *task = &prepared->task;

    if (ask->when != CQ_WHEN_TASK && (task->process_at_ms || task->process_in_ms))
        return cq_fail(
            err, CRONQ_EINVAL,
            "the task has a time of its own (%s is %lld) beside the one of "
            "the call",
            task->process_at_ms ? "process_at_ms" : "process_in_ms",
            (long long)(task->process_at_ms ? task->process_at_ms : task->process_in_ms));
    if (task->process_at_ms && task->process_in_ms)
        return cq_fail(err, CRONQ_EINVAL,
                       "process_at_ms is %lld and process_in_ms is %lld; only one of "
                       "them may be set",
                       (long long)task->process_at_ms, (long long)task->process_in_ms);
    if (ask->when == CQ_WHEN_IN)
        task->process_in_ms = ask->when_ms;
    if (ask->when == CQ_WHEN_AT)
        task->process_at_ms = ask->when_ms;
    if (check_duration(ask->when == CQ_WHEN_IN ? "delay_ms" : "process_in_ms",
                       task->process_in_ms, err))
        return CRONQ_EINVAL;
    return check_instant(ask->when == CQ_WHEN_AT ? "at_ms" : "process_at_ms",
                         task->process_at_ms, err);
}

static cronq_status check_unique(int64_t unique_for_ms, cronq_error *err)
{
    if (unique_for_ms > 0 && unique_for_ms < CQ_MS_PER_S)
        return cq_fail(err, CRONQ_EINVAL, "unique_for_ms is %lld; it must be at least %d",
                       (long long)unique_for_ms, (int)CQ_MS_PER_S);
    return check_duration("unique_for_ms", unique_for_ms, err);
}

static cronq_status check_deadline(int64_t deadline_at_ms, int64_t now_ns,
                                   cronq_error *err)
{
    int64_t now_ms = now_ns / CQ_NS_PER_MS;

    if (deadline_at_ms == 0)
        return CRONQ_OK;
    if (deadline_at_ms <= now_ms)
        return cq_fail(err, CRONQ_EINVAL,
                       "deadline_at_ms is %lld, which is over: it is %lld now",
                       (long long)deadline_at_ms, (long long)now_ms);
    return check_instant("deadline_at_ms", deadline_at_ms, err);
}

static cronq_status take_limits(cq_prepared *prepared, int64_t now_ns, cronq_error *err)
{
    const cronq_task *task = &prepared->task;

    if (check_duration("timeout_ms", task->timeout_ms, err) ||
        check_duration("retain_for_ms", task->retain_for_ms, err) ||
        check_unique(task->unique_for_ms, err) ||
        check_deadline(task->deadline_at_ms, now_ns, err))
        return CRONQ_EINVAL;
    prepared->timeout_s = cq_seconds_up(task->timeout_ms);
    prepared->deadline_at_s = cq_seconds_up(task->deadline_at_ms);
    if (!prepared->timeout_s && !prepared->deadline_at_s)
        prepared->timeout_s = CQ_TIMEOUT_DEFAULT_S;
    prepared->max_retry = task->max_retry == 0  ? CQ_MAX_RETRY_DEFAULT
                          : task->max_retry < 0 ? 0
                                                : task->max_retry;
    return CRONQ_OK;
}

static cronq_status check_payload(cronq_bytes payload, size_t limit_bytes,
                                  cronq_error *err)
{
    if (!payload.data && payload.len)
        return cq_fail(err, CRONQ_EINVAL, "payload.data is NULL but payload.len is %zu",
                       payload.len);
    if (payload.len > limit_bytes)
        return cq_fail(err, CRONQ_ETOOBIG, "payload has %zu bytes; at most %zu",
                       payload.len, limit_bytes);
    return CRONQ_OK;
}

/* "header 3 ("KEY") " and why. */
static cronq_status refuse_header(size_t index, cq_str key, const char *why,
                                  cronq_error *err)
{
    cq_buf quoted;

    cq_buf_init(&quoted, 1024);
    cq_quote_value(&quoted, key);
    cq_fail(err, CRONQ_EINVAL, "header %zu, %.*s: %s", index, CQ_FMT(cq_buf_str(&quoted)),
            why);
    cq_buf_release(&quoted);
    return CRONQ_EINVAL;
}

static cronq_status check_header(const cq_header *headers, size_t index, cronq_error *err)
{
    const cq_header *header = &headers[index];

    if (header->key.len == 0)
        return refuse_header(index, header->key, "the key is empty", err);
    if (!cq_utf8_valid(header->key.data, header->key.len))
        return refuse_header(index, header->key, "the key is not valid UTF-8", err);
    if (!cq_utf8_valid(header->value.data, header->value.len))
        return refuse_header(index, header->key, "the value is not valid UTF-8", err);
    for (size_t i = 0; i < index; i++)
        if (cq_str_eq(headers[i].key, header->key))
            return refuse_header(index, header->key, "the key is there twice", err);
    return CRONQ_OK;
}

/* In the place of the header that the task has, or behind the others. */
static void put_traceparent(cq_prepared *prepared, cq_header *headers)
{
    cq_header ours = { CQ_STR(CQ_HEADER_TRACEPARENT), cq_str_of(prepared->traceparent) };
    size_t i = 0;

    if (ours.value.len == 0)
        return;
    while (i < prepared->header_count && !cq_str_eq(headers[i].key, ours.key))
        i++;
    if (i == prepared->header_count)
        prepared->header_count++;
    headers[i] = ours;
}

static cronq_status check_header_count(const cronq_task *task, cronq_error *err)
{
    if (task->header_count && !task->headers)
        return cq_fail(err, CRONQ_EINVAL, "headers is NULL but header_count is %zu",
                       task->header_count);
    if (task->header_count > CQ_HEADER_LIMIT_COUNT)
        return cq_fail(err, CRONQ_ETOOBIG, "header_count is %zu; at most %d",
                       task->header_count, CQ_HEADER_LIMIT_COUNT);
    return CRONQ_OK;
}

/* Into an array of one more than the task has, of which prepared->header_count are used;
 * *bytes is what they hold. */
static cronq_status take_headers(cq_prepared *prepared, cq_header *headers, size_t *bytes,
                                 cronq_error *err)
{
    const cronq_task *task = &prepared->task;
    size_t total = 0;

    for (size_t i = 0; i < task->header_count; i++) {
        headers[i].key = cq_str_of(task->headers[i].key);
        headers[i].value = cq_str_of(task->headers[i].value);
        total += headers[i].key.len + headers[i].value.len;
        if (check_header(headers, i, err))
            return CRONQ_EINVAL;
    }
    if (total > CQ_HEADERS_LIMIT_BYTES)
        return cq_fail(err, CRONQ_ETOOBIG, "headers have %zu bytes; at most %zu", total,
                       CQ_HEADERS_LIMIT_BYTES);
    prepared->header_count = task->header_count;
    put_traceparent(prepared, headers);
    *bytes = total;
    return CRONQ_OK;
}

static cronq_status take_id(cq_prepared *prepared, const cq_ask *ask,
                            const cq_prepare_rules *rules, cronq_error *err)
{
    const char *prefix = prepared->task.id ? prepared->task.id : ask->tick_entry;

    if (!prefix) {
        memcpy(prepared->uuid, rules->new_id, sizeof prepared->uuid);
        prepared->push.id = cq_str_of(prepared->uuid);
        prepared->push.id_is_ours = true;
        return CRONQ_OK;
    }
    if (cq_check_task_id(cq_str_of(prefix), err))
        return CRONQ_EINVAL;
    cq_buf_append_text(&prepared->id, prefix);
    if (ask->tick_entry) {
        cq_buf_append_char(&prepared->id, ':');
        cq_buf_append_int(&prepared->id, ask->tick_at_s);
        prepared->push.tick_entry = cq_str_of(ask->tick_entry);
        prepared->push.tick_at_s = ask->tick_at_s;
        prepared->push.skip_overlap = ask->skip_overlap;
    }
    if (prepared->id.status)
        return cq_fail_nomem(err);
    prepared->push.id = cq_buf_str(&prepared->id);
    return cq_check_task_id(prepared->push.id, err);
}

static cronq_status take_names(cq_prepared *prepared, cronq_error *err)
{
    const cronq_task *task = &prepared->task;
    cq_push *push = &prepared->push;

    if (!task->type)
        return cq_fail(err, CRONQ_EINVAL, "the task has no type");
    if (task->flags)
        return cq_fail(err, CRONQ_EINVAL, "flags is %u; none are known", task->flags);
    if (cq_check_type(cq_str_of(task->type), err))
        return CRONQ_EINVAL;
    push->queue = task->queue ? cq_str_of(task->queue) : CQ_STR("default");
    if (cq_check_queue(push->queue, err))
        return CRONQ_EINVAL;
    if (!task->group)
        return CRONQ_OK;
    push->group = cq_str_of(task->group);
    return cq_check_group(push->group, err);
}

static cronq_status take_unique_key(cq_prepared *prepared, cronq_error *err)
{
    const cronq_task *task = &prepared->task;

    if (task->unique_for_ms == 0)
        return CRONQ_OK;
    cq_key_unique(&prepared->unique_key, prepared->push.queue, cq_str_of(task->type),
                  task->payload);
    if (prepared->unique_key.status)
        return cq_fail(err, prepared->unique_key.status,
                       "cannot make the key of the uniqueness lock: %s",
                       cronq_status_text(prepared->unique_key.status));
    prepared->push.unique_key = cq_buf_str(&prepared->unique_key);
    return CRONQ_OK;
}

static cronq_status encode(cq_prepared *prepared, const cq_header *headers,
                           cronq_error *err)
{
    const cronq_task *task = &prepared->task;
    const cq_push *push = &prepared->push;
    cq_message message = {
        .type = cq_str_of(task->type),
        .payload = task->payload,
        .id = push->id,
        .queue = push->queue,
        .max_retry = prepared->max_retry,
        .timeout_s = prepared->timeout_s,
        .deadline_at_s = prepared->deadline_at_s,
        .unique_key = push->unique_key,
        .retention_s = cq_seconds_up(task->retain_for_ms),
        .group = push->group,
        .headers = headers,
        .header_count = prepared->header_count,
    };
    cronq_status status;

    status = cq_message_encode(&message, &prepared->message, err);
    if (status)
        return status;
    if (prepared->message.len > CQ_MESSAGE_LIMIT_BYTES)
        return cq_fail(err, CRONQ_ETOOBIG, "the encoded task has %zu bytes; at most %zu",
                       prepared->message.len, CQ_MESSAGE_LIMIT_BYTES);
    prepared->push.message =
        (cronq_bytes){ prepared->message.data, prepared->message.len };
    return CRONQ_OK;
}

/* Each header costs a few bytes beside its text: tag, length of the entry and of both. */
static size_t message_room(const cronq_task *task, size_t header_bytes)
{
    return MESSAGE_ROOM + KEY_ROOM + task->payload.len + header_bytes +
           task->header_count * 16;
}

static cronq_status take_message(cq_prepared *prepared, cronq_error *err)
{
    cq_header few[FEW_HEADERS], *many = NULL, *headers = few;
    size_t room = prepared->task.header_count + 1, header_bytes = 0;
    cronq_status status = check_header_count(&prepared->task, err);

    if (status)
        return status;
    if (room > FEW_HEADERS) {
        headers = many = calloc(room, sizeof *many);
        if (!many)
            return cq_fail_nomem(err);
    }
    status = take_headers(prepared, headers, &header_bytes, err);
    if (!status) {
        cq_buf_init(&prepared->message, message_room(&prepared->task, header_bytes));
        status = encode(prepared, headers, err);
    }
    free(many);
    return status;
}

cronq_status cq_prepare(const cronq_task *task, const cq_ask *ask,
                        const cq_prepare_rules *rules, cq_prepared *prepared,
                        cronq_error *err)
{
    cronq_status status;

    *prepared = (cq_prepared){ 0 };
    cq_buf_init(&prepared->id, 2 * CQ_ID_LIMIT_BYTES);
    cq_buf_init(&prepared->unique_key, KEY_ROOM);
    if (!task)
        return cq_fail(err, CRONQ_EINVAL, "task is NULL");
    status =
        cq_options_copy(&prepared->task, sizeof prepared->task, task, "cronq_task", err);
    if (!status)
        status = take_names(prepared, err);
    if (!status)
        status = check_payload(prepared->task.payload, rules->payload_limit_bytes, err);
    if (!status)
        status = take_time(prepared, ask, err);
    if (!status)
        status = take_limits(prepared, rules->now_ns, err);
    if (!status)
        status = take_id(prepared, ask, rules, err);
    if (!status)
        status = take_unique_key(prepared, err);
    if (!status)
        status = cq_client_take_trace(prepared, ask, rules->tracer, err);
    if (!status)
        status = take_message(prepared, err);
    if (!status && rules->want_info)
        status = cq_task_info_new(prepared, &prepared->info, err);
    return status;
}

cronq_task_info *cq_prepared_take_info(cq_prepared *prepared)
{
    cronq_task_info *info = prepared->info;

    cq_task_info_set_place(info, &prepared->push);
    prepared->info = NULL;
    return info;
}

void cq_prepared_release(cq_prepared *prepared)
{
    cq_buf_release(&prepared->id);
    cq_buf_release(&prepared->unique_key);
    cq_buf_release(&prepared->message);
    cronq_task_info_free(prepared->info);
}

/* Part of this millisecond has gone by: rounded up, as all that is waited for. */
static int64_t ms_up(int64_t ns)
{
    return (ns + CQ_NS_PER_MS - 1) / CQ_NS_PER_MS;
}

void cq_prepared_stamp(cq_prepared *prepared, int64_t now_ns)
{
    const cronq_task *task = &prepared->task;
    cq_push *push = &prepared->push;
    int64_t now_ms = now_ns / CQ_NS_PER_MS;
    int64_t at_ms = task->process_at_ms;
    int64_t delay_ms = task->process_in_ms;

    if (prepared->stamped)
        return;
    prepared->stamped = true;
    if (delay_ms)
        at_ms = ms_up(now_ns) + delay_ms;
    else if (at_ms > now_ms)
        delay_ms = at_ms - now_ms;
    push->kind = delay_ms ? CQ_PUSH_LATER : push->group.len ? CQ_PUSH_GROUP : CQ_PUSH_NOW;
    if (delay_ms)
        push->run_at_ms = at_ms;
    if (task->unique_for_ms)
        push->unique_ttl_s = cq_seconds_up(delay_ms + task->unique_for_ms);
}
