/* SPDX-License-Identifier: MIT */
/* public_test.c - cronq/cron.h. */
#include <cronq/cron.h>

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* 2026-01-15T10:17:42.750Z */
#define FROM_MS ((int64_t)1768472262750)

static void times_are_later_and_whole_seconds(void **state)
{
    cronq_cron *cron;

    (void)state;
    assert_int_equal(cronq_cron_parse("*/5 * * * *", "UTC", &cron, NULL), CRONQ_OK);
    assert_int_equal(cronq_cron_next(cron, FROM_MS), 1768472400000);
    assert_int_equal(cronq_cron_next(cron, 1768472400000), 1768472700000);
    assert_int_equal(cronq_cron_next(cron, 1768472399999), 1768472400000);
    assert_int_equal(cronq_cron_next_compat(cron, FROM_MS), 1768472400000);
    assert_int_equal(cronq_cron_next(cron, -1), 0);
    cronq_cron_free(cron);
    cronq_cron_free(NULL);
}

static void there_may_be_no_time(void **state)
{
    cronq_cron *cron;

    (void)state;
    assert_int_equal(cronq_cron_parse("0 0 30 2 *", "UTC", &cron, NULL), CRONQ_OK);
    assert_int_equal(cronq_cron_next(cron, FROM_MS), CRONQ_CRON_NEVER);
    cronq_cron_free(cron);
    assert_int_equal(cronq_cron_parse("@every 100000h", "UTC", &cron, NULL), CRONQ_OK);
    assert_int_equal(cronq_cron_next(cron, INT64_MAX), CRONQ_CRON_NEVER);
    assert_true(cronq_cron_next(cron, INT64_MIN) > INT64_MIN);
    cronq_cron_free(cron);
}

static void times_are_shown_in_the_zone_that_was_asked_for(void **state)
{
    cronq_cron *cron;

    (void)state;
    assert_int_equal(cronq_cron_parse("TZ=Asia/Tokyo 0 0 * * *", NULL, &cron, NULL),
                     CRONQ_OK);
    assert_int_equal(cronq_cron_offset_s(cron, FROM_MS), 9 * 3600);
    cronq_cron_free(cron);
    assert_int_equal(
        cronq_cron_parse("TZ=Asia/Tokyo 0 0 * * *", "Asia/Kolkata", &cron, NULL),
        CRONQ_OK);
    assert_int_equal(cronq_cron_next(cron, FROM_MS), 1768489200000);
    assert_int_equal(cronq_cron_offset_s(cron, FROM_MS), 19800);
    cronq_cron_free(cron);
}

static void what_is_wrong_is_said_and_nothing_is_made(void **state)
{
    cronq_cron *cron = NULL;
    cronq_error err;

    (void)state;
    assert_int_equal(cronq_cron_parse("* 24 * * *", "UTC", &cron, &err), CRONQ_EINVAL);
    assert_string_equal(err.text, "hour, column 3: 24 in \"24\" is not within 0 and 23");
    assert_int_equal(cronq_cron_parse("* * * * *", "Bad/Zone", &cron, &err),
                     CRONQ_EINVAL);
    assert_non_null(strstr(err.text, "\"Bad/Zone\""));
    assert_int_equal(cronq_cron_parse(NULL, NULL, &cron, &err), CRONQ_EINVAL);
    assert_null(cron);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_are_later_and_whole_seconds),
        cmocka_unit_test(there_may_be_no_time),
        cmocka_unit_test(times_are_shown_in_the_zone_that_was_asked_for),
        cmocka_unit_test(what_is_wrong_is_said_and_nothing_is_made),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
