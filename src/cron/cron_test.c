/* SPDX-License-Identifier: MIT */
/* cron_test.c - cron expressions: the recorded vectors, and bad input. */
#include "cron/cron.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/rfc3339.h"
#include "support/golden.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof(a)[0])

static unsigned golden_flags;

static cq_str json_str(json_t *line, const char *key)
{
    json_t *value = json_object_get(line, key);

    assert_non_null(value);
    return (cq_str){ json_string_value(value), json_string_length(value) };
}

static cq_zone *open_zone(cq_str name)
{
    cq_zone *zone;
    cronq_error err;

    if (cq_zone_open(name, &zone, &err))
        fail_msg("%s", err.text);
    return zone;
}

/* The reference's answer, after checking that ours is the same where that goes on. */
static int64_t next_of(const cq_cron *cron, int64_t at)
{
    int64_t recorded = cq_cron_next_compat(cron, at), next = cq_cron_next(cron, at);

    assert_true(next > at);
    assert_true(next == recorded || recorded <= at);
    return recorded;
}

static void check_activations(json_t *line, size_t number, const cq_cron *cron,
                              const cq_zone *zone)
{
    json_t *texts = json_object_get(line, "next");
    json_t *expected = json_object_get(line, "next_unix");
    int64_t at = json_integer_value(json_object_get(line, "start_unix"));
    cq_buf text;

    cq_buf_init(&text, 100);
    for (size_t i = 0; i < json_array_size(expected); i++) {
        const char *wanted = json_string_value(json_array_get(texts, i));

        at = next_of(cron, at);
        cq_buf_reset(&text);
        if (at != INT64_MAX)
            cq_rfc3339_print_s(&text, at, 0, cq_zone_offset_s(zone, at));
        if (at != json_integer_value(json_array_get(expected, i)) ||
            !cq_str_eq(cq_buf_str(&text), cq_str_of(wanted)))
            fail_msg("line %zu: activation %zu is %s, not %s", number, i + 1,
                     cq_buf_text(&text), wanted);
    }
    if (json_is_true(json_object_get(line, "exhausted")) &&
        cq_cron_next(cron, at) != INT64_MAX)
        fail_msg("line %zu: there should be no more activations", number);
    cq_buf_release(&text);
}

static void check_line(json_t *line, size_t number)
{
    cq_zone *zone = open_zone(json_str(line, "tz"));
    bool broken = json_object_get(line, "panic") || json_object_get(line, "hang");
    bool refused = json_object_get(line, "error") || json_object_get(line, "panic");
    cq_cron *cron = NULL;
    cronq_error err = { 0 };
    cronq_status status =
        cq_cron_parse(json_str(line, "spec"), zone, golden_flags, &cron, &err);

    if (refused && (status != CRONQ_EINVAL || err.text[0] == '\0'))
        fail_msg("line %zu should be refused", number);
    if (!refused && !broken && status)
        fail_msg("line %zu should be accepted: %s", number, err.text);
    if (status == CRONQ_OK)
        check_activations(line, number, cron, zone);
    cq_cron_free(cron);
    cq_zone_free(zone);
}

static void recorded_activations_are_reproduced(void **state)
{
    (void)state;
    golden_flags = CQ_CRON_STANDARD;
    golden_each("cron.jsonl", check_line);
}

static void recorded_activations_with_seconds_are_reproduced(void **state)
{
    (void)state;
    golden_flags = CQ_CRON_OPTIONAL_SECONDS;
    golden_each("cron_seconds.jsonl", check_line);
}

static int64_t seconds_of(const char *text)
{
    int64_t s;
    int32_t ns;

    assert_int_equal(cq_rfc3339_parse_s(cq_str_of(text), &s, &ns, NULL), CRONQ_OK);
    return s;
}

