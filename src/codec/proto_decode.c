/* SPDX-License-Identifier: MIT */
/* proto_decode.c - reading protobuf, to the letter as Go's implementation does.
 *
 * A cursor never leaves [p, end). Every reader returns NULL for a malformed input and
 * otherwise where the rest begins. */
#include "base/clock.h"
#include "base/error.h"
#include "base/utf8.h"
#include "codec/info.h"
#include "codec/message.h"
#include "codec/proto.h"

#include <stdlib.h>

#define FIELD_NUMBER_MAX ((1u << 29) - 1)
/* What Go allows: a group within 10,000 others, and larger numbers in there. */
#define GROUP_DEPTH_MAX     10001
#define GROUP_FIELD_MAX     INT32_MAX
#define FIRST_ARRAY_ROOM    8
#define QUADRATIC_DEDUP_MAX 32

typedef const unsigned char *cursor;

/* One decoding. A reader that returns NULL without a status met malformed input. */
typedef struct decoding {
    const cq_proto_message *message;
    cq_arena *arena;
    void *out;
    bool has_timestamp, has_map;
    cronq_status status;
    cronq_error *err;
} decoding;

static cursor read_varint_slow(cursor p, cursor end, uint64_t *value)
{
    uint64_t result = 0;

    for (unsigned shift = 0; p < end && shift < 64; shift += 7) {
        uint64_t byte = *p++;

        if (shift == 63 && byte > 1)
            return NULL;
        result |= (byte & 0x7F) << shift;
        if (byte < 0x80) {
            *value = result;
            return p;
        }
    }
    return NULL;
}

static inline cursor read_varint(cursor p, cursor end, uint64_t *value)
{
    if (p < end && *p < 0x80) {
        *value = *p;
        return p + 1;
    }
    return read_varint_slow(p, end, value);
}

static inline cursor read_tag(cursor p, cursor end, uint64_t number_max, uint32_t *number,
                              unsigned *wire)
{
    uint64_t tag;

    p = read_varint(p, end, &tag);
    if (!p || tag >> 3 < 1 || tag >> 3 > number_max)
        return NULL;
    *number = (uint32_t)(tag >> 3);
    *wire = (unsigned)tag & 7;
    return p;
}

static inline cursor read_bytes(cursor p, cursor end, cq_str *out)
{
    uint64_t len;

    p = read_varint(p, end, &len);
    if (!p || len > (uint64_t)(end - p))
        return NULL;
    *out = (cq_str){ (const char *)p, (size_t)len };
    return p + len;
}

/* Any value but a group. */
static cursor skip_plain(cursor p, cursor end, unsigned wire)
{
    uint64_t number;
    cq_str bytes;

    switch (wire) {
    case CQ_WIRE_VARINT:
        return read_varint(p, end, &number);
    case CQ_WIRE_BYTES:
        return read_bytes(p, end, &bytes);
    case CQ_WIRE_FIXED64:
        return end - p >= 8 ? p + 8 : NULL;
    case CQ_WIRE_FIXED32:
        return end - p >= 4 ? p + 4 : NULL;
    default:
        return NULL;
    }
}

/* Groups nest; the numbers of the open ones are kept so that each end is checked. Rare
 * enough to cost 40 KB of stack, hence not inlined. */
static __attribute__((noinline)) cursor skip_group(cursor p, cursor end, uint32_t number)
{
    uint32_t open[GROUP_DEPTH_MAX];
    size_t depth = 0;
    unsigned wire;

    open[depth++] = number;
    while (depth && p) {
        p = read_tag(p, end, GROUP_FIELD_MAX, &number, &wire);
        if (!p)
            return NULL;
        if (wire == CQ_WIRE_END_GROUP) {
            if (number != open[--depth])
                return NULL;
        } else if (wire == CQ_WIRE_GROUP) {
            if (depth == GROUP_DEPTH_MAX)
                return NULL;
            open[depth++] = number;
        } else {
            p = skip_plain(p, end, wire);
        }
    }
    return p;
}

