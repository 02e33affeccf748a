/* SPDX-License-Identifier: MIT */
/* zone_test.c - time zones against the C library, broken files, names, and many threads.
 */
#include "cron/zone.h"

#include "base/civil.h"
#include "base/thread.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof(a)[0])

static const char *const names[] = {
    "Europe/Berlin",     "America/New_York",  "Australia/Lord_Howe", "Asia/Kolkata",
    "Africa/Casablanca", "America/St_Johns",  "Pacific/Apia",        "Asia/Gaza",
    "America/Nuuk",      "Africa/Monrovia",   "Antarctica/Troll",    "Pacific/Chatham",
    "Asia/Jerusalem",    "America/Sao_Paulo", "Etc/GMT+5",           "EST5EDT",
    "America/Santiago",  "Asia/Tehran",       "Europe/Dublin",       "UTC",
};

static cq_zone *open_zone(const char *name)
{
    cq_zone *zone;
    cronq_error err;

    if (cq_zone_open(cq_str_of(name), &zone, &err))
        fail_msg("%s", err.text);
    return zone;
}

/* The C library reads the same files by other code, in a process-wide zone. */
static void offsets_agree_with_the_c_library(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(names); i++) {
        cq_zone *zone = open_zone(names[i]);

        setenv("TZ", names[i], 1);
        tzset();
        for (int64_t s = -2000000000; s < 6000000000; s += 86400 * 2 + 3607) {
            time_t at = (time_t)s;
            struct tm tm;

            assert_non_null(localtime_r(&at, &tm));
            if (cq_zone_offset_s(zone, s) != tm.tm_gmtoff)
                fail_msg("%s at %lld: %d, not %ld", names[i], (long long)s,
                         cq_zone_offset_s(zone, s), tm.tm_gmtoff);
        }
        cq_zone_free(zone);
    }
    unsetenv("TZ");
    tzset();
}

static void spans_join_and_hold_one_offset(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(names); i++) {
        cq_zone *zone = open_zone(names[i]);
        int64_t s = -2000000000;

        while (s < 6000000000) {
            cq_zone_span span = cq_zone_span_at(zone, s);

            assert_true(span.from_s <= s && s < span.until_s);
            assert_int_equal(cq_zone_offset_s(zone, span.until_s - 1), span.offset_s);
            if (span.from_s > INT64_MIN)
                assert_int_equal(cq_zone_offset_s(zone, span.from_s), span.offset_s);
            s = span.until_s;
        }
        cq_zone_free(zone);
    }
}

static void the_rule_serves_years_beyond_the_table(void **state)
{
    cq_zone *zone = open_zone("America/New_York");

    (void)state;
    /* 9999: summer time from the 14th of March to the 7th of November. */
    assert_int_equal(cq_zone_offset_s(zone, cq_civil_seconds(9999, 3, 14, 6, 59, 59)),
                     -5 * 3600);
    assert_int_equal(cq_zone_offset_s(zone, cq_civil_seconds(9999, 3, 14, 7, 0, 0)),
                     -4 * 3600);
    assert_int_equal(cq_zone_offset_s(zone, cq_civil_seconds(9999, 11, 7, 5, 59, 59)),
                     -4 * 3600);
    assert_int_equal(cq_zone_offset_s(zone, cq_civil_seconds(9999, 11, 7, 6, 0, 0)),
                     -5 * 3600);
    cq_zone_free(zone);
}

