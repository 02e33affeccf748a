/* SPDX-License-Identifier: MIT */
/* trace.c - the span of a push, and how the task carries it. */
#include "base/error.h"
#include "client/internal.h"

/* NULL when there is none. */
static const char *find_header(const cronq_task *task, const char *key)
{
    for (size_t i = 0; task->headers && i < task->header_count; i++)
        if (task->headers[i].key && strcmp(task->headers[i].key, key) == 0)
            return task->headers[i].value;
    return NULL;
}

/* A header that nobody can read begins a new trace, as the standard asks; what this call
 * was given must be right. */
cronq_status cq_client_take_trace(cq_prepared *prepared, const cq_ask *ask,
                                  cronq_tracer *tracer, cronq_error *err)
{
    const cronq_task *task = &prepared->task;
    const cq_trace *above = NULL;
    const char *header;
    cq_trace parent;

    if (!task->traceparent && !tracer)
        return CRONQ_OK;
    if (task->traceparent) {
        if (cq_trace_parse(cq_str_of(task->traceparent), &parent, err))
            return CRONQ_EINVAL;
        above = &parent;
    } else if (!ask->tick_entry) {
        header = find_header(task, CQ_HEADER_TRACEPARENT);
        if (header && cq_trace_parse(cq_str_of(header), &parent, NULL) == CRONQ_OK)
            above = &parent;
    }
    if (tracer)
        cq_span_identify(tracer, above, &prepared->span);
    cq_trace_format(tracer ? &prepared->span.own : above, prepared->traceparent);
    return CRONQ_OK;
}

void cq_client_trace(cronq_client *client, const cq_prepared *item)
{
    const cq_push *push = &item->push;
    cronq_span span;

    if (!item->span.start_ns || !cq_is_push(push))
        return;
    cq_span_init(&span, client->tracer, &item->span, CRONQ_SPAN_PRODUCER);
    cq_span_name(&span, "cron-producer-", cq_str_of(item->task.type));
    span.record.trace_state = find_header(&item->task, CQ_HEADER_TRACESTATE);
    cq_span_put_message(&span, "send", push->queue, push->id, item->task.payload.len);
    cq_span_put_text(&span, "cronq.task.type", item->task.type);
    if (push->tick_entry.len) {
        cq_span_put_str(&span, "cronq.entry", push->tick_entry);
        cq_span_put_number(&span, "cronq.tick", push->tick_at_s);
    }
    if (push->status)
        cq_span_fail(&span, push->status, cq_str_of(cronq_status_text(push->status)));
    else
        span.record.status = CRONQ_SPAN_OK;
    cq_span_finish(&span);
}
