/* SPDX-License-Identifier: MIT */
/* cron/zone.h - time zones from the inside: TZif data (RFC 8536), and spans of one
 * offset.
 */
#ifndef CQ_CRON_ZONE_H
#define CQ_CRON_ZONE_H

#include "cron/cron.h"

#define CQ_ZONE_FILE_MAX_BYTES ((size_t)1 << 20)
#define CQ_ZONE_NAME_MAX_BYTES 255

/* from_s <= instant < until_s all have this offset; the zone's span may be longer. */
typedef struct cq_zone_span {
    int64_t from_s, until_s;
    int32_t offset_s;
} cq_zone_span;

cq_zone_span cq_zone_span_at(const cq_zone *zone, int64_t unix_s);

/* The content of a zone file. EINVAL, naming the zone and what is wrong. */
cronq_status cq_zone_decode(cq_str name, cq_str data, cq_zone **out, cronq_error *err);

/* A POSIX TZ rule such as "CET-1CEST,M3.5.0,M10.5.0/3" (the footer of a TZif file). */
typedef struct cq_zone_day {
    enum {
        CQ_DAY_NO_LEAP,
        CQ_DAY_OF_YEAR,
        CQ_DAY_OF_WEEK
    } kind; /* "J60", "59", "M3.5.0" */
    int month, week, day;
    int32_t time_s; /* of the local clock before the change */
} cq_zone_day;

typedef struct cq_zone_rule {
    bool has_summer;
    int32_t standard_s, summer_s; /* offsets */
    cq_zone_day start, end;       /* of summer time */
} cq_zone_rule;

bool cq_zone_rule_parse(cq_str text, cq_zone_rule *rule);
cq_zone_span cq_zone_rule_span(const cq_zone_rule *rule, int64_t unix_s);

#endif