static void rules_are_read_as_posix_has_them(void **state)
{
    static const struct {
        const char *rule;
        int64_t year, month, day;
        int hour;
        int32_t offset_s;
    } cases[] = {
        { "EST5", 2026, 7, 1, 0, -18000 },
        { "<+0330>-3:30", 2026, 7, 1, 0, 12600 },
        { "EST5EDT", 2026, 7, 1, 0, -14400 },
        { "EST5EDT", 2026, 1, 1, 0, -18000 },
        { "AEST-10AEDT,M10.1.0,M4.1.0/3", 2026, 1, 1, 0, 39600 },
        { "AEST-10AEDT,M10.1.0,M4.1.0/3", 2026, 7, 1, 0, 36000 },
        { "<-02>2<-01>,M3.5.0/-1,M10.5.0/0", 2026, 3, 28, 0, -7200 },
        { "<-02>2<-01>,M3.5.0/-1,M10.5.0/0", 2026, 3, 29, 1, -3600 },
        { "XXX0YYY,J60/0,J300/0", 2024, 2, 29, 23, 0 },
        { "XXX0YYY,J60/0,J300/0", 2024, 3, 1, 0, 3600 },
        { "XXX0YYY,J60/0,J300/0", 2025, 3, 1, 0, 3600 },
        { "XXX0YYY,59/0,300/0", 2024, 2, 29, 0, 3600 },
        { "XXX0YYY,59/0,300/0", 2025, 2, 28, 23, 0 },
        { "IST-1GMT0,M10.5.0,M3.5.0/1", 2026, 7, 1, 0, 3600 },
        { "IST-1GMT0,M10.5.0,M3.5.0/1", 2026, 12, 1, 0, 0 },
        { "EET-2EEST,M3.4.4/50,M10.4.4/50", 2026, 3, 28, 0, 10800 },
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        int64_t s = cq_civil_seconds(cases[i].year, cases[i].month, cases[i].day,
                                     cases[i].hour, 0, 0);
        cq_zone_rule rule;

        assert_true(cq_zone_rule_parse(cq_str_of(cases[i].rule), &rule));
        if (cq_zone_rule_span(&rule, s).offset_s != cases[i].offset_s)
            fail_msg("%s, case %zu: %d", cases[i].rule, i,
                     cq_zone_rule_span(&rule, s).offset_s);
    }
}

static void broken_rules_are_refused(void **state)
{
    static const char *const cases[] = {
        "",
        "E5",
        "EST",
        "EST5EDT,",
        "EST5EDT,M3.2.0",
        "EST168",
        "<+03-3",
        "EST5EDT,M13.2.0,M11.1.0",
        "EST5EDT,M3.6.0,M11.1.0",
        "EST5EDT,M3.2.7,M11.1.0",
        "EST5EDT,J0,J1",
        "EST5EDT,366,1",
        "EST5:60",
        "EST5EDT,M3.2.0,M11.1.0,",
        "EST5EDT,M3.2.0/,M11.1.0",
        "EST99999999999999",
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        cq_zone_rule rule;

        if (cq_zone_rule_parse(cq_str_of(cases[i]), &rule))
            fail_msg("%s should be refused", cases[i]);
    }
}

static void names_that_are_no_zones_are_refused(void **state)
{
    static const cq_str cases[] = {
        { "Bad/Zone", 8 },
        { "../zoneinfo/UTC", 15 },
        { "Europe/../UTC", 13 },
        { "/etc/localtime", 14 },
        { "\\UTC", 4 },
        { "Europe", 6 },
        { "Europe/Berlin/x", 15 },
        { "Europe/Berlin\0", 14 },
        { "UTC\0x", 5 },
        { "tzdata.zi", 9 },
        { "zone.tab", 8 },
        { "utc", 3 },
        { ".", 1 },
        { "\xff", 1 },
        { "UTC+5", 5 },
    };
    char long_name[300];

    (void)state;
    memset(long_name, 'x', sizeof long_name);
    for (size_t i = 0; i <= COUNT(cases); i++) {
        cq_str name = i < COUNT(cases) ? cases[i] : (cq_str){ long_name, 300 };
        cq_zone *zone = NULL;
        cronq_error err = { 0 };

        if (cq_zone_open(name, &zone, &err) != CRONQ_EINVAL)
            fail_msg("%.*s should be refused", CQ_FMT(name));
        assert_int_equal(err.code, CRONQ_EINVAL);
        assert_null(zone);
    }
}

