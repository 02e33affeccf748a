/* SPDX-License-Identifier: MIT */
/* cron/cron.h - cron expressions: parse, next activation. Pure: no clock, no environment.
 *
 * Accepts what robfig/cron v3 accepts with an optional leading seconds field: five or six
 * fields, lists, ranges, steps, names, `?`, @yearly … @hourly, @every DURATION, and a TZ=
 * or CRON_TZ= prefix. Zones come from the system's tzdata files and are shared,
 * read-only, by all that name them. */
#ifndef CQ_CRON_CRON_H
#define CQ_CRON_CRON_H

#include "base/str.h"

typedef struct cq_zone cq_zone; /* a time zone, immutable after opening */

/* "UTC", "Local" (or empty: the machine's /etc/localtime), or an IANA name. EINVAL with
 * the name. The caller frees; safe from any thread. */
cronq_status cq_zone_open(cq_str name, cq_zone **out, cronq_error *err);
void cq_zone_free(cq_zone *zone);

/* Seconds to add to UTC at that instant. */
int32_t cq_zone_offset_s(const cq_zone *zone, int64_t unix_s);

typedef struct cq_cron cq_cron; /* a parsed expression, immutable */

enum cq_cron_flags {
    CQ_CRON_STANDARD = 0,        /* exactly five fields, as the reference */
    CQ_CRON_OPTIONAL_SECONDS = 1 /* five, or six with seconds first */
};

/* zone is the default for a spec without TZ=; NULL is UTC; borrowed until cq_cron_free.
 * EINVAL names the field and the position. */
cronq_status cq_cron_parse(cq_str spec, const cq_zone *zone, unsigned flags,
                           cq_cron **out, cronq_error *err);
void cq_cron_free(cq_cron *cron);

/* The first activation strictly after unix_s, or INT64_MAX when there is none within five
 * years. For @every: unix_s plus the period, the rule of the reference. */
int64_t cq_cron_next(const cq_cron *cron, int64_t unix_s);

/* The period in seconds of @every, else 0: such entries take their phase from elsewhere.
 */
int64_t cq_cron_every_s(const cq_cron *cron);

#endif
