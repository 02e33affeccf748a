/* SPDX-License-Identifier: MIT */
/* cronq/cron.h - when a cron expression activates, without a store or a scheduler. */
#ifndef CRONQ_CRON_H
#define CRONQ_CRON_H

#include "base.h"

CRONQ_BEGIN

/* A cron expression and its time zone. Never changes: any number of threads may use it.
 */
typedef struct cronq_cron cronq_cron;

/* What cronq_cron_next answers when there is no next time. */
#define CRONQ_CRON_NEVER INT64_MAX

/* spec has five fields, six with seconds first, or is @every 90s, @daily and the like;
 * TZ=ZONE and a space may stand before it (docs/cron.md). time_zone is an IANA name,
 * "UTC" or "Local"; NULL is "Local". Both are copied. *out is the caller's. EINVAL names
 * the field, the column (in characters, from 1), the value and what is allowed. */
cronq_status cronq_cron_parse(const char *spec, const char *time_zone, cronq_cron **out,
                              cronq_error *err) CRONQ_CHECKED;
void cronq_cron_free(cronq_cron *cron); /* NULL is fine */

/* The first activation later than after_ms, in Unix milliseconds (always a whole second),
 * or CRONQ_CRON_NEVER when there is none until the end of the fifth year after. @every
 * activates one period after the second of after_ms. Takes microseconds. */
int64_t cronq_cron_next(const cronq_cron *cron, int64_t after_ms);

/* The same, but where clocks are set back within an hour it may answer a time that is not
 * later than after_ms, as robfig/cron does. For comparing, not for loops. */
int64_t cronq_cron_next_compat(const cronq_cron *cron, int64_t after_ms);

/* Seconds to add to UTC to show at_ms in the time_zone of cronq_cron_parse; when that was
 * NULL, in the zone of TZ=, else of the machine. */
int32_t cronq_cron_offset_s(const cronq_cron *cron, int64_t at_ms);

CRONQ_END
#endif /* CRONQ_CRON_H */
