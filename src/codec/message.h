/* SPDX-License-Identifier: MIT */
/* codec/message.h - a task as it is stored: Asynq's TaskMessage (proto3).
 *
 * A decoded message points into the bytes it was decoded from, but for its headers, whose
 * array is in the arena: it lives as long as both. */
#ifndef CQ_CODEC_MESSAGE_H
#define CQ_CODEC_MESSAGE_H

#include "base/arena.h"
#include "base/buf.h"

#include <cronq/base.h>

typedef struct cq_header {
    cq_str key, value;
} cq_header;

/* Field numbers of the wire in brackets. */
typedef struct cq_message {
    cq_str type;              /* [1] */
    cronq_bytes payload;      /* [2] data == NULL: absent; empty is not written */
    cq_str id;                /* [3] */
    cq_str queue;             /* [4] */
    int32_t max_retry;        /* [5] */
    int32_t retried;          /* [6] */
    cq_str error_msg;         /* [7] */
    int64_t timeout_s;        /* [8] 0: none */
    int64_t deadline_at_s;    /* [9] 0: none */
    cq_str unique_key;        /* [10] the whole key of the lock */
    int64_t last_failed_at_s; /* [11] */
    int64_t retention_s;      /* [12] */
    int64_t completed_at_s;   /* [13] */
    cq_str group;             /* [14] */
    const cq_header *headers; /* [15] */
    size_t header_count;
} cq_message;

/* Append the encoding, headers in the order given. EINVAL when a string field is not
 * UTF-8 (names the field); ENOMEM, ETOOBIG from the buffer. On failure out keeps its old
 * length. */
cronq_status cq_message_encode(const cq_message *message, cq_buf *out, cronq_error *err);

/* Accepts and rejects exactly what the Go reader does; EPROTO with the reason. Of
 * repeated header keys the last wins. */
cronq_status cq_message_decode(cronq_bytes in, cq_arena *arena, cq_message *out,
                               cronq_error *err);

/* Was what is stored made from the same push? Both decode, and are equal in all that does
 * not change while a task lives. */
bool cq_message_is_echo(cronq_bytes stored, cronq_bytes ours, cq_arena *arena);

/* Does it decode, and is it the message of this id and queue? EPROTO with the reason. */
cronq_status cq_message_check(cronq_bytes bytes, cq_str queue, cq_str id, cq_arena *arena,
                              cq_message *out, cronq_error *err);

/* Append a valid message, of type "corrupt", that stands for one that can not be read. */
cronq_status cq_message_replace(cq_str queue, cq_str id, const char *why, int64_t now_s,
                                cq_buf *out, cronq_error *err);

#endif
