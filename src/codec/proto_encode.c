/* SPDX-License-Identifier: MIT */
/* proto_encode.c - writing protobuf.
 *
 * A message is measured first, which also checks its strings, and then written into room
 * reserved at once: a message that fails leaves nothing behind. */
#include "base/error.h"
#include "base/quote.h"
#include "base/utf8.h"
#include "codec/info.h"
#include "codec/message.h"
#include "codec/proto.h"

#include <endian.h>

/* Where the values of a field are: what the tables' offsets lead to. */
static const void *at(const void *in, size_t offset)
{
    return (const char *)in + offset;
}

static size_t count_of(const cq_proto_field *field, const void *in)
{
    return *(const size_t *)at(in, field->count_offset);
}

static const void *array_of(const cq_proto_field *field, const void *in)
{
    return *(const void *const *)at(in, field->offset);
}

static size_t varint_size(uint64_t value)
{
    return (size_t)(63 - __builtin_clzll(value | 1)) / 7 + 1;
}

static char *write_varint(char *p, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        *p++ = (char)(value | 0x80);
    *p++ = (char)value;
    return p;
}

static char *write_tag(char *p, size_t number, cq_proto_wire wire)
{
    return write_varint(p, number << 3 | wire);
}

static char *write_bytes(char *p, size_t number, const void *data, size_t len)
{
    p = write_varint(write_tag(p, number, CQ_WIRE_BYTES), len);
    if (len)
        memcpy(p, data, len);
    return p + len;
}

static char *write_int(char *p, size_t number, int64_t value)
{
    return write_varint(write_tag(p, number, CQ_WIRE_VARINT), (uint64_t)value);
}

/* Sizes without the tag; a negative int32 is written as the int64 it equals. */
static size_t bytes_size(size_t len)
{
    return varint_size(len) + len;
}

static size_t int_size(int64_t value)
{
    return varint_size((uint64_t)value);
}

static size_t timestamp_size(const cq_timestamp *time)
{
    return (time->seconds ? 1 + int_size(time->seconds) : 0) +
           (time->nanos ? 1 + int_size(time->nanos) : 0);
}

/* Map entries always carry both, even when empty. */
static size_t header_size(const cq_header *header)
{
    return 1 + bytes_size(header->key.len) + 1 + bytes_size(header->value.len);
}

static size_t weight_size(const cq_queue_weight *weight)
{
    return 1 + bytes_size(weight->name.len) + 1 + int_size(weight->weight);
}

static char *write_timestamp(char *p, size_t number, const cq_timestamp *time)
{
    p = write_tag(p, number, CQ_WIRE_BYTES);
    p = write_varint(p, timestamp_size(time));
    if (time->seconds)
        p = write_int(p, 1, time->seconds);
    if (time->nanos)
        p = write_int(p, 2, time->nanos);
    return p;
}

static char *write_header(char *p, size_t number, const cq_header *header)
{
    p = write_varint(write_tag(p, number, CQ_WIRE_BYTES), header_size(header));
    p = write_bytes(p, 1, header->key.data, header->key.len);
    return write_bytes(p, 2, header->value.data, header->value.len);
}

static char *write_weight(char *p, size_t number, const cq_queue_weight *weight)
{
    p = write_varint(write_tag(p, number, CQ_WIRE_BYTES), weight_size(weight));
    p = write_bytes(p, 1, weight->name.data, weight->name.len);
    return write_int(p, 2, weight->weight);
}

static cronq_status check_utf8(const cq_proto_message *message,
                               const cq_proto_field *field, cq_str text, cronq_error *err)
{
    char shown[CQ_QUOTED_ROOM];

    if (cq_utf8_valid(text.data, text.len))
        return CRONQ_OK;
    return cq_fail(err, CRONQ_EINVAL, "%s of the %s is not valid UTF-8: %s", field->name,
                   message->name, cq_quoted(text, shown));
}

static cronq_status measure_array(const cq_proto_message *message,
                                  const cq_proto_field *field, const void *in,
                                  size_t *size, cronq_error *err)
{
    const void *array = array_of(field, in);
    cronq_status status = CRONQ_OK;

    for (size_t i = 0, count = count_of(field, in); i < count && !status; i++) {
        const cq_header *header = (const cq_header *)array + i;
        const cq_queue_weight *weight = (const cq_queue_weight *)array + i;
        const cq_str *text = (const cq_str *)array + i;

        if (field->kind == CQ_PROTO_HEADERS) {
            *size += bytes_size(header_size(header));
            status = check_utf8(message, field, header->key, err);
            if (!status)
                status = check_utf8(message, field, header->value, err);
        } else if (field->kind == CQ_PROTO_WEIGHTS) {
            *size += bytes_size(weight_size(weight));
            status = check_utf8(message, field, weight->name, err);
        } else {
            *size += bytes_size(text->len);
            status = check_utf8(message, field, *text, err);
        }
        *size += varint_size((uint64_t)(field - message->fields + 1) << 3);
    }
    return status;
}

