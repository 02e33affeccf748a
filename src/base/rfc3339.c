/* SPDX-License-Identifier: MIT */
/* rfc3339.c - instants as text. */
#include "base/rfc3339.h"

#include "base/civil.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/quote.h"

#include <stdlib.h>

enum field { YEAR, MONTH, DAY, HOUR, MINUTE, SECOND, FIELD_COUNT };

/* What stands in "2026-01-15T10:17:42": digits, then the character after them. */
static const struct {
    const char *name;
    int digits, min, max;
    char after;
} fields[FIELD_COUNT] = {
    { "year", 4, 0, 9999, '-' }, { "month", 2, 1, 12, '-' },
    { "day", 2, 1, 31, 'T' },    { "hour", 2, 0, 23, ':' },
    { "minute", 2, 0, 59, ':' }, { "second", 2, 0, 59, '\0' },
};

static cronq_status malformed(cq_str text, cronq_error *err)
{
    char room[CQ_QUOTED_ROOM];

    return cq_fail(err, CRONQ_EINVAL,
                   "%s is not a time like 2026-01-15T10:17:42Z or "
                   "2026-01-15T10:17:42.5+01:00",
                   cq_quoted(text, room));
}

/* Take so many digits from the front of rest; -1 when they are not there. */
static int take_digits(cq_str *rest, int count)
{
    int value = 0;

    if (rest->len < (size_t)count)
        return -1;
    for (int i = 0; i < count; i++) {
        if (rest->data[i] < '0' || rest->data[i] > '9')
            return -1;
        value = value * 10 + (rest->data[i] - '0');
    }
    rest->data += count;
    rest->len -= (size_t)count;
    return value;
}

static bool take_char(cq_str *rest, char c)
{
    if (rest->len == 0 || (rest->data[0] != c && rest->data[0] != (c | 0x20)))
        return false;
    rest->data++;
    rest->len--;
    return true;
}

static cronq_status take_fields(cq_str text, cq_str *rest, int *values, cronq_error *err)
{
    char room[CQ_QUOTED_ROOM];

    for (int i = 0; i < FIELD_COUNT; i++) {
        values[i] = take_digits(rest, fields[i].digits);
        if (values[i] < 0 || (fields[i].after && !take_char(rest, fields[i].after)))
            return malformed(text, err);
    }
    for (int i = 0; i < FIELD_COUNT; i++) {
        int max =
            i == DAY ? cq_days_in_month(values[YEAR], values[MONTH]) : fields[i].max;

        if (values[i] < fields[i].min || values[i] > max)
            return cq_fail(err, CRONQ_EINVAL, "%s: %s %d is not within %d and %d",
                           cq_quoted(text, room), fields[i].name, values[i],
                           fields[i].min, max);
    }
    return CRONQ_OK;
}

/* ".5" is 500,000,000; nothing is 0; -1 for a point without digits. */
static int32_t take_fraction(cq_str *rest)
{
    int32_t ns = 0, unit = 100000000;
    int digit, count = 0;

    if (!take_char(rest, '.'))
        return 0;
    while ((digit = take_digits(rest, 1)) >= 0) {
        ns += digit * unit;
        unit /= 10;
        count++;
    }
    return count ? ns : -1;
}

/* "Z", "+01:00"; false when it is neither, or something follows. */
static bool take_offset(cq_str *rest, int *offset_s)
{
    bool east = take_char(rest, '+');
    int hours, minutes;

    *offset_s = 0;
    if (!east && !take_char(rest, '-'))
        return take_char(rest, 'Z') && rest->len == 0;
    hours = take_digits(rest, 2);
    if (hours < 0 || hours > 23 || !take_char(rest, ':'))
        return false;
    minutes = take_digits(rest, 2);
    if (minutes < 0 || minutes > 59 || rest->len != 0)
        return false;
    *offset_s = (east ? 1 : -1) * (hours * 3600 + minutes * 60);
    return true;
}

cronq_status cq_rfc3339_parse_s(cq_str text, int64_t *unix_s, int32_t *ns,
                                cronq_error *err)
{
    int values[FIELD_COUNT] = { 0 }, offset_s;
    cq_str rest = text;
    int32_t fraction;
    cronq_status status = take_fields(text, &rest, values, err);

    if (status)
        return status;
    fraction = take_fraction(&rest);
    if (fraction < 0 || !take_offset(&rest, &offset_s))
        return malformed(text, err);
    *unix_s = cq_civil_seconds(values[YEAR], values[MONTH], values[DAY], values[HOUR],
                               values[MINUTE], values[SECOND]) -
              offset_s;
    *ns = fraction;
    return CRONQ_OK;
}

cronq_status cq_rfc3339_parse(cq_str text, int64_t *unix_ns, cronq_error *err)
{
    char room[CQ_QUOTED_ROOM];
    int64_t s, whole_ns, sum;
    int32_t ns;
    cronq_status status = cq_rfc3339_parse_s(text, &s, &ns, err);

    if (status)
        return status;
    if (__builtin_mul_overflow(s, CQ_NS_PER_S, &whole_ns) ||
        __builtin_add_overflow(whole_ns, ns, &sum))
        return cq_fail(err, CRONQ_EINVAL, "%s is not within the years 1678 and 2262",
                       cq_quoted(text, room));
    *unix_ns = sum;
    return CRONQ_OK;
}

void cq_rfc3339_print_s(cq_buf *out, int64_t unix_s, int32_t ns, int32_t offset_s)
{
    cq_civil date = cq_civil_of(unix_s + offset_s);
    int minutes = abs(offset_s) / 60;

    cq_buf_printf(out, "%04lld-%02d-%02dT%02d:%02d:%02d", (long long)date.year,
                  date.month, date.day, date.hour, date.minute, date.second);
    if (ns > 0) {
        cq_buf_printf(out, ".%09d", (int)ns);
        while (out->status == CRONQ_OK && out->data[out->len - 1] == '0')
            out->len--;
    }
    if (offset_s == 0)
        cq_buf_append_char(out, 'Z');
    else
        cq_buf_printf(out, "%c%02d:%02d", offset_s <= -60 ? '-' : '+', minutes / 60,
                      minutes % 60);
}

void cq_rfc3339_print(cq_buf *out, int64_t unix_ns, int32_t offset_s)
{
    int32_t ns = (int32_t)(unix_ns % CQ_NS_PER_S);
    int64_t s = unix_ns / CQ_NS_PER_S;

    if (ns < 0) {
        ns += (int32_t)CQ_NS_PER_S;
        s--;
    }
    cq_rfc3339_print_s(out, s, ns, offset_s);
}
