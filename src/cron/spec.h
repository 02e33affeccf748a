/* SPDX-License-Identifier: MIT */
/* cron/spec.h - what a parsed expression holds: shared by parse.c and next.c only. */
#ifndef CQ_CRON_SPEC_H
#define CQ_CRON_SPEC_H

#include "cron/cron.h"

enum cq_cron_field {
    CQ_CRON_SECOND,
    CQ_CRON_MINUTE,
    CQ_CRON_HOUR,
    CQ_CRON_DAY,
    CQ_CRON_MONTH,
    CQ_CRON_WEEKDAY,
    CQ_CRON_FIELD_COUNT
};

/* In the set of a field that had a `*` or `?`: it decides how day and weekday combine. */
#define CQ_CRON_STAR ((uint64_t)1 << 63)

struct cq_cron {
    uint64_t sets[CQ_CRON_FIELD_COUNT]; /* bit n: the value n activates */
    bool never;                         /* a set that must match is empty: "," */
    int64_t every_s;                    /* of @every, then the sets mean nothing */
    const cq_zone *zone;
    cq_zone *own_zone; /* of TZ=, or NULL */
};

#endif