static cq_cron *parse(const char *spec, const cq_zone *zone)
{
    cq_cron *cron = NULL;
    cronq_error err;

    if (cq_cron_parse(cq_str_of(spec), zone, CQ_CRON_OPTIONAL_SECONDS, &cron, &err))
        fail_msg("%s: %s", spec, err.text);
    return cron;
}

static void assert_next(const char *spec, const char *zone_name, const char *from,
                        const char *expected)
{
    cq_zone *zone = open_zone(cq_str_of(zone_name));
    cq_cron *cron = parse(spec, zone);

    assert_int_equal(cq_cron_next(cron, seconds_of(from)), seconds_of(expected));
    cq_cron_free(cron);
    cq_zone_free(zone);
}

static void a_day_that_a_zone_skips_is_walked_over(void **state)
{
    (void)state;
    /* Samoa went from the 29th to the 31st of December 2011. */
    assert_next("@weekly", "Pacific/Apia", "2011-12-28T12:00:00-10:00",
                "2012-01-01T00:00:00+14:00");
    assert_next("0 12 30 12 *", "Pacific/Apia", "2011-12-28T12:00:00-10:00",
                "2012-12-30T12:00:00+14:00");
    assert_next("0 12 * * 6", "Pacific/Apia", "2011-12-28T12:00:00-10:00",
                "2011-12-31T12:00:00+14:00");
}

static void clocks_set_back_within_an_hour_do_not_stop_the_walk(void **state)
{
    cq_zone *zone = open_zone(CQ_STR("Pacific/Chatham"));
    cq_cron *cron = parse("50 3 * * *", zone);
    int64_t at = seconds_of("2026-04-04T12:00:00+13:45");

    (void)state;
    /* At 03:45 it becomes 02:45: minutes are moved on without looking at the hour, and
     * the reference would stay at this instant for ever. */
    at = cq_cron_next(cron, at);
    assert_int_equal(at, seconds_of("2026-04-05T02:50:00+12:45"));
    assert_int_equal(cq_cron_next_compat(cron, at), at);
    at = cq_cron_next(cron, at);
    assert_int_equal(at, seconds_of("2026-04-05T03:50:00+12:45"));
    at = cq_cron_next(cron, at);
    assert_int_equal(at, seconds_of("2026-04-06T03:50:00+12:45"));
    cq_cron_free(cron);
    cq_zone_free(zone);
}

static void every_second_of_a_year_is_found(void **state)
{
    cq_zone *zone = open_zone(CQ_STR("Europe/Berlin"));
    cq_cron *cron = parse("* * * * * *", zone);
    int64_t at = seconds_of("2026-01-01T00:00:00Z"), start_ns = cq_mono_ns();

    (void)state;
    for (int i = 0; i < 2000000; i++)
        assert_true(cq_cron_next(cron, at) == at + 1 && ++at);
    /* A year has 16 times as many. */
    assert_true(cq_mono_ns() - start_ns < 5 * CQ_NS_PER_S);
    cq_cron_free(cron);
    cq_zone_free(zone);
}

static void what_never_fires_is_known_at_once(void **state)
{
    static const char *const specs[] = { "0 0 30 2 *",     ", * * * *", "0 0 0 31 2,4 *",
                                         "* , * * *",      "* * * , *", "0 0 , * ,",
                                         "0 0 , * *",      "0 0 * * ,", ", 38 * * * *",
                                         ", * * * aug mon" };
    cq_zone *zone = open_zone(CQ_STR("America/New_York"));

    (void)state;
    for (size_t i = 0; i < COUNT(specs); i++) {
        cq_cron *cron = parse(specs[i], zone);
        int64_t start_ns = cq_mono_ns();

        for (int n = 0; n < 100; n++)
            assert_int_equal(cq_cron_next(cron, 1768472262), INT64_MAX);
        assert_true(cq_mono_ns() - start_ns < CQ_NS_PER_S / 10 * 5);
        cq_cron_free(cron);
    }
    cq_zone_free(zone);
}

