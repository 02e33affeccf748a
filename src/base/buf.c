/* SPDX-License-Identifier: MIT */
/* buf.c - a growing byte buffer, born with a limit. */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define FIRST_CAPACITY 256

void cq_buf_init(cq_buf *buf, size_t limit_bytes)
{
    *buf = (cq_buf){ .limit = limit_bytes };
}

void cq_buf_release(cq_buf *buf)
{
    free(buf->data);
    *buf = (cq_buf){ .limit = buf->limit };
}

void cq_buf_reset(cq_buf *buf)
{
    buf->len = 0;
    buf->status = CRONQ_OK;
}

static bool grow(cq_buf *buf, size_t need)
{
    size_t cap = buf->cap ? buf->cap : FIRST_CAPACITY;
    char *data;

    while (cap < need)
        cap = cap > buf->limit / 2 ? buf->limit : cap * 2;
    if (cap > buf->limit)
        cap = buf->limit;
    data = realloc(buf->data, cap);
    if (!data) {
        buf->status = CRONQ_ENOMEM;
        return false;
    }
    buf->data = data;
    buf->cap = cap;
    return true;
}

char *cq_buf_reserve(cq_buf *buf, size_t size)
{
    if (buf->status)
        return NULL;
    if (size > buf->limit - buf->len) {
        buf->status = CRONQ_ETOOBIG;
        return NULL;
    }
    if (size > buf->cap - buf->len || !buf->data)
        if (!grow(buf, buf->len + size))
            return NULL;
    return buf->data + buf->len;
}

void cq_buf_append(cq_buf *buf, const void *data, size_t len)
{
    char *to;

    if (len == 0)
        return;
    to = cq_buf_reserve(buf, len);
    if (!to)
        return;
    memcpy(to, data, len);
    buf->len += len;
}

void cq_buf_append_str(cq_buf *buf, cq_str text)
{
    cq_buf_append(buf, text.data, text.len);
}

void cq_buf_append_text(cq_buf *buf, const char *text)
{
    cq_buf_append(buf, text, strlen(text));
}

void cq_buf_append_char(cq_buf *buf, char c)
{
    cq_buf_append(buf, &c, 1);
}

void cq_buf_append_int(cq_buf *buf, int64_t value)
{
    char digits[20], *end = digits + sizeof digits, *p = end;
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;

    do
        *--p = (char)('0' + rest % 10);
    while ((rest /= 10) != 0);
    if (value < 0)
        *--p = '-';
    cq_buf_append(buf, p, (size_t)(end - p));
}

void cq_buf_printf(cq_buf *buf, const char *format, ...)
{
    va_list args, again;
    char *to;
    int len;

    va_start(args, format);
    va_copy(again, args);
    len = vsnprintf(NULL, 0, format, args);
    to = len < 0 ? NULL : cq_buf_reserve(buf, (size_t)len + 1);
    if (to) {
        vsnprintf(to, (size_t)len + 1, format, again);
        buf->len += (size_t)len;
    }
    va_end(again);
    va_end(args);
}

void cq_buf_consume(cq_buf *buf, size_t count)
{
    buf->len -= count;
    if (buf->len)
        memmove(buf->data, buf->data + count, buf->len);
}

const char *cq_buf_text(cq_buf *buf)
{
    char *end = cq_buf_reserve(buf, 1);

    if (!end)
        return NULL;
    *end = '\0';
    return buf->data;
}
