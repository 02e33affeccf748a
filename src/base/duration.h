/* SPDX-License-Identifier: MIT */
/* base/duration.h - durations as text, the way Go prints and parses them: "1h30m0s".
 *
 * Here rather than in the codec because the configuration file uses them too. */
#ifndef CQ_BASE_DURATION_H
#define CQ_BASE_DURATION_H

#include "base/buf.h"

/* As Go's time.ParseDuration: "300ms", "-1.5h", "2h45m"; a bare number needs a unit.
 * EINVAL with the text and the reason. */
cronq_status cq_duration_parse(cq_str text, int64_t *out_ns, cronq_error *err);

/* As Go's Duration.String: 90 s is "1m30s", 0 is "0s", 1500 ns is "1.5µs". */
void cq_duration_print(cq_buf *out, int64_t ns);

#endif
