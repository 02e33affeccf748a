/* SPDX-License-Identifier: MIT */
/* trace.c - the span of an attempt, and what handlers may ask of it. */
#include "worker/trace.h"

#include "worker/internal.h"

static bool is_recorded(const cronq_attempt *attempt)
{
    return attempt->trace && attempt->trace->id.start_ns;
}

static bool read_parent(const cronq_attempt *attempt, cq_trace *out)
{
    const char *header = cronq_attempt_header(attempt, CQ_HEADER_TRACEPARENT);

    return header && cq_trace_parse(cq_str_of(header), out, NULL) == CRONQ_OK;
}

static void describe(cronq_attempt *attempt, cronq_span *span)
{
    const cq_message *message = &attempt->message;

    cq_span_name(span, "cron-consumer-", message->type);
    span->record.trace_state = cronq_attempt_header(attempt, CQ_HEADER_TRACESTATE);
    cq_span_put_message(span, "process", attempt->worker->queues[attempt->queue],
                        message->id, message->payload.len);
    cq_span_put_text(span, "cronq.task.type", attempt->type);
    cq_span_put_number(span, "cronq.max_retry", message->max_retry);
    if (message->retried)
        cq_span_put_number(span, "retry", message->retried);
}

/* A retry that is linked only has a trace of its own, sampled when the push was. */
static void identify(cronq_attempt *attempt, cq_attempt_trace *trace, bool has_parent,
                     const cq_trace *parent)
{
    cronq_tracer *tracer = attempt->worker->tracer;
    bool links =
        has_parent && attempt->message.retried > 0 && cq_tracer_links_retries(tracer);

    trace->link[0] = '\0';
    cq_span_identify(tracer, has_parent ? parent : NULL, &trace->id);
    if (!links)
        return;
    cq_trace_format(parent, trace->link);
    cq_span_leave(tracer, &trace->id);
}

void cq_attempt_trace_begin(cronq_attempt *attempt, cq_attempt_trace *trace)
{
    cq_trace parent;
    bool has_parent = read_parent(attempt, &parent);

    identify(attempt, trace, has_parent, &parent);
    cq_trace_format(&trace->id.own, trace->traceparent);
    cq_trace_format_ids(&trace->id.own, trace->trace_id, trace->span_id);
    attempt->trace = trace;
    if (!is_recorded(attempt))
        return;
    cq_span_init(&trace->span, attempt->worker->tracer, &trace->id, CRONQ_SPAN_CONSUMER);
    if (trace->link[0])
        trace->span.record.link = trace->link;
    describe(attempt, &trace->span);
}

static const char *outcome_name(const cronq_attempt *attempt)
{
    static const char *const names[] = {
        [CQ_DONE] = "done",        [CQ_COMPLETE] = "completed", [CQ_RETRY] = "retried",
        [CQ_ARCHIVE] = "archived", [CQ_GIVE_BACK] = "returned",
    };

    return attempt->unwritten ? "lost" : names[attempt->outcome.kind];
}

void cq_attempt_trace_end(cronq_attempt *attempt)
{
    cronq_span *span = &attempt->trace->span;
    bool recorded = is_recorded(attempt);

    attempt->trace = NULL;
    if (!recorded)
        return;
    cq_span_put_text(span, "cronq.outcome", outcome_name(attempt));
    if (span->record.status == CRONQ_SPAN_UNSET &&
        (attempt->unwritten || attempt->outcome.kind != CQ_GIVE_BACK))
        span->record.status = CRONQ_SPAN_OK;
    cq_span_finish(span);
}

void cq_attempt_trace_fail(cronq_attempt *attempt, cronq_status status, cq_str text)
{
    if (is_recorded(attempt))
        cq_span_fail(&attempt->trace->span, status, text);
}

void cq_attempt_trace_tell(const cronq_attempt *attempt, const char **trace_id,
                           const char **span_id)
{
    if (!attempt->trace)
        return;
    *trace_id = attempt->trace->trace_id;
    *span_id = attempt->trace->span_id;
}

const char *cronq_attempt_traceparent(const cronq_attempt *attempt)
{
    cq_trace parent;

    if (attempt->trace)
        return attempt->trace->traceparent;
    return read_parent(attempt, &parent)
               ? cronq_attempt_header(attempt, CQ_HEADER_TRACEPARENT)
               : NULL;
}

cronq_span *cronq_attempt_span(cronq_attempt *attempt)
{
    return is_recorded(attempt) ? &attempt->trace->span : NULL;
}
