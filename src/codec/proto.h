/* SPDX-License-Identifier: MIT */
/* codec/proto.h - protobuf (proto3): one encoder and one decoder, driven by tables of
 * fields, and the primitives to write other messages by hand.
 *
 * Reads exactly what Go's protobuf reads: wrong wire types are unknown fields, groups are
 * skipped, the last of a repeated scalar wins, strings must be UTF-8. */
#ifndef CQ_CODEC_PROTO_H
#define CQ_CODEC_PROTO_H

#include "base/arena.h"
#include "base/buf.h"

#include <cronq/base.h>

/* What a field is on the wire, and as what it stands in the struct. */
typedef enum cq_proto_kind {
    CQ_PROTO_STRING,    /* cq_str */
    CQ_PROTO_BYTES,     /* cronq_bytes; empty reads back as absent */
    CQ_PROTO_INT32,     /* int32_t */
    CQ_PROTO_INT64,     /* int64_t */
    CQ_PROTO_BOOL,      /* bool */
    CQ_PROTO_TIMESTAMP, /* cq_timestamp; always written, absent reads as 1970 */
    CQ_PROTO_HEADERS,   /* map<string, string>: an array of cq_header */
    CQ_PROTO_WEIGHTS,   /* map<string, int32>: an array of cq_queue_weight */
    CQ_PROTO_STRINGS,   /* repeated string: an array of cq_str */
} cq_proto_kind;

typedef struct cq_proto_field {
    cq_proto_kind kind;
    uint16_t offset;       /* of the value, or of the pointer to the array */
    uint16_t count_offset; /* arrays: of the size_t that counts their elements */
    const char *name;
} cq_proto_field;

/* A message: its fields in order of number, numbered 1, 2, 3, … without gaps. */
typedef struct cq_proto_message {
    const char *name;
    const cq_proto_field *fields;
    size_t field_count;
} cq_proto_message;

/* Append the encoding of *in, a struct that message describes, fields in order of number
 * and maps in the order given. EINVAL when a string is not UTF-8; ENOMEM, ETOOBIG from
 * the buffer. On failure out keeps its length. */
cronq_status cq_proto_encode(const cq_proto_message *message, const void *in, cq_buf *out,
                             cronq_error *err);

/* Read into *out, which the caller has zeroed. EPROTO with the reason, ENOMEM; *out is
 * half-filled then. Strings and bytes point into in, arrays are in the arena. */
cronq_status cq_proto_decode(const cq_proto_message *message, cronq_bytes in,
                             cq_arena *arena, void *out, cronq_error *err);

/* Writing by hand: each appends to out, whose status tells of failure at the end. */
typedef enum cq_proto_wire {
    CQ_WIRE_VARINT = 0,
    CQ_WIRE_FIXED64 = 1,
    CQ_WIRE_BYTES = 2,
    CQ_WIRE_GROUP = 3,
    CQ_WIRE_END_GROUP = 4,
    CQ_WIRE_FIXED32 = 5,
} cq_proto_wire;

void cq_proto_put_varint(cq_buf *out, uint64_t value);
void cq_proto_put_tag(cq_buf *out, uint32_t number, cq_proto_wire wire);
/* A whole field: tag and value. Messages within messages are bytes. */
void cq_proto_put_uint(cq_buf *out, uint32_t number, uint64_t value);
void cq_proto_put_bytes(cq_buf *out, uint32_t number, const void *data, size_t len);
void cq_proto_put_fixed64(cq_buf *out, uint32_t number, uint64_t value);

#endif