static void a_day_without_a_value_leaves_it_to_the_other(void **state)
{
    (void)state;
    assert_next("*/5 5-19 , */13 */2", "Pacific/Kwajalein", "2029-10-01T00:00:42Z",
                "2030-01-01T05:00:00+12:00");
    assert_next("0 12 ,, * MON", "UTC", "2026-01-15T10:00:00Z", "2026-01-19T12:00:00Z");
    assert_next("0 12 20 * ,", "UTC", "2026-01-15T10:00:00Z", "2026-01-20T12:00:00Z");
}

static void a_step_beyond_the_field_leaves_the_first_value(void **state)
{
    (void)state;
    assert_next("0 1-9/9223372036854775807 * * *", "UTC", "2030-05-25T12:00:00Z",
                "2030-05-26T01:00:00Z");
    assert_next("7-50/9223372036854775807 0 * * *", "UTC", "2030-05-25T12:00:00Z",
                "2030-05-26T00:07:00Z");
}

static void the_ends_of_time_are_quiet(void **state)
{
    static const int64_t ends[] = { INT64_MIN,        INT64_MIN + 1,
                                    INT64_MAX - 1,    INT64_MAX,
                                    (int64_t)1 << 40, -((int64_t)1 << 40),
                                    (int64_t)1 << 41, -((int64_t)1 << 41) };
    static const char *const specs[] = { "* * * * * *", "@every 1h", "0 0 29 2 *" };
    cq_zone *zone = open_zone(CQ_STR("America/New_York"));

    (void)state;
    for (size_t i = 0; i < COUNT(specs); i++) {
        cq_cron *cron = parse(specs[i], zone);

        for (size_t e = 0; e < COUNT(ends); e++)
            assert_true(cq_cron_next(cron, ends[e]) >= ends[e]);
        cq_cron_free(cron);
    }
    cq_zone_free(zone);
}

static void every_has_a_period_of_whole_seconds(void **state)
{
    static const struct {
        const char *spec;
        int64_t s;
    } cases[] = { { "@every 90s", 90 },      { "@every 1.9s", 1 }, { "@every 1ns", 1 },
                  { "@every 0s", 1 },        { "@every -1m", 1 },  { "@every 292y", 0 },
                  { "TZ=UTC @every 2s", 2 }, { "@hourly", 0 } };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        cq_cron *cron = NULL;

        if (cq_cron_parse(cq_str_of(cases[i].spec), NULL, 0, &cron, NULL) == CRONQ_OK)
            assert_int_equal(cq_cron_every_s(cron), cases[i].s);
        else
            assert_string_equal(cases[i].spec, "@every 292y");
        cq_cron_free(cron);
    }
}

static void a_zone_in_the_spec_wins(void **state)
{
    cq_zone *berlin = open_zone(CQ_STR("Europe/Berlin"));
    cq_cron *cron = parse("CRON_TZ=Asia/Tokyo 0 0 * * *", berlin);
    int64_t at = cq_cron_next(cron, seconds_of("2026-01-15T10:00:00Z"));

    (void)state;
    assert_int_equal(at, seconds_of("2026-01-16T00:00:00+09:00"));
    assert_int_equal(cq_zone_offset_s(cq_cron_zone(cron), at), 9 * 3600);
    cq_cron_free(cron);
    cron = parse("TZ=Local 0 0 * * *", berlin);
    assert_ptr_equal(cq_cron_zone(cron), berlin);
    cq_cron_free(cron);
    cron = parse("0 0 * * *", NULL);
    assert_null(cq_cron_zone(cron));
    cq_cron_free(cron);
    cq_zone_free(berlin);
}

