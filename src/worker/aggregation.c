/* SPDX-License-Identifier: MIT */
/* aggregation.c - what a user's aggregator sees of a set, and what it makes of it. */
#include "worker/aggregation.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/options.h"
#include "codec/key.h"
#include "worker/outcome.h"

#define ARENA_BYTES        ((size_t)4 << 30)
#define DEFAULT_MAX_RETRY  25
#define HEADER_LIMIT_COUNT 1000
#define MERGED_LIMIT_BYTES ((size_t)512 << 20)
#define REPLACEMENT_BYTES  ((size_t)64 * 1024)

/* ---- making it ---- */

/* Into the archive with it, so that it stops nobody. */
static cronq_status add_misfit(cronq_aggregation *a, const cq_record *record,
                               const char *why, cronq_error *err)
{
    cronq_status status;
    const void *copy;
    cq_buf buf;

    cq_buf_init(&buf, REPLACEMENT_BYTES);
    status = cq_message_replace(a->set->queue, record->id, why, a->now_ns / CQ_NS_PER_S,
                                &buf, err);
    copy = status ? NULL : cq_arena_dup(&a->arena, buf.data, buf.len);
    if (!status && !copy)
        status = cq_fail_nomem(err);
    if (!status)
        a->misfits[a->misfit_count++] =
            (cq_misfit){ record->id, (cronq_bytes){ copy, buf.len } };
    cq_buf_release(&buf);
    return status;
}

static cronq_status add_record(cronq_aggregation *a, const cq_record *record,
                               cronq_error *err)
{
    cq_message *message = &a->messages[a->count];
    cronq_error why = { .text = "its task is gone" };

    if (!record->message.data)
        return CRONQ_OK; /* an id without a task: it goes with the set */
    if (cq_message_check(record->message, a->set->queue, record->id, &a->arena, message,
                         &why))
        return why.code == CRONQ_ENOMEM ? cq_fail_nomem(err)
                                        : add_misfit(a, record, why.text, err);
    a->ids[a->count] = cq_arena_dup(&a->arena, record->id.data, record->id.len);
    a->types[a->count] = cq_arena_dup(&a->arena, message->type.data, message->type.len);
    if (!a->ids[a->count] || !a->types[a->count])
        return cq_fail_nomem(err);
    a->count++;
    return CRONQ_OK;
}

cronq_status cq_aggregation_init(cronq_aggregation *a, const cq_set *set,
                                 const cq_record *records, size_t count, int64_t now_ns,
                                 cronq_error *err)
{
    cronq_status status = CRONQ_OK;

    *a = (cronq_aggregation){ .set = set, .now_ns = now_ns };
    cq_arena_init(&a->arena, ARENA_BYTES);
    cq_buf_init(&a->merged, MERGED_LIMIT_BYTES);
    a->queue = cq_arena_dup(&a->arena, set->queue.data, set->queue.len);
    a->group = cq_arena_dup(&a->arena, set->group.data, set->group.len);
    a->messages = cq_arena_calloc(&a->arena, count + 1, sizeof *a->messages);
    a->misfits = cq_arena_calloc(&a->arena, count + 1, sizeof *a->misfits);
    a->ids = cq_arena_calloc(&a->arena, count + 1, sizeof *a->ids);
    a->types = cq_arena_calloc(&a->arena, count + 1, sizeof *a->types);
    if (!a->queue || !a->group || !a->messages || !a->misfits || !a->ids || !a->types)
        return cq_fail_nomem(err);
    for (size_t i = 0; i < count && !status; i++)
        status = add_record(a, &records[i], err);
    return status;
}

void cq_aggregation_release(cronq_aggregation *aggregation)
{
    cq_buf_release(&aggregation->merged);
    cq_arena_release(&aggregation->arena);
}

/* ---- what the user's function sees ---- */

const char *cronq_aggregation_queue(const cronq_aggregation *aggregation)
{
    return aggregation->queue;
}

const char *cronq_aggregation_group(const cronq_aggregation *aggregation)
{
    return aggregation->group;
}

size_t cronq_aggregation_count(const cronq_aggregation *aggregation)
{
    return aggregation->count;
}

const char *cronq_aggregation_task_id(const cronq_aggregation *aggregation, size_t index)
{
    return index < aggregation->count ? aggregation->ids[index] : "";
}

const char *cronq_aggregation_task_type(const cronq_aggregation *aggregation,
                                        size_t index)
{
    return index < aggregation->count ? aggregation->types[index] : "";
}

cronq_bytes cronq_aggregation_payload(const cronq_aggregation *aggregation, size_t index)
{
    if (index >= aggregation->count)
        return (cronq_bytes){ NULL, 0 };
    return aggregation->messages[index].payload;
}

/* ---- what it makes ---- */

static cronq_status check_merged(const cronq_task *task, cronq_error *err)
{
    if (!task->type)
        return cq_fail(err, CRONQ_EINVAL, "the merged task has no type");
    if (task->queue || task->id || task->group || task->process_at_ms ||
        task->process_in_ms || task->unique_for_ms || task->flags)
        return cq_fail(err, CRONQ_EINVAL,
                       "a merged task has no queue, id, group, time or lock of its own");
    if (task->timeout_ms < 0 || task->deadline_at_ms < 0 || task->retain_for_ms < 0)
        return cq_fail(err, CRONQ_EINVAL, "a time of the merged task is negative");
    if (task->header_count > HEADER_LIMIT_COUNT || (task->header_count && !task->headers))
        return cq_fail(err, CRONQ_EINVAL, "header_count is %zu", task->header_count);
    if (!task->payload.data && task->payload.len)
        return cq_fail(err, CRONQ_EINVAL, "payload.data is NULL, payload.len is not 0");
    return cq_check_type(cq_str_of(task->type), err);
}

cronq_status cronq_aggregation_merge(cronq_aggregation *aggregation,
                                     const cronq_task *task, cronq_error *err)
{
    cronq_task copy;
    cq_header *headers;
    cq_message message;
    cronq_status status;

    if (!aggregation || !task)
        return cq_fail(err, CRONQ_EINVAL, "aggregation or task is NULL");
    status = cq_options_copy(&copy, sizeof copy, task, "cronq_task", err);
    if (!status)
        status = check_merged(&copy, err);
    if (status)
        return status;
    headers =
        cq_arena_calloc(&aggregation->arena, copy.header_count + 1, sizeof *headers);
    if (!headers)
        return cq_fail_nomem(err);
    for (size_t i = 0; i < copy.header_count; i++)
        headers[i] = (cq_header){ cq_str_of(copy.headers[i].key),
                                  cq_str_of(copy.headers[i].value) };
    message = (cq_message){ .type = cq_str_of(copy.type),
                            .payload = copy.payload,
                            .id = aggregation->set->id,
                            .queue = aggregation->set->queue,
                            .max_retry = copy.max_retry == 0  ? DEFAULT_MAX_RETRY
                                         : copy.max_retry < 0 ? 0
                                                              : copy.max_retry,
                            .timeout_s = cq_seconds_up(copy.timeout_ms),
                            .deadline_at_s = cq_seconds_up(copy.deadline_at_ms),
                            .retention_s = cq_seconds_up(copy.retain_for_ms),
                            .headers = headers,
                            .header_count = copy.header_count };
    if (!message.timeout_s && !message.deadline_at_s)
        message.timeout_s = CQ_DEFAULT_TIMEOUT_S;
    cq_buf_reset(&aggregation->merged);
    return cq_message_encode(&message, &aggregation->merged, err);
}
