/* SPDX-License-Identifier: MIT */
/* base/rfc3339.h - instants as text: "2026-01-15T10:17:42.5+01:00" (RFC 3339). */
#ifndef CQ_BASE_RFC3339_H
#define CQ_BASE_RFC3339_H

#include "base/buf.h"

/* Years 0000 to 9999, any offset below a day, or Z. Digits of the fraction beyond the
 * ninth are cut. EINVAL with the text, the field and its limits; second 60 is refused.
 * unix_s is rounded down, ns is what is missing, 0 to 999,999,999. */
cronq_status cq_rfc3339_parse_s(cq_str text, int64_t *unix_s, int32_t *ns,
                                cronq_error *err);

/* The same as nanoseconds, which end in the years 1678 and 2262: EINVAL beyond. */
cronq_status cq_rfc3339_parse(cq_str text, int64_t *unix_ns, cronq_error *err);

/* Append the instant as the clocks of that offset show it, with a fraction only when
 * there is one; "Z" for 0. Seconds of an offset (before 1972) cannot be written: they are
 * cut from the offset and kept in the time. */
void cq_rfc3339_print_s(cq_buf *out, int64_t unix_s, int32_t ns, int32_t offset_s);
void cq_rfc3339_print(cq_buf *out, int64_t unix_ns, int32_t offset_s);

#endif
