/* SPDX-License-Identifier: MIT */
/* base/civil.h - calendar dates (proleptic Gregorian) from seconds since 1970, and back.
 *
 * Pure arithmetic: the caller adds the offset of a time zone. */
#ifndef CQ_BASE_CIVIL_H
#define CQ_BASE_CIVIL_H

#include <stdint.h>

/* Seconds since 1970 beyond this, in either direction, are not dates (35,000 years). */
#define CQ_CIVIL_MAX_S ((int64_t)1 << 40)

typedef struct cq_civil {
    int64_t year;
    int month; /* 1 to 12 */
    int day;   /* 1 to 31 */
    int hour, minute, second;
    int weekday; /* 0 is Sunday */
} cq_civil;

cq_civil cq_civil_of(int64_t s);

/* Seconds since 1970. The year, month and day may be any: the 32nd of January is the
 * first of February, month 13 is January of the next year. */
int64_t cq_civil_seconds(int64_t year, int64_t month, int64_t day, int hour, int minute,
                         int second);

int cq_days_in_month(int64_t year, int month);

#endif
