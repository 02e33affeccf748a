/* SPDX-License-Identifier: MIT */
/* protobuf.c - spans in the binary form of OTLP (opentelemetry.proto.trace.v1). */
#include "base/utf8.h"
#include "codec/proto.h"
#include "codec/trace.h"
#include "otlp/internal.h"

#define TEXT_LIMIT_BYTES    ((size_t)64 << 10)
#define MESSAGE_LIMIT_BYTES ((size_t)1 << 20)

static void put_text(cq_buf *out, uint32_t number, cq_str text)
{
    cq_buf repaired;

    cq_buf_init(&repaired, TEXT_LIMIT_BYTES);
    cq_utf8_repair(&repaired, text.data, text.len, TEXT_LIMIT_BYTES);
    cq_proto_put_bytes(out, number, repaired.data, repaired.len);
    cq_buf_release(&repaired);
}

static void put_fixed32(cq_buf *out, uint32_t number, uint32_t value)
{
    unsigned char bytes[4];

    for (int i = 0; i < 4; i++)
        bytes[i] = (unsigned char)(value >> (8 * i));
    cq_proto_put_tag(out, number, CQ_WIRE_FIXED32);
    cq_buf_append(out, bytes, sizeof bytes);
}

/* A message in a message; inner is reset for the next. */
static void put_message(cq_buf *out, uint32_t number, cq_buf *inner)
{
    cq_proto_put_bytes(out, number, inner->data, inner->len);
    if (inner->status && !out->status)
        out->status = inner->status;
    cq_buf_reset(inner);
}

/* KeyValue { key = 1, value = 2 { string = 1 | int = 3 } } */
static void put_attributes(cq_buf *out, uint32_t number,
                           const cronq_attribute *attributes, size_t count)
{
    cq_buf pair, value;

    cq_buf_init(&pair, MESSAGE_LIMIT_BYTES);
    cq_buf_init(&value, MESSAGE_LIMIT_BYTES);
    for (size_t i = 0; i < count; i++) {
        if (attributes[i].text) {
            put_text(&value, 1, cq_str_of(attributes[i].text));
        } else { /* a zero must be written too: it says which kind it is */
            cq_proto_put_tag(&value, 3, CQ_WIRE_VARINT);
            cq_proto_put_varint(&value, (uint64_t)attributes[i].number);
        }
        put_text(&pair, 1, cq_str_of(attributes[i].key));
        put_message(&pair, 2, &value);
        put_message(out, number, &pair);
    }
    cq_buf_release(&pair);
    cq_buf_release(&value);
}

static void put_event(cq_buf *out, const cronq_span_event *event)
{
    cq_proto_put_fixed64(out, 1, (uint64_t)event->at_ns);
    put_text(out, 2, cq_str_of(event->name));
    put_attributes(out, 3, event->attributes, event->attribute_count);
}

static void put_link(cq_buf *out, const char *traceparent)
{
    cq_trace trace;

    if (cq_trace_parse(cq_str_of(traceparent), &trace, NULL))
        return;
    cq_proto_put_bytes(out, 1, trace.trace_id, sizeof trace.trace_id);
    cq_proto_put_bytes(out, 2, trace.span_id, sizeof trace.span_id);
    put_fixed32(out, 6, trace.flags);
}

static void put_status(cq_buf *out, const cronq_span_record *span)
{
    if (span->status_text)
        put_text(out, 2, cq_str_of(span->status_text));
    if (span->status)
        cq_proto_put_uint(out, 3, (uint64_t)span->status);
}

static void put_ids(cq_buf *out, const cronq_span_record *span)
{
    static const unsigned char none[sizeof span->parent_id];

    cq_proto_put_bytes(out, 1, span->trace_id, sizeof span->trace_id);
    cq_proto_put_bytes(out, 2, span->span_id, sizeof span->span_id);
    if (span->trace_state)
        put_text(out, 3, cq_str_of(span->trace_state));
    if (memcmp(span->parent_id, none, sizeof none) != 0)
        cq_proto_put_bytes(out, 4, span->parent_id, sizeof span->parent_id);
}

static void put_span(cq_buf *out, const cronq_span_record *span)
{
    cq_buf inner;

    cq_buf_init(&inner, MESSAGE_LIMIT_BYTES);
    put_ids(out, span);
    put_text(out, 5, cq_str_of(span->name));
    cq_proto_put_uint(out, 6, (uint64_t)span->kind);
    cq_proto_put_fixed64(out, 7, (uint64_t)span->start_ns);
    cq_proto_put_fixed64(out, 8, (uint64_t)span->end_ns);
    put_attributes(out, 9, span->attributes, span->attribute_count);
    if (span->dropped_attribute_count)
        cq_proto_put_uint(out, 10, span->dropped_attribute_count);
    for (size_t i = 0; i < span->event_count; i++) {
        put_event(&inner, &span->events[i]);
        put_message(out, 11, &inner);
    }
    if (span->dropped_event_count)
        cq_proto_put_uint(out, 12, span->dropped_event_count);
    if (span->link) {
        put_link(&inner, span->link);
        put_message(out, 13, &inner);
    }
    put_status(&inner, span);
    put_message(out, 15, &inner);
    put_fixed32(out, 16, span->flags);
    cq_buf_release(&inner);
}

/* ScopeSpans.spans = 2: a request needs only to put them one behind the other. */
static void encode_span(cq_buf *out, const cronq_span_record *span)
{
    cq_buf inner;

    cq_buf_init(&inner, out->limit);
    put_span(&inner, span);
    put_message(out, 2, &inner);
    cq_buf_release(&inner);
}

static void encode_resource(cq_buf *out, const cronq_attribute *attributes, size_t count)
{
    put_attributes(out, 1, attributes, count);
}

static size_t varint_size(uint64_t value)
{
    size_t size = 1;

    while (value >>= 7)
        size++;
    return size;
}

static size_t field_size(size_t len)
{
    return 1 + varint_size(len) + len;
}

static void put_head(cq_buf *out, uint32_t number, size_t len)
{
    cq_proto_put_tag(out, number, CQ_WIRE_BYTES);
    cq_proto_put_varint(out, len);
}

/* The lengths first, from inside out: the spans are not copied twice. */
static void encode_request(cq_buf *out, cq_str resource, cq_str spans)
{
    const char *version = cronq_version_string();
    size_t version_len = strlen(version);
    size_t scope_len = field_size(5) + field_size(version_len);
    size_t scope_spans_len = field_size(scope_len) + spans.len;

    put_head(out, 1, field_size(resource.len) + field_size(scope_spans_len));
    cq_proto_put_bytes(out, 1, resource.data, resource.len);
    put_head(out, 2, scope_spans_len);
    put_head(out, 1, scope_len);
    cq_proto_put_bytes(out, 1, "cronq", 5);
    cq_proto_put_bytes(out, 2, version, version_len);
    cq_buf_append(out, spans.data, spans.len);
}

const cq_otlp_encoder cq_otlp_protobuf = { encode_span, encode_resource, encode_request,
                                           "Content-Type: application/x-protobuf" };
