/* SPDX-License-Identifier: MIT */
/* cron/cron.h - cron expressions: parse, next activation. Pure: no clock, no environment.
 *
 * Accepts what robfig/cron v3 accepts with an optional leading seconds field: five or six
 * fields, lists, ranges, steps, names, `?`, @yearly … @hourly, @every DURATION, and a TZ=
 * or CRON_TZ= prefix. Everything here is immutable once made and may be used by any
 * number of threads. */
#ifndef CQ_CRON_CRON_H
#define CQ_CRON_CRON_H

#include "base/str.h"

typedef struct cq_zone cq_zone; /* a time zone; a NULL one is UTC */

/* "UTC" (or empty), "Local" (the machine's /etc/localtime; UTC when there is none), or a
 * name below /usr/share/zoneinfo. EINVAL with the name. The caller frees. */
cronq_status cq_zone_open(cq_str name, cq_zone **out, cronq_error *err);
void cq_zone_free(cq_zone *zone);

/* Seconds to add to UTC at that instant. */
int32_t cq_zone_offset_s(const cq_zone *zone, int64_t unix_s);

typedef struct cq_cron cq_cron; /* a parsed expression */

enum cq_cron_flags {
    CQ_CRON_STANDARD = 0,        /* exactly five fields, as the reference */
    CQ_CRON_OPTIONAL_SECONDS = 1 /* five, or six with seconds first */
};

/* zone serves a spec without TZ=, and TZ=Local; NULL is UTC; borrowed until cq_cron_free.
 * EINVAL names the field, the column (in characters, from 1), the value and its limits.
 */
cronq_status cq_cron_parse(cq_str spec, const cq_zone *zone, unsigned flags,
                           cq_cron **out, cronq_error *err);
void cq_cron_free(cq_cron *cron);

/* The first activation strictly after unix_s, or INT64_MAX when the search, which ends
 * with the fifth year after this one, finds none. For @every: unix_s plus the period, the
 * rule of the reference. */
int64_t cq_cron_next(const cq_cron *cron, int64_t unix_s);

/* What the reference answers. Where clocks are set back within an hour, it may answer
 * unix_s itself, or an instant before it: only for comparing with it. */
int64_t cq_cron_next_compat(const cq_cron *cron, int64_t unix_s);

/* The period in seconds of @every, else 0: such entries take their phase from elsewhere.
 */
int64_t cq_cron_every_s(const cq_cron *cron);

/* The zone in which the fields are meant: of TZ=, else as given to cq_cron_parse. */
const cq_zone *cq_cron_zone(const cq_cron *cron);

#endif
