/* SPDX-License-Identifier: MIT */
/* rfc3339_test.c - calendar dates, and instants as text. */
#include "base/rfc3339.h"

#include "base/civil.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof(a)[0])

static void calendar_agrees_with_the_c_library(void **state)
{
    (void)state;
    for (int64_t s = -62167219200; s < 253402300800; s += 86400 * 3 + 12345) {
        time_t at = (time_t)s;
        struct tm tm;
        cq_civil date = cq_civil_of(s);

        assert_non_null(gmtime_r(&at, &tm));
        assert_int_equal(date.year, tm.tm_year + 1900);
        assert_int_equal(date.month, tm.tm_mon + 1);
        assert_int_equal(date.day, tm.tm_mday);
        assert_int_equal(date.hour, tm.tm_hour);
        assert_int_equal(date.minute, tm.tm_min);
        assert_int_equal(date.second, tm.tm_sec);
        assert_int_equal(date.weekday, tm.tm_wday);
        assert_int_equal(cq_civil_seconds(date.year, date.month, date.day, date.hour,
                                          date.minute, date.second),
                         s);
        assert_true(date.day <= cq_days_in_month(date.year, date.month));
    }
}

static void days_and_months_out_of_range_roll_over(void **state)
{
    int64_t day = cq_civil_seconds(2027, 1, 1, 0, 0, 0);

    (void)state;
    assert_int_equal(cq_civil_seconds(2026, 13, 1, 0, 0, 0), day);
    assert_int_equal(cq_civil_seconds(2026, 12, 32, 0, 0, 0), day);
    assert_int_equal(cq_civil_seconds(2028, -11, 1, 0, 0, 0), day);
    assert_int_equal(cq_civil_seconds(2027, 1, 0, 0, 0, 0), day - 86400);
    assert_int_equal(cq_civil_seconds(2028, 2, 30, 0, 0, 0),
                     cq_civil_seconds(2028, 3, 1, 0, 0, 0));
}

static void instants_are_read(void **state)
{
    static const struct {
        const char *text;
        int64_t ns;
    } cases[] = {
        { "1970-01-01T00:00:00Z", 0 },
        { "1970-01-01t00:00:00z", 0 },
        { "1970-01-01T00:00:00-00:00", 0 },
        { "2026-01-15T10:17:42.5+01:00", 1768468662500000000 },
        { "2026-01-15T10:17:42.123456789999Z", 1768472262123456789 },
        { "1969-12-31T23:59:59.25Z", -750000000 },
        { "2024-02-29T00:00:00-23:59", 1709164800000000000 + 86340000000000 },
        { "2262-04-11T23:47:16.854775807Z", INT64_MAX },
        { "1677-09-21T00:12:44Z", -9223372036000000000 },
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        int64_t ns = 1;

        assert_int_equal(cq_rfc3339_parse(cq_str_of(cases[i].text), &ns, NULL), CRONQ_OK);
        assert_int_equal(ns, cases[i].ns);
    }
}

static void far_years_are_read_as_seconds(void **state)
{
    int64_t s;
    int32_t ns;

    (void)state;
    assert_int_equal(cq_rfc3339_parse_s(CQ_STR("9998-11-01T00:00:00.5Z"), &s, &ns, NULL),
                     CRONQ_OK);
    assert_int_equal(s, 253365494400);
    assert_int_equal(ns, 500000000);
    assert_int_equal(cq_rfc3339_parse_s(CQ_STR("0000-01-01T00:00:00Z"), &s, &ns, NULL),
                     CRONQ_OK);
    assert_int_equal(s, -62167219200);
}

static void bad_instants_are_refused(void **state)
{
    static const char *const cases[] = {
        "",
        "2026",
        "2026-01-15",
        "2026-01-15T10:17:42",
        "2026-01-15 10:17:42Z",
        "2026-1-15T10:17:42Z",
        "2026-01-15T10:17Z",
        "2026-01-15T10:17:42.Z",
        "2026-01-15T10:17:42Zx",
        "2026-01-15T10:17:42+1:00",
        "2026-01-15T10:17:42+24:00",
        "2026-01-15T10:17:42+01:60",
        "2026-01-15T10:17:42+0100",
        "+026-01-15T10:17:42Z",
        "2262-04-11T23:47:16.854775808Z",
        "1677-09-21T00:12:43Z",
        "\xff\xfe",
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        int64_t ns = 77;
        cronq_error err = { 0 };

        assert_int_equal(cq_rfc3339_parse(cq_str_of(cases[i]), &ns, &err), CRONQ_EINVAL);
        assert_int_equal(err.code, CRONQ_EINVAL);
        assert_int_equal(ns, 77);
    }
}

static void the_error_names_field_value_and_limit(void **state)
{
    static const struct {
        const char *text, *said;
    } cases[] = {
        { "2026-13-15T10:17:42Z", "month 13 is not within 1 and 12" },
        { "2026-02-29T10:17:42Z", "day 29 is not within 1 and 28" },
        { "2026-01-00T10:17:42Z", "day 0 is not within 1 and 31" },
        { "2026-01-15T24:17:42Z", "hour 24 is not within 0 and 23" },
        { "2026-01-15T10:60:42Z", "minute 60 is not within 0 and 59" },
        { "2026-01-15T10:17:60Z", "second 60 is not within 0 and 59" },
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        int64_t ns;
        cronq_error err;

        assert_int_equal(cq_rfc3339_parse(cq_str_of(cases[i].text), &ns, &err),
                         CRONQ_EINVAL);
        assert_non_null(strstr(err.text, cases[i].said));
    }
}

static void assert_prints(int64_t ns, int32_t offset_s, const char *expected)
{
    cq_buf buf;

    cq_buf_init(&buf, 100);
    cq_rfc3339_print(&buf, ns, offset_s);
    assert_string_equal(cq_buf_text(&buf), expected);
    cq_buf_release(&buf);
}

static void instants_are_printed_in_their_offset(void **state)
{
    (void)state;
    assert_prints(0, 0, "1970-01-01T00:00:00Z");
    assert_prints(-1, 0, "1969-12-31T23:59:59.999999999Z");
    assert_prints(1768468662500000000, 3600, "2026-01-15T10:17:42.5+01:00");
    assert_prints(1768468662500000000, -12600, "2026-01-15T05:47:42.5-03:30");
    assert_prints(63551670000000000, -2670, "1972-01-06T12:30:00-00:44");
    assert_prints(INT64_MAX, 0, "2262-04-11T23:47:16.854775807Z");
    assert_prints(INT64_MIN, 0, "1677-09-21T00:12:43.145224192Z");
}

static void printing_stops_at_the_limit_of_the_buffer(void **state)
{
    cq_buf buf;

    (void)state;
    cq_buf_init(&buf, 10);
    cq_rfc3339_print(&buf, 500000000, 0);
    assert_int_equal(buf.status, CRONQ_ETOOBIG);
    cq_buf_release(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calendar_agrees_with_the_c_library),
        cmocka_unit_test(days_and_months_out_of_range_roll_over),
        cmocka_unit_test(instants_are_read),
        cmocka_unit_test(far_years_are_read_as_seconds),
        cmocka_unit_test(bad_instants_are_refused),
        cmocka_unit_test(the_error_names_field_value_and_limit),
        cmocka_unit_test(instants_are_printed_in_their_offset),
        cmocka_unit_test(printing_stops_at_the_limit_of_the_buffer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