static void utc_and_local_need_no_zone_files(void **state)
{
    static const char *const utc[] = { "UTC", "" };
    cq_zone *zone;

    (void)state;
    for (size_t i = 0; i < COUNT(utc); i++) {
        zone = open_zone(utc[i]);
        assert_int_equal(cq_zone_offset_s(zone, 1768472262), 0);
        cq_zone_free(zone);
    }
    zone = open_zone("Local");
    assert_in_range(cq_zone_offset_s(zone, 1768472262) + 86400, 0, 2 * 86400);
    cq_zone_free(zone);
    cq_zone_free(NULL);
    assert_int_equal(cq_zone_offset_s(NULL, 0), 0);
}

static char *read_file(const char *path, size_t *len)
{
    FILE *file = fopen(path, "r");
    char *data = malloc(100000);

    assert_non_null(file);
    assert_non_null(data);
    *len = fread(data, 1, 100000, file);
    fclose(file);
    return data;
}

static void a_file_cut_anywhere_is_refused_or_loses_its_rule(void **state)
{
    size_t len;
    char *data = read_file("/usr/share/zoneinfo/Europe/Berlin", &len);

    (void)state;
    for (size_t cut = 0; cut < len; cut++) {
        cq_zone *zone = NULL;
        char *exact = malloc(cut ? cut : 1);

        assert_non_null(exact);
        memcpy(exact, data, cut);
        if (cq_zone_decode(CQ_STR("x"), (cq_str){ exact, cut }, &zone, NULL) == CRONQ_OK)
            assert_true(cut + 64 > len);
        cq_zone_free(zone);
        free(exact);
    }
    free(data);
}

static void a_file_with_any_byte_changed_is_survived(void **state)
{
    size_t len;
    char *data = read_file("/usr/share/zoneinfo/Pacific/Apia", &len);

    (void)state;
    for (size_t i = 0; i < len; i++)
        for (int bit = 0; bit < 8; bit++) {
            cq_zone *zone = NULL;

            data[i] = (char)(data[i] ^ 1 << bit);
            if (cq_zone_decode(CQ_STR("x"), (cq_str){ data, len }, &zone, NULL) ==
                CRONQ_OK)
                assert_in_range(cq_zone_offset_s(zone, 1768472262) + 100 * 3600, 0,
                                900 * 3600);
            cq_zone_free(zone);
            data[i] = (char)(data[i] ^ 1 << bit);
        }
    free(data);
}

static void *open_many(void *arg)
{
    size_t first = *(size_t *)arg;

    for (size_t i = 0; i < 200; i++) {
        size_t n = (first + i) % COUNT(names);
        cq_zone *zone;

        if (cq_zone_open(cq_str_of(names[n]), &zone, NULL))
            return arg;
        if (cq_zone_offset_s(zone, 1784000000) != cq_zone_offset_s(zone, 1784000001))
            return arg;
        cq_zone_free(zone);
    }
    return NULL;
}

static void many_threads_open_many_zones(void **state)
{
    enum { THREADS = 8 };
    pthread_t threads[THREADS];
    size_t firsts[THREADS];

    (void)state;
    for (size_t i = 0; i < THREADS; i++) {
        firsts[i] = i * 3;
        assert_int_equal(
            cq_thread_start(&threads[i], "zones", open_many, &firsts[i], NULL), CRONQ_OK);
    }
    for (size_t i = 0; i < THREADS; i++) {
        void *failed;

        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(offsets_agree_with_the_c_library),
        cmocka_unit_test(spans_join_and_hold_one_offset),
        cmocka_unit_test(the_rule_serves_years_beyond_the_table),
        cmocka_unit_test(rules_are_read_as_posix_has_them),
        cmocka_unit_test(broken_rules_are_refused),
        cmocka_unit_test(names_that_are_no_zones_are_refused),
        cmocka_unit_test(utc_and_local_need_no_zone_files),
        cmocka_unit_test(a_file_cut_anywhere_is_refused_or_loses_its_rule),
        cmocka_unit_test(a_file_with_any_byte_changed_is_survived),
        cmocka_unit_test(many_threads_open_many_zones),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
