/* SPDX-License-Identifier: MIT */
/* next.c - cron expressions: the next activation.
 *
 * A walk over local time that answers as the reference does, also where clocks are
 * changed: month, day, hour, minute and second are moved on in turn until each is in its
 * set; one that overflows sends the walk back to the month, to look at all of them again.
 * The first move sets what is below it to its beginning (aligned). Months and days are
 * moved by the calendar, hours and below by elapsed time: an hour that the clocks skip
 * does not activate, one that they repeat does so twice. */
#include "cron/spec.h"
#include "cron/zone.h"

#include "base/civil.h"

#define SEARCH_YEARS 5
#define MINUTE_S     60
#define HOUR_S       3600
#define DAY_S        86400

/* Where the walk is. Invariant: date is the local date and time of at_s. */
typedef struct walk {
    const cq_cron *cron;
    cq_zone_span span; /* the last one looked up: nearly always the next one too */
    int64_t at_s;
    cq_civil date;
    bool aligned; /* the date is the beginning of what was moved */
} walk;

static int32_t offset_at(walk *w, int64_t unix_s)
{
    if (unix_s < w->span.from_s || unix_s >= w->span.until_s)
        w->span = cq_zone_span_at(w->cron->zone, unix_s);
    return w->span.offset_s;
}

static void move_to(walk *w, int64_t unix_s)
{
    w->at_s = unix_s;
    w->date = cq_civil_of(unix_s + offset_at(w, unix_s));
}

/* The instant of a local time (in seconds, as if it were UTC). One that is skipped or
 * repeated gets the offset that is found by taking it for UTC first, then once more: in a
 * gap this is before the gap in the west and after it in the east. */
static int64_t instant_of(walk *w, int64_t local_s)
{
    int32_t offset_s = offset_at(w, local_s);

    if (offset_s == 0)
        return local_s;
    return local_s - offset_at(w, local_s - offset_s);
}

static int64_t local_of(walk *w)
{
    return w->at_s + offset_at(w, w->at_s);
}

static bool in_set(const walk *w, enum cq_cron_field field, int value)
{
    return w->cron->sets[field] >> value & 1;
}

/* Both must fit when one of them is a star, either when both are given. */
static bool day_matches(const walk *w)
{
    bool day = in_set(w, CQ_CRON_DAY, w->date.day);
    bool weekday = in_set(w, CQ_CRON_WEEKDAY, w->date.weekday);
    uint64_t either = w->cron->sets[CQ_CRON_DAY] | w->cron->sets[CQ_CRON_WEEKDAY];

    return either & CQ_CRON_STAR ? day && weekday : day || weekday;
}

/* True when the month was found, false when the year is over. */
static bool find_month(walk *w)
{
    while (!in_set(w, CQ_CRON_MONTH, w->date.month)) {
        const cq_civil *d = &w->date;

        if (!w->aligned) {
            w->aligned = true;
            move_to(w, instant_of(w, cq_civil_seconds(d->year, d->month, 1, 0, 0, 0)));
        }
        move_to(w, instant_of(w, cq_civil_seconds(d->year, d->month + 1, d->day, d->hour,
                                                  d->minute, d->second)));
        if (d->month == 1)
            return false;
    }
    return true;
}

/* Where midnight does not exist: the nearest full hour that is one. */
static void move_to_midnight(walk *w)
{
    if (w->date.hour > 12)
        move_to(w, w->at_s + (24 - w->date.hour) * HOUR_S);
    else if (w->date.hour > 0)
        move_to(w, w->at_s - w->date.hour * HOUR_S);
}

/* To the next day; where the zone leaves out a whole day, to the one after. */
static void add_day(walk *w)
{
    int64_t from_s = w->at_s, local_s = local_of(w);

    do {
        local_s += DAY_S;
        move_to(w, instant_of(w, local_s));
        move_to_midnight(w);
    } while (w->at_s <= from_s);
}

/* False when the month is over. */
static bool find_day(walk *w)
{
    while (!day_matches(w)) {
        const cq_civil *d = &w->date;

        if (!w->aligned) {
            w->aligned = true;
            move_to(w,
                    instant_of(w, cq_civil_seconds(d->year, d->month, d->day, 0, 0, 0)));
        }
        add_day(w);
        if (d->day == 1)
            return false;
    }
    return true;
}

/* False when the day is over. */
static bool find_hour(walk *w)
{
    while (!in_set(w, CQ_CRON_HOUR, w->date.hour)) {
        if (!w->aligned) {
            w->aligned = true;
            move_to(w, instant_of(w, local_of(w) - w->date.minute * MINUTE_S -
                                         w->date.second));
        }
        move_to(w, w->at_s + HOUR_S);
        if (w->date.hour == 0)
            return false;
    }
    return true;
}

/* False when the hour is over. */
static bool find_minute(walk *w)
{
    while (!in_set(w, CQ_CRON_MINUTE, w->date.minute)) {
        if (!w->aligned) {
            w->aligned = true;
            /* By the clock of UTC, also where the offset has seconds. */
            move_to(w, w->at_s - cq_civil_of(w->at_s).second);
        }
        move_to(w, w->at_s + MINUTE_S);
        if (w->date.minute == 0)
            return false;
    }
    return true;
}

/* False when the minute is over. */
static bool find_second(walk *w)
{
    while (!in_set(w, CQ_CRON_SECOND, w->date.second)) {
        w->aligned = true;
        move_to(w, w->at_s + 1);
        if (w->date.second == 0)
            return false;
    }
    return true;
}

static int64_t search(const cq_cron *cron, int64_t after_s)
{
    walk w = { .cron = cron, .span = cq_zone_span_at(cron->zone, after_s + 1) };
    int64_t last_year;

    move_to(&w, after_s + 1);
    last_year = w.date.year + SEARCH_YEARS;
    while (w.date.year <= last_year)
        if (find_month(&w) && find_day(&w) && find_hour(&w) && find_minute(&w) &&
            find_second(&w))
            return w.at_s;
    return INT64_MAX;
}

int64_t cq_cron_next_compat(const cq_cron *cron, int64_t unix_s)
{
    int64_t next_s;

    if (cron->every_s)
        return __builtin_add_overflow(unix_s, cron->every_s, &next_s) ? INT64_MAX
                                                                      : next_s;
    if (cron->never || unix_s < -CQ_CIVIL_MAX_S || unix_s > CQ_CIVIL_MAX_S)
        return INT64_MAX;
    return search(cron, unix_s);
}

/* Aligning goes back in time, and minutes move on without a look at the hour. So where
 * clocks are set back, other than from one full hour to another, the walk may end
 * where it began, or before. Then a later second is as good a start. */
int64_t cq_cron_next(const cq_cron *cron, int64_t unix_s)
{
    int64_t from_s = unix_s, next_s = cq_cron_next_compat(cron, from_s);

    while (next_s <= unix_s && next_s != INT64_MAX)
        next_s = cq_cron_next_compat(cron, ++from_s);
    return next_s;
}