static cursor skip(cursor p, cursor end, uint32_t number, unsigned wire)
{
    return wire == CQ_WIRE_GROUP ? skip_group(p, end, number) : skip_plain(p, end, wire);
}

static bool check_utf8(decoding *d, const cq_proto_field *field, cq_str text)
{
    if (cq_utf8_valid(text.data, text.len))
        return true;
    d->status = cq_fail(d->err, CRONQ_EPROTO, "%s of the %s is not valid UTF-8",
                        field->name, d->message->name);
    return false;
}

/* Walk the fields of a small message inside another: those that match (1 or 2, with the
 * wire type wanted for it) are left to the caller, all others are skipped. */
static cursor next_pair_field(cursor p, cursor end, const unsigned wires[2],
                              uint32_t *number)
{
    unsigned wire;

    while (p && p < end) {
        p = read_tag(p, end, FIELD_NUMBER_MAX, number, &wire);
        if (!p || (*number <= 2 && wires[*number - 1] == wire))
            return p;
        p = skip(p, end, *number, wire);
    }
    *number = 0;
    return p;
}

/* Merges into what an earlier occurrence of the field left. */
static bool read_timestamp(cq_str body, cq_timestamp *time)
{
    static const unsigned wires[2] = { CQ_WIRE_VARINT, CQ_WIRE_VARINT };
    cursor p = (cursor)body.data, end = p + body.len;
    uint32_t number;
    uint64_t value;

    while ((p = next_pair_field(p, end, wires, &number)) && number) {
        p = read_varint(p, end, &value);
        if (!p)
            return false;
        if (number == 1)
            time->seconds = (int64_t)value;
        else
            time->nanos = (int32_t)value;
    }
    return p != NULL;
}

/* Keys and values may come in any order, twice, or not at all. */
static bool read_header(decoding *d, const cq_proto_field *field, cq_str body,
                        cq_header *out)
{
    static const unsigned wires[2] = { CQ_WIRE_BYTES, CQ_WIRE_BYTES };
    cursor p = (cursor)body.data, end = p + body.len;
    uint32_t number;

    *out = (cq_header){ { body.data, 0 }, { body.data, 0 } };
    while ((p = next_pair_field(p, end, wires, &number)) && number) {
        cq_str *part = number == 1 ? &out->key : &out->value;

        p = read_bytes(p, end, part);
        if (!p || !check_utf8(d, field, *part))
            return false;
    }
    return p != NULL;
}

static bool read_weight(decoding *d, const cq_proto_field *field, cq_str body,
                        cq_queue_weight *out)
{
    static const unsigned wires[2] = { CQ_WIRE_BYTES, CQ_WIRE_VARINT };
    cursor p = (cursor)body.data, end = p + body.len;
    uint32_t number;
    uint64_t weight;

    *out = (cq_queue_weight){ { body.data, 0 }, 0 };
    while ((p = next_pair_field(p, end, wires, &number)) && number) {
        p = number == 1 ? read_bytes(p, end, &out->name) : read_varint(p, end, &weight);
        if (!p || (number == 1 && !check_utf8(d, field, out->name)))
            return false;
        if (number == 2)
            out->weight = (int32_t)weight;
    }
    return p != NULL;
}

static size_t element_size(cq_proto_kind kind)
{
    return kind == CQ_PROTO_HEADERS   ? sizeof(cq_header)
           : kind == CQ_PROTO_WEIGHTS ? sizeof(cq_queue_weight)
                                      : sizeof(cq_str);
}

/* Room for one element more. Arrays double when their count is a power of two, so their
 * room need not be kept. */
