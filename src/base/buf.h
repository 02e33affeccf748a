/* SPDX-License-Identifier: MIT */
/* base/buf.h - a growing byte buffer, born with a limit.
 *
 * Invariants: len <= cap <= limit. A failed append changes nothing but status, and every
 * later append does nothing: append freely, look at status once. Not thread-safe. */
#ifndef CQ_BASE_BUF_H
#define CQ_BASE_BUF_H

#include "base/str.h"

#include <cronq/base.h>

typedef struct cq_buf {
    char *data;
    size_t len, cap, limit;
    cronq_status status; /* OK, or why an append failed: ENOMEM, ETOOBIG */
} cq_buf;

void cq_buf_init(cq_buf *buf, size_t limit_bytes);
void cq_buf_release(cq_buf *buf);

/* Forget the content and the failure, keep the memory. */
void cq_buf_reset(cq_buf *buf);

/* Room for size more bytes; returns where they go, or NULL after a failure. */
char *cq_buf_reserve(cq_buf *buf, size_t size);

void cq_buf_append(cq_buf *buf, const void *data, size_t len);
void cq_buf_append_str(cq_buf *buf, cq_str text);
void cq_buf_append_text(cq_buf *buf, const char *text);
void cq_buf_append_char(cq_buf *buf, char c);
void cq_buf_append_int(cq_buf *buf, int64_t value);
void cq_buf_printf(cq_buf *buf, const char *format, ...) CRONQ_PRINTF(2, 3);

/* Drop the first count bytes. */
void cq_buf_consume(cq_buf *buf, size_t count);

/* The content as a NUL-terminated string (the NUL is not counted); NULL after a failure.
 */
const char *cq_buf_text(cq_buf *buf);

static inline cq_str cq_buf_str(const cq_buf *buf)
{
    return (cq_str){ buf->data, buf->len };
}

#endif