/* Expects a refusal, by five or six fields, with both texts in its sentence. */
static void assert_refused(cq_str spec, const char *where, const char *what)
{
    cq_cron *cron = NULL;
    cronq_error err = { 0 };
    cronq_status status =
        cq_cron_parse(spec, NULL, CQ_CRON_OPTIONAL_SECONDS, &cron, &err);

    if (status != CRONQ_EINVAL || err.code != CRONQ_EINVAL || cron)
        fail_msg("\"%.*s\" should be refused", CQ_FMT(spec));
    if (strncmp(err.text, where, strlen(where)) != 0 || !strstr(err.text, what))
        fail_msg("\"%.*s\" is refused with: %s", CQ_FMT(spec), err.text);
}

static void errors_name_field_column_value_and_limits(void **state)
{
    static const struct {
        const char *spec, *where, *what;
    } cases[] = {
        { "", "the cron expression is empty", "" },
        { " \t", "cron expression, column 3: ", "0 fields, not 5 or 6" },
        { "* * * *", "cron expression, column 8: ", "4 fields, not 5 or 6" },
        { "* * * * * * 7 8", "cron expression, column 13: ", "8 fields" },
        { "60 * * * *", "minute, column 1: ", "60 in \"60\" is not within 0 and 59" },
        { "60 * * * * *", "second, column 1: ", "60 in \"60\" is not within 0 and 59" },
        { "* 1,24 * * *", "hour, column 5: ", "24 in \"24\" is not within 0 and 23" },
        { "* * 0 * *", "day of month, column 5: ", "0 in \"0\" is not within 1 and 31" },
        { "* * * 13 *",
          "month, column 7: ", "13 in \"13\" is not within 1 and 12 or jan" },
        { "* * * * 7", "day of week, column 9: ", "7 in \"7\" is not within 0 and 6" },
        { "*/0 * * * *",
          "minute, column 3: ", "step \"0\" is not a whole number from 1" },
        { "*/-1 * * * *", "minute, column 3: ", "step \"-1\" is not" },
        { "5-1 * * * *", "minute, column 1: ", "\"5-1\" ends (1) before it begins (5)" },
        { "1- * * * *", "minute, column 3: ", "\"\" is not a number within 0 and 59" },
        { "-1 * * * *", "minute, column 1: ", "\"\" is not a number within 0 and 59" },
        { "1-2-3 * * * *", "minute, column 1: ", "more than one hyphen" },
        { "1/2/3 * * * *", "minute, column 1: ", "more than one slash" },
        { "99999999999 * * * *", "minute, column 1: ", "99999999999 in" },
        { "99999999999999999999 * * * *", "minute, column 1: ", "is not a number" },
        { "* * * * Sun-Mon,fri-mon", "day of week, column 17: ", "before it begins" },
        { "* * L * *",
          "day of month, column 5: ", "\"L\" is not a number within 1 and 31" },
        { "* * 15W * *", "day of month, column 5: ", "\"15W\"" },
        { "* * * * 1#2", "day of week, column 9: ", "\"1#2\"" },
        { ", * * * * *", "second, column 1: ", "\",\" has no value" },
        { "@reboot", "cron expression, column 1: ", "\"@reboot\" is none of @yearly" },
        { "@every 5d", "cron expression, column 8: ", "@every: " },
        { "@every 292y", "cron expression, column 8: ", "@every: " },
        { "TZ=Bad/Zone * * * * *", "cron expression, column 4: ", "\"Bad/Zone\"" },
        { "TZ=../../etc/passwd * * * * *", "cron expression, column 4: ", ".." },
        { "TZ=/etc/localtime * * * * *", "cron expression, column 4: ", "slash" },
        { "TZ=UTC", "cron expression, column 7: ", "no space and fields" },
        { "CRON_TZ=", "cron expression, column 9: ", "no space and fields" },
        { "TZ=UTC 60 * * * *", "minute, column 8: ", "60" },
        { "* * * * \xc3\xa4", "day of week, column 9: ", "\"\xc3\xa4\"" },
        { "\xc3\xa4 * * * *", "minute, column 1: ", "\"\xc3\xa4\"" },
        { "*\xc2\xa0\xc3\xa4 * * *", "hour, column 3: ", "\"\xc3\xa4\"" },
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++)
        assert_refused(cq_str_of(cases[i].spec), cases[i].where, cases[i].what);
}

