/* SPDX-License-Identifier: MIT */
/* base/str.h - a borrowed run of characters: what the codec decodes to and builds from.
 */
#ifndef CQ_BASE_STR_H
#define CQ_BASE_STR_H

#include <cronq/base.h>
#include <string.h>

/* Not NUL-terminated. data may be NULL only when len is 0. */
typedef struct cq_str {
    const char *data;
    size_t len;
} cq_str;

/* A cq_str from a literal. */
#define CQ_STR(s) ((cq_str){ "" s, sizeof(s) - 1 })

/* For printf: "%.*s", CQ_FMT(str). */
#define CQ_FMT(s) (int)(s).len, (s).data ? (s).data : ""

/* NULL becomes the empty string. */
static inline cq_str cq_str_of(const char *text)
{
    return (cq_str){ text ? text : "", text ? strlen(text) : 0 };
}

static inline bool cq_str_eq(cq_str a, cq_str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static inline bool cq_str_starts(cq_str text, cq_str prefix)
{
    return text.len >= prefix.len &&
           (prefix.len == 0 || memcmp(text.data, prefix.data, prefix.len) == 0);
}

#endif
