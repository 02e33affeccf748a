/* SPDX-License-Identifier: MIT */
/* zone_rule.c - POSIX TZ rules: what holds after the last change that a zone file lists.
 */
#include "cron/zone.h"

#include "base/civil.h"

#define HOUR_S        3600
#define DAY_S         86400
#define TIME_MAX_H    167 /* RFC 8536, 3.3.1: up to a week, either way */
#define CHANGE_TIME_S (2 * HOUR_S)

/* When a rule names a summer time but not its dates. */
#define USUAL_DATES ",M3.2.0,M11.1.0"

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool take(cq_str *rest, char c)
{
    if (rest->len == 0 || rest->data[0] != c)
        return false;
    rest->data++;
    rest->len--;
    return true;
}

static bool take_int(cq_str *rest, int min, int max, int *out)
{
    int value = 0;

    if (rest->len == 0 || !is_digit(rest->data[0]))
        return false;
    while (rest->len && is_digit(rest->data[0])) {
        value = value * 10 + (rest->data[0] - '0');
        if (value > max)
            return false;
        rest->data++;
        rest->len--;
    }
    *out = value;
    return value >= min;
}

/* "CET", or "<+01>" with anything between the brackets. */
static bool take_name(cq_str *rest)
{
    size_t len = 0;

    if (take(rest, '<')) {
        while (rest->len && rest->data[0] != '>')
            take(rest, rest->data[0]);
        return take(rest, '>');
    }
    while (rest->len && !is_digit(rest->data[0]) && !strchr(",-+", rest->data[0])) {
        take(rest, rest->data[0]);
        len++;
    }
    return len >= 3;
}

/* "-1", "3:30", "+12:45:30" as seconds. */
static bool take_time(cq_str *rest, int32_t *out)
{
    int hours, minutes = 0, seconds = 0;
    bool negative = take(rest, '-');

    if (!negative)
        take(rest, '+');
    if (!take_int(rest, 0, TIME_MAX_H, &hours))
        return false;
    if (take(rest, ':')) {
        if (!take_int(rest, 0, 59, &minutes))
            return false;
        if (take(rest, ':') && !take_int(rest, 0, 59, &seconds))
            return false;
    }
    *out = (negative ? -1 : 1) * (hours * HOUR_S + minutes * 60 + seconds);
    return true;
}

static bool take_date(cq_str *rest, cq_zone_day *date)
{
    *date = (cq_zone_day){ .kind = CQ_DAY_OF_YEAR };
    if (take(rest, 'J')) {
        date->kind = CQ_DAY_NO_LEAP;
        return take_int(rest, 1, 365, &date->day);
    }
    if (!take(rest, 'M'))
        return take_int(rest, 0, 365, &date->day);
    date->kind = CQ_DAY_OF_WEEK;
    return take_int(rest, 1, 12, &date->month) && take(rest, '.') &&
           take_int(rest, 1, 5, &date->week) && take(rest, '.') &&
           take_int(rest, 0, 6, &date->day);
}

static bool take_day(cq_str *rest, cq_zone_day *day)
{
    if (!take(rest, ',') || !take_date(rest, day))
        return false;
    day->time_s = CHANGE_TIME_S;
    return !take(rest, '/') || take_time(rest, &day->time_s);
}

bool cq_zone_rule_parse(cq_str text, cq_zone_rule *rule)
{
    cq_zone_rule parsed = { 0 };

    if (!take_name(&text) || !take_time(&text, &parsed.standard_s))
        return false;
    /* POSIX counts west as positive. */
    parsed.standard_s = -parsed.standard_s;
    if (text.len) {
        parsed.has_summer = true;
        parsed.summer_s = -(parsed.standard_s + HOUR_S);
        if (!take_name(&text))
            return false;
        if (text.len && text.data[0] != ',' && !take_time(&text, &parsed.summer_s))
            return false;
        parsed.summer_s = -parsed.summer_s;
        if (text.len == 0)
            text = CQ_STR(USUAL_DATES);
        if (!take_day(&text, &parsed.start) || !take_day(&text, &parsed.end) || text.len)
            return false;
    }
    *rule = parsed;
    return true;
}

/* The instant of a change in that year; offset_s holds before it. */
static int64_t change_s(const cq_zone_day *date, int64_t year, int32_t offset_s)
{
    int64_t s = cq_civil_seconds(year, 1, 1, 0, 0, 0);
    int first_weekday, day;

    switch (date->kind) {
    case CQ_DAY_NO_LEAP:
        s += (date->day - 1) * DAY_S;
        if (date->day >= 60 && cq_days_in_month(year, 2) == 29)
            s += DAY_S;
        break;
    case CQ_DAY_OF_YEAR:
        s += (int64_t)date->day * DAY_S;
        break;
    case CQ_DAY_OF_WEEK:
        s = cq_civil_seconds(year, date->month, 1, 0, 0, 0);
        first_weekday = cq_civil_of(s).weekday;
        day = (date->day - first_weekday + 7) % 7 + 7 * (date->week - 1);
        if (day >= cq_days_in_month(year, date->month))
            day -= 7;
        s += (int64_t)day * DAY_S;
        break;
    }
    return s + date->time_s - offset_s;
}

static int64_t min_s(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t max_s(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Spans end with the (UTC) year: each year's changes are worked out afresh. */
cq_zone_span cq_zone_rule_span(const cq_zone_rule *rule, int64_t unix_s)
{
    cq_zone_span span = { INT64_MIN, INT64_MAX, rule->standard_s };
    int64_t year, start_s, end_s, first_s, second_s;
    bool summer;

    if (!rule->has_summer)
        return span;
    year = cq_civil_of(unix_s).year;
    start_s = change_s(&rule->start, year, rule->standard_s);
    end_s = change_s(&rule->end, year, rule->summer_s);
    first_s = min_s(start_s, end_s);
    second_s = max_s(start_s, end_s);
    span.from_s = cq_civil_seconds(year, 1, 1, 0, 0, 0);
    span.until_s = cq_civil_seconds(year + 1, 1, 1, 0, 0, 0);
    if (unix_s < first_s) {
        span.until_s = min_s(span.until_s, first_s);
    } else if (unix_s < second_s) {
        span.from_s = max_s(span.from_s, first_s);
        span.until_s = min_s(span.until_s, second_s);
    } else {
        span.from_s = max_s(span.from_s, second_s);
    }
    /* In the south the year begins in summer: it ends before it starts. */
    summer = (unix_s >= first_s && unix_s < second_s) == (start_s <= end_s);
    if (summer)
        span.offset_s = rule->summer_s;
    return span;
}
