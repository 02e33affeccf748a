/* SPDX-License-Identifier: MIT */
/* civil.c - calendar dates from seconds since 1970, and back.
 *
 * Days are counted in years that begin on the first of March, so that the leap day is the
 * last of its year; 400 such years always have 146,097 days. */
#include "base/civil.h"

#include <stdbool.h>

#define DAY_S          86400
#define DAYS_TO_1970   719468 /* from 0000-03-01 */
#define DAYS_PER_400   146097
#define DAYS_PER_100   36524
#define DAYS_PER_4     1461
#define THURSDAY       4 /* 1970-01-01 */
#define MARCH_TO_DEC   10
#define DAYS_PER_5_MON 153 /* March to July, and August to December */

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

cq_civil cq_civil_of(int64_t s)
{
    int64_t days = floor_div(s, DAY_S),
            era = floor_div(days + DAYS_TO_1970, DAYS_PER_400);
    int in_day = (int)((s % DAY_S + DAY_S) % DAY_S);
    int in_era = (int)(days + DAYS_TO_1970 - era * DAYS_PER_400);
    int year = (in_era - in_era / (DAYS_PER_4 - 1) + in_era / DAYS_PER_100 -
                in_era / (DAYS_PER_400 - 1)) /
               365;
    int in_year = in_era - (365 * year + year / 4 - year / 100);
    int march_month = (5 * in_year + 2) / DAYS_PER_5_MON;
    cq_civil date = {
        .day = in_year - (DAYS_PER_5_MON * march_month + 2) / 5 + 1,
        .month = march_month < MARCH_TO_DEC ? march_month + 3 : march_month - 9,
        .hour = in_day / 3600,
        .minute = in_day / 60 % 60,
        .second = in_day % 60,
        .weekday = (int)(days + THURSDAY - 7 * floor_div(days + THURSDAY, 7)),
    };

    date.year = era * 400 + year + (date.month <= 2);
    return date;
}

int64_t cq_civil_seconds(int64_t year, int64_t month, int64_t day, int hour, int minute,
                         int second)
{
    int64_t march_month = month - 3, march_year, era, days;
    int in_era;

    march_year = year + floor_div(march_month, 12);
    march_month -= 12 * floor_div(march_month, 12);
    era = floor_div(march_year, 400);
    in_era = (int)(march_year - era * 400);
    days = era * DAYS_PER_400 + 365 * in_era + in_era / 4 - in_era / 100 +
           (DAYS_PER_5_MON * march_month + 2) / 5 + day - 1 - DAYS_TO_1970;
    return days * DAY_S + hour * 3600 + minute * 60 + second;
}

int cq_days_in_month(int64_t year, int month)
{
    static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

    return days[month - 1] + (month == 2 && leap);
}
