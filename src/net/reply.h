/* SPDX-License-Identifier: MIT */
/* net/reply.h - replies of Redis (RESP2), parsed by hiredis into an arena. */
#ifndef CQ_NET_REPLY_H
#define CQ_NET_REPLY_H

#include "base/arena.h"
#include "base/str.h"

#define CQ_REPLY_ELEMENTS_LIMIT (1024 * 1024)       /* of one array */
#define CQ_REPLY_BYTES_LIMIT    ((size_t)512 << 20) /* of one string */
#define CQ_REPLY_DEPTH_LIMIT    7                   /* arrays around an array */

typedef enum cq_reply_type {
    CQ_REPLY_NIL,
    CQ_REPLY_STRING,
    CQ_REPLY_STATUS,
    CQ_REPLY_ERROR,
    CQ_REPLY_INTEGER,
    CQ_REPLY_ARRAY,
} cq_reply_type;

typedef struct cq_reply {
    cq_reply_type type;
    size_t count;    /* ARRAY: elements */
    int64_t integer; /* INTEGER */
    cq_str text;     /* STRING, STATUS, ERROR: NUL-terminated too, in the arena */
    struct cq_reply *elements;
} cq_reply;

/* Does an error reply begin with this word ("NOSCRIPT", "OOM")? */
bool cq_reply_is_error(const cq_reply *reply, const char *word);

/* The number in an INTEGER or a decimal STRING; fallback for anything else. */
int64_t cq_reply_int(const cq_reply *reply, int64_t fallback);

#endif