static void bytes_that_are_not_text_are_refused(void **state)
{
    (void)state;
    assert_refused((cq_str){ "* * * * *\0", 10 }, "day of week, column 9: ", "\\x00");
    assert_refused((cq_str){ "\0 * * * *", 9 }, "minute, column 1: ", "\\x00");
    assert_refused(CQ_STR("\xff\xfe * * * *"), "minute, column 1: ", "\"\\xff\\xfe\"");
    assert_refused(CQ_STR("* * * * \xe3\x80"),
                   "day of week, column 9: ", "\"\\xe3\\x80\"");
    assert_refused((cq_str){ "TZ=\0 * * * *", 12 },
                   "cron expression, column 4: ", "time zone");
    assert_refused((cq_str){ NULL, 0 }, "the cron expression is empty", "");
}

static void long_texts_are_read_or_refused_quickly(void **state)
{
    enum { LONG = 65536, TOO_LONG = (1 << 20) + 1 };
    char *text = malloc(TOO_LONG);
    int64_t start_ns = cq_mono_ns();
    cq_cron *cron = NULL;

    (void)state;
    assert_non_null(text);
    memset(text, 'a', TOO_LONG);
    assert_refused((cq_str){ text, LONG }, "cron expression, column 65537: ", "1 field,");
    assert_refused((cq_str){ text, TOO_LONG }, "the cron expression has 1048577",
                   "1048576");
    memset(text, ' ', LONG);
    assert_refused((cq_str){ text, LONG }, "cron expression, column 65537: ", "0 fields");
    for (size_t i = 0; i < LONG; i += 2)
        memcpy(text + i, "* ", 2);
    assert_refused((cq_str){ text, LONG },
                   "cron expression, column 13: ", "32768 fields");
    memset(text, '9', LONG);
    memcpy(text + LONG - 8, " * * * *", 8);
    assert_refused((cq_str){ text, LONG }, "minute, column 1: ", "is not a number");
    memcpy(text, "TZ=", 3);
    assert_refused((cq_str){ text, LONG }, "cron expression, column 4: ", "255 bytes");
    /* A long list is not wrong. */
    for (size_t i = 0; i < LONG - 8; i += 2)
        memcpy(text + i, "7,", 2);
    assert_int_equal(cq_cron_parse((cq_str){ text, LONG }, NULL, 0, &cron, NULL),
                     CRONQ_OK);
    assert_int_equal(cq_cron_next(cron, 0), 420);
    assert_true(cq_mono_ns() - start_ns < CQ_NS_PER_S);
    cq_cron_free(cron);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recorded_activations_are_reproduced),
        cmocka_unit_test(recorded_activations_with_seconds_are_reproduced),
        cmocka_unit_test(a_day_that_a_zone_skips_is_walked_over),
        cmocka_unit_test(clocks_set_back_within_an_hour_do_not_stop_the_walk),
        cmocka_unit_test(every_second_of_a_year_is_found),
        cmocka_unit_test(what_never_fires_is_known_at_once),
        cmocka_unit_test(a_day_without_a_value_leaves_it_to_the_other),
        cmocka_unit_test(a_step_beyond_the_field_leaves_the_first_value),
        cmocka_unit_test(the_ends_of_time_are_quiet),
        cmocka_unit_test(every_has_a_period_of_whole_seconds),
        cmocka_unit_test(a_zone_in_the_spec_wins),
        cmocka_unit_test(errors_name_field_column_value_and_limits),
        cmocka_unit_test(bytes_that_are_not_text_are_refused),
        cmocka_unit_test(long_texts_are_read_or_refused_quickly),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
