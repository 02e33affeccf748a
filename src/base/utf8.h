/* SPDX-License-Identifier: MIT */
/* base/utf8.h - is it UTF-8, and if not, make it so (The Unicode Standard, table 3-7). */
#ifndef CQ_BASE_UTF8_H
#define CQ_BASE_UTF8_H

#include "base/buf.h"

bool cq_utf8_valid(const void *data, size_t len);

/* Length of the well-formed sequence at the start of data; 0 when there is none. */
size_t cq_utf8_sequence(const void *data, size_t len);

/* The code point that a well-formed sequence of len bytes stands for. */
uint32_t cq_utf8_rune(const void *sequence, size_t len);

/* Append data with each byte that is not part of a well-formed sequence replaced by
 * U+FFFD, cut on a sequence boundary to at most limit_bytes. */
void cq_utf8_repair(cq_buf *out, const void *data, size_t len, size_t limit_bytes);

/* The same into a fixed NUL-terminated text of size bytes; size must not be 0. */
void cq_utf8_copy(char *out, size_t size, const void *data, size_t len);

#endif