static void *add_element(decoding *d, const cq_proto_field *field)
{
    void **array = (void **)((char *)d->out + field->offset);
    size_t *count = (size_t *)((char *)d->out + field->count_offset);
    size_t size = element_size(field->kind);

    if (*count == 0 || (*count >= FIRST_ARRAY_ROOM && (*count & (*count - 1)) == 0)) {
        size_t room = *count ? *count * 2 : FIRST_ARRAY_ROOM;
        void *larger = cq_arena_alloc(d->arena, room * size);

        if (!larger) {
            d->status = cq_fail(d->err, CRONQ_ENOMEM, "no memory for the %s of the %s",
                                field->name, d->message->name);
            return NULL;
        }
        if (*count)
            memcpy(larger, *array, *count * size);
        *array = larger;
    }
    return (char *)*array + (*count)++ * size;
}

static bool read_element(decoding *d, const cq_proto_field *field, cq_str body)
{
    void *element = add_element(d, field);

    if (!element)
        return false;
    d->has_map |= field->kind != CQ_PROTO_STRINGS;
    if (field->kind == CQ_PROTO_HEADERS)
        return read_header(d, field, body, element);
    if (field->kind == CQ_PROTO_WEIGHTS)
        return read_weight(d, field, body, element);
    *(cq_str *)element = body;
    return check_utf8(d, field, body);
}

static cursor read_length_delimited(decoding *d, const cq_proto_field *field, cursor p,
                                    cursor end)
{
    void *value = (char *)d->out + field->offset;
    bool good = true;
    cq_str body;

    p = read_bytes(p, end, &body);
    if (!p)
        return NULL;
    if (field->kind == CQ_PROTO_STRING) {
        *(cq_str *)value = body;
        good = check_utf8(d, field, body);
    } else if (field->kind == CQ_PROTO_BYTES) {
        *(cronq_bytes *)value = (cronq_bytes){ body.len ? body.data : NULL, body.len };
    } else if (field->kind == CQ_PROTO_TIMESTAMP) {
        d->has_timestamp = true;
        good = read_timestamp(body, value);
    } else {
        good = read_element(d, field, body);
    }
    return good ? p : NULL;
}

static cursor read_number(decoding *d, const cq_proto_field *field, cursor p, cursor end)
{
    void *value = (char *)d->out + field->offset;
    uint64_t number;

    p = read_varint(p, end, &number);
    if (!p)
        return NULL;
    if (field->kind == CQ_PROTO_INT32)
        *(int32_t *)value = (int32_t)number;
    else if (field->kind == CQ_PROTO_INT64)
        *(int64_t *)value = (int64_t)number;
    else
        *(bool *)value = number != 0;
    return p;
}

static bool is_number(cq_proto_kind kind)
{
    return kind == CQ_PROTO_INT32 || kind == CQ_PROTO_INT64 || kind == CQ_PROTO_BOOL;
}

static cursor read_field(decoding *d, cursor p, cursor end)
{
    const cq_proto_field *field;
    uint32_t number;
    unsigned wire;

    p = read_tag(p, end, FIELD_NUMBER_MAX, &number, &wire);
    if (!p)
        return NULL;
    if (number > d->message->field_count)
        return skip(p, end, number, wire);
    field = &d->message->fields[number - 1];
    if (is_number(field->kind) && wire == CQ_WIRE_VARINT)
        return read_number(d, field, p, end);
    if (!is_number(field->kind) && wire == CQ_WIRE_BYTES)
        return read_length_delimited(d, field, p, end);
    return skip(p, end, number, wire);
}

/* As Go's time.Unix: any nanoseconds become 0 … 999,999,999, and seconds wrap. */
static void normalise(cq_timestamp *time)
{
    int64_t carry = time->nanos / CQ_NS_PER_S - (time->nanos % CQ_NS_PER_S < 0);

    time->nanos = (int32_t)(time->nanos - carry * CQ_NS_PER_S);
    time->seconds = (int64_t)((uint64_t)time->seconds + (uint64_t)carry);
}

