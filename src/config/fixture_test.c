/* SPDX-License-Identifier: MIT */
/* fixture_test.c - what the tests of files share. */
#include "config/fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

cronq_config *fixture_config(void)
{
    cronq_config *config = NULL;

    assert_int_equal(cronq_config_new(&config, NULL), CRONQ_OK);
    return config;
}

cronq_status fixture_parse(cronq_config *config, const char *text, cronq_error *err)
{
    return cronq_config_parse(config, "t.yaml", (cronq_bytes){ text, strlen(text) }, err);
}

cronq_config *fixture_good(const char *text)
{
    cronq_config *config = fixture_config();
    cronq_error err = { 0 };

    if (fixture_parse(config, text, &err) != CRONQ_OK)
        fail_msg("%s", err.text);
    assert_int_equal(cronq_config_error_count(config), 0);
    assert_null(cronq_config_error_at(config, 0));
    return config;
}

void fixture_expect_fault(const char *text, cronq_status status, const char *fault)
{
    cronq_config *config = fixture_config();
    cronq_error err = { 0 };

    if (fixture_parse(config, text, &err) != status)
        fail_msg("%s\n-- %s, wanted %s", text, err.text, cronq_status_name(status));
    if (cronq_config_error_count(config) != 1 ||
        !strstr(cronq_config_error_at(config, 0), fault))
        fail_msg("%s\n-- %zu faults: %s\n-- wanted: %s", text,
                 cronq_config_error_count(config), cronq_config_error_at(config, 0),
                 fault);
    assert_string_equal(err.text, cronq_config_error_at(config, 0));
    assert_null(cronq_config_server_options(config));
    assert_null(cronq_config_name(config));
    assert_int_equal(cronq_config_task_count(config), 0);
    cronq_config_free(config);
}

void fixture_expect_warning(const char *text, const char *warning)
{
    cronq_config *config = fixture_good(text);

    assert_int_equal(cronq_config_warning_count(config), 1);
    if (!strstr(cronq_config_warning_at(config, 0), warning))
        fail_msg("%s\n-- wanted: %s", cronq_config_warning_at(config, 0), warning);
    cronq_config_free(config);
}