static cronq_status measure(const cq_proto_message *message, const cq_proto_field *field,
                            const void *in, size_t *size, cronq_error *err)
{
    const void *value = at(in, field->offset);
    size_t body = 0;

    switch (field->kind) {
    case CQ_PROTO_STRING:
        body = ((const cq_str *)value)->len;
        if (body && check_utf8(message, field, *(const cq_str *)value, err))
            return CRONQ_EINVAL;
        body = body ? bytes_size(body) : 0;
        break;
    case CQ_PROTO_BYTES:
        body = ((const cronq_bytes *)value)->len;
        body = body ? bytes_size(body) : 0;
        break;
    case CQ_PROTO_INT32:
        body = *(const int32_t *)value ? int_size(*(const int32_t *)value) : 0;
        break;
    case CQ_PROTO_INT64:
        body = *(const int64_t *)value ? int_size(*(const int64_t *)value) : 0;
        break;
    case CQ_PROTO_BOOL:
        body = *(const bool *)value;
        break;
    case CQ_PROTO_TIMESTAMP:
        body = bytes_size(timestamp_size(value));
        break;
    case CQ_PROTO_HEADERS:
    case CQ_PROTO_WEIGHTS:
    case CQ_PROTO_STRINGS:
        return measure_array(message, field, in, size, err);
    }
    if (body)
        *size += body + varint_size((uint64_t)(field - message->fields + 1) << 3);
    return CRONQ_OK;
}

static char *write_array(char *p, size_t number, const cq_proto_field *field,
                         const void *in)
{
    const void *array = array_of(field, in);

    for (size_t i = 0, count = count_of(field, in); i < count; i++) {
        const cq_str *text = (const cq_str *)array + i;

        if (field->kind == CQ_PROTO_HEADERS)
            p = write_header(p, number, (const cq_header *)array + i);
        else if (field->kind == CQ_PROTO_WEIGHTS)
            p = write_weight(p, number, (const cq_queue_weight *)array + i);
        else
            p = write_bytes(p, number, text->data, text->len);
    }
    return p;
}

static char *write_field(char *p, size_t number, const cq_proto_field *field,
                         const void *in)
{
    const void *value = at(in, field->offset);
    const cq_str *text = value;
    const cronq_bytes *bytes = value;

    switch (field->kind) {
    case CQ_PROTO_STRING:
        return text->len ? write_bytes(p, number, text->data, text->len) : p;
    case CQ_PROTO_BYTES:
        return bytes->len ? write_bytes(p, number, bytes->data, bytes->len) : p;
    case CQ_PROTO_INT32:
        return *(const int32_t *)value ? write_int(p, number, *(const int32_t *)value)
                                       : p;
    case CQ_PROTO_INT64:
        return *(const int64_t *)value ? write_int(p, number, *(const int64_t *)value)
                                       : p;
    case CQ_PROTO_BOOL:
        return *(const bool *)value ? write_int(p, number, 1) : p;
    case CQ_PROTO_TIMESTAMP:
        return write_timestamp(p, number, value);
    case CQ_PROTO_HEADERS:
    case CQ_PROTO_WEIGHTS:
    case CQ_PROTO_STRINGS:
        return write_array(p, number, field, in);
    }
    return p;
}

cronq_status cq_proto_encode(const cq_proto_message *message, const void *in, cq_buf *out,
                             cronq_error *err)
{
    size_t size = 0;
    char *p;

    for (size_t i = 0; i < message->field_count; i++) {
        cronq_status status = measure(message, &message->fields[i], in, &size, err);

        if (status)
            return status;
    }
    p = cq_buf_reserve(out, size);
    if (!p)
        return cq_fail(err, out->status, "no room for a %s of %zu bytes: %s",
                       message->name, size, cronq_status_text(out->status));
    for (size_t i = 0; i < message->field_count; i++)
        p = write_field(p, i + 1, &message->fields[i], in);
    out->len += size;
    return CRONQ_OK;
}

void cq_proto_put_varint(cq_buf *out, uint64_t value)
{
    size_t size = varint_size(value);
    char *p = cq_buf_reserve(out, size);

    if (!p)
        return;
    write_varint(p, value);
    out->len += size;
}

void cq_proto_put_tag(cq_buf *out, uint32_t number, cq_proto_wire wire)
{
    cq_proto_put_varint(out, (uint64_t)number << 3 | wire);
}

void cq_proto_put_uint(cq_buf *out, uint32_t number, uint64_t value)
{
    cq_proto_put_tag(out, number, CQ_WIRE_VARINT);
    cq_proto_put_varint(out, value);
}

void cq_proto_put_bytes(cq_buf *out, uint32_t number, const void *data, size_t len)
{
    cq_proto_put_tag(out, number, CQ_WIRE_BYTES);
    cq_proto_put_varint(out, len);
    cq_buf_append(out, data, len);
}

void cq_proto_put_fixed64(cq_buf *out, uint32_t number, uint64_t value)
{
    uint64_t wire = htole64(value);

    cq_proto_put_tag(out, number, CQ_WIRE_FIXED64);
    cq_buf_append(out, &wire, sizeof wire);
}