/* Orders elements by key, and those of one key as they came. */
static int by_key(const void *a, const void *b)
{
    const cq_str *left = *(const cq_str *const *)a, *right = *(const cq_str *const *)b;
    size_t common = left->len < right->len ? left->len : right->len;
    int order = common ? memcmp(left->data, right->data, common) : 0;

    if (order == 0)
        order = (left->len > right->len) - (left->len < right->len);
    return order ? order : (left > right) - (left < right);
}

/* Of elements with the same key, mark all but the last by a key of this length. */
#define DROPPED SIZE_MAX

_Static_assert(offsetof(cq_header, key) == 0 && offsetof(cq_queue_weight, name) == 0,
               "the elements of maps begin with their key");

static cq_str *key_of(void *array, size_t i, size_t size)
{
    return (cq_str *)(void *)((char *)array + i * size);
}

static void mark_few(void *array, size_t count, size_t size)
{
    for (size_t i = 0; i + 1 < count; i++)
        for (size_t later = i + 1; later < count; later++)
            if (cq_str_eq(*key_of(array, i, size), *key_of(array, later, size))) {
                key_of(array, i, size)->len = DROPPED;
                break;
            }
}

static bool mark_many(cq_arena *arena, void *array, size_t count, size_t size)
{
    cq_str **keys = cq_arena_alloc(arena, count * sizeof(cq_str *));

    if (!keys)
        return false;
    for (size_t i = 0; i < count; i++)
        keys[i] = key_of(array, i, size);
    qsort(keys, count, sizeof(cq_str *), by_key);
    for (size_t i = 0; i + 1 < count; i++)
        if (cq_str_eq(*keys[i], *keys[i + 1]))
            keys[i]->len = DROPPED;
    return true;
}

static cronq_status drop_repeated_keys(decoding *d, const cq_proto_field *field)
{
    void *array = *(void **)((char *)d->out + field->offset);
    size_t *count = (size_t *)((char *)d->out + field->count_offset);
    size_t size = element_size(field->kind), kept = 0;

    if (*count <= QUADRATIC_DEDUP_MAX)
        mark_few(array, *count, size);
    else if (!mark_many(d->arena, array, *count, size))
        return cq_fail(d->err, CRONQ_ENOMEM, "no memory for the %s of the %s",
                       field->name, d->message->name);
    for (size_t i = 0; i < *count; i++) {
        if (key_of(array, i, size)->len == DROPPED)
            continue;
        if (kept != i)
            memcpy(key_of(array, kept, size), key_of(array, i, size), size);
        kept++;
    }
    *count = kept;
    return CRONQ_OK;
}

/* What can only be done when all of the message was read. */
static cronq_status finish(decoding *d)
{
    for (size_t i = 0; i < d->message->field_count; i++) {
        const cq_proto_field *field = &d->message->fields[i];
        cronq_status status = CRONQ_OK;

        if (field->kind == CQ_PROTO_TIMESTAMP)
            normalise((cq_timestamp *)(void *)((char *)d->out + field->offset));
        else if (field->kind == CQ_PROTO_HEADERS || field->kind == CQ_PROTO_WEIGHTS)
            status = drop_repeated_keys(d, field);
        if (status)
            return status;
    }
    return CRONQ_OK;
}

cronq_status cq_proto_decode(const cq_proto_message *message, cronq_bytes in,
                             cq_arena *arena, void *out, cronq_error *err)
{
    decoding d = { .message = message, .arena = arena, .out = out, .err = err };
    cursor start = in.len ? in.data : (cursor) "", end = start + in.len, field = start;

    while (field < end) {
        cursor next = read_field(&d, field, end);

        if (!next)
            return d.status ? d.status
                            : cq_fail(err, CRONQ_EPROTO,
                                      "malformed protobuf: field at byte %zu of %zu of "
                                      "the %s",
                                      (size_t)(field - start), in.len, message->name);
        field = next;
    }
    return d.has_timestamp || d.has_map ? finish(&d) : CRONQ_OK;
}
