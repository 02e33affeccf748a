/* SPDX-License-Identifier: MIT */
/* json.c - spans in the JSON form of OTLP: ids in hex, 64-bit numbers as texts. */
#include "base/json.h"
#include "codec/trace.h"
#include "otlp/internal.h"

#include <inttypes.h>
#include <stdio.h>

static void put_number_text(cq_buf *out, const char *key, int64_t number)
{
    char text[24];

    snprintf(text, sizeof text, "%" PRId64, number);
    cq_json_key_text(out, key, text);
}

static void put_attributes(cq_buf *out, const cronq_attribute *attributes, size_t count)
{
    cq_json_key(out, "attributes");
    cq_json_open(out, '[');
    for (size_t i = 0; i < count; i++) {
        cq_json_open(out, '{');
        cq_json_key_text(out, "key", attributes[i].key);
        cq_json_key(out, "value");
        cq_json_open(out, '{');
        if (attributes[i].text)
            cq_json_key_text(out, "stringValue", attributes[i].text);
        else
            put_number_text(out, "intValue", attributes[i].number);
        cq_json_close(out, '}');
        cq_json_close(out, '}');
    }
    cq_json_close(out, ']');
}

static void put_ids(cq_buf *out, const cq_trace *trace)
{
    char trace_id[33], span_id[17];

    cq_trace_format_ids(trace, trace_id, span_id);
    cq_json_key_text(out, "traceId", trace_id);
    cq_json_key_text(out, "spanId", span_id);
    cq_json_key_int(out, "flags", trace->flags);
}

static void put_parent(cq_buf *out, const cronq_span_record *span)
{
    static const unsigned char none[sizeof span->parent_id];
    char unused[33], parent_id[17];
    cq_trace parent = { 0 };

    if (memcmp(span->parent_id, none, sizeof none) == 0)
        return;
    memcpy(parent.span_id, span->parent_id, sizeof parent.span_id);
    cq_trace_format_ids(&parent, unused, parent_id);
    cq_json_key_text(out, "parentSpanId", parent_id);
}

static void put_events(cq_buf *out, const cronq_span_record *span)
{
    cq_json_key(out, "events");
    cq_json_open(out, '[');
    for (size_t i = 0; i < span->event_count; i++) {
        const cronq_span_event *event = &span->events[i];

        cq_json_open(out, '{');
        put_number_text(out, "timeUnixNano", event->at_ns);
        cq_json_key_text(out, "name", event->name);
        put_attributes(out, event->attributes, event->attribute_count);
        cq_json_close(out, '}');
    }
    cq_json_close(out, ']');
}

static void put_link(cq_buf *out, const char *traceparent)
{
    cq_trace trace;

    if (!traceparent || cq_trace_parse(cq_str_of(traceparent), &trace, NULL))
        return;
    cq_json_key(out, "links");
    cq_json_open(out, '[');
    cq_json_open(out, '{');
    put_ids(out, &trace);
    cq_json_close(out, '}');
    cq_json_close(out, ']');
}

static void put_status(cq_buf *out, const cronq_span_record *span)
{
    cq_json_key(out, "status");
    cq_json_open(out, '{');
    cq_json_key_int(out, "code", (int64_t)span->status);
    if (span->status_text)
        cq_json_key_text(out, "message", span->status_text);
    cq_json_close(out, '}');
}

/* With a comma behind it, which the request takes away from the last. */
static void encode_span(cq_buf *out, const cronq_span_record *span)
{
    cq_trace own = { .flags = span->flags };

    memcpy(own.trace_id, span->trace_id, sizeof own.trace_id);
    memcpy(own.span_id, span->span_id, sizeof own.span_id);
    cq_json_open(out, '{');
    put_ids(out, &own);
    put_parent(out, span);
    if (span->trace_state)
        cq_json_key_text(out, "traceState", span->trace_state);
    cq_json_key_text(out, "name", span->name);
    cq_json_key_int(out, "kind", (int64_t)span->kind);
    put_number_text(out, "startTimeUnixNano", span->start_ns);
    put_number_text(out, "endTimeUnixNano", span->end_ns);
    put_attributes(out, span->attributes, span->attribute_count);
    cq_json_key_int(out, "droppedAttributesCount", span->dropped_attribute_count);
    put_events(out, span);
    cq_json_key_int(out, "droppedEventsCount", span->dropped_event_count);
    put_link(out, span->link);
    put_status(out, span);
    cq_json_close(out, '}');
    cq_buf_append_char(out, ',');
}

static void encode_resource(cq_buf *out, const cronq_attribute *attributes, size_t count)
{
    put_attributes(out, attributes, count);
}

static void encode_request(cq_buf *out, cq_str resource, cq_str spans)
{
    cq_buf_append_text(out, "{\"resourceSpans\":[{\"resource\":{");
    cq_buf_append_str(out, resource);
    cq_buf_append_text(out, "},\"scopeSpans\":[{\"scope\":{");
    cq_json_key_text(out, "name", "cronq");
    cq_json_key_text(out, "version", cronq_version_string());
    cq_buf_append_text(out, "},\"spans\":[");
    if (spans.len)
        cq_buf_append(out, spans.data, spans.len - 1);
    cq_buf_append_text(out, "]}]}]}");
}

const cq_otlp_encoder cq_otlp_json = { encode_span, encode_resource, encode_request,
                                       "Content-Type: application/json" };
