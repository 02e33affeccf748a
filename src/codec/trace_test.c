/* SPDX-License-Identifier: MIT */
/* trace_test.c - traceparent: the examples of the standard, and what it forbids. */
#include "codec/trace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define GOOD "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

static void a_good_header_is_read_and_written_back(void **state)
{
    char text[CQ_TRACEPARENT_LEN + 1];
    cq_trace trace;

    (void)state;
    assert_int_equal(cq_trace_parse(CQ_STR(GOOD), &trace, NULL), CRONQ_OK);
    assert_int_equal(trace.trace_id[0], 0x0A);
    assert_int_equal(trace.trace_id[15], 0x9C);
    assert_int_equal(trace.span_id[0], 0xB7);
    assert_int_equal(trace.span_id[7], 0x31);
    assert_int_equal(trace.flags, CQ_TRACE_FLAG_SAMPLED);
    cq_trace_format(&trace, text);
    assert_string_equal(text, GOOD);
}

static void a_later_version_is_read_as_the_first(void **state)
{
    char text[CQ_TRACEPARENT_LEN + 1];
    cq_trace trace;

    (void)state;
    assert_int_equal(cq_trace_parse(CQ_STR("cc-0af7651916cd43dd8448eb211c80319c-"
                                           "b7ad6b7169203331-00-future"),
                                    &trace, NULL),
                     CRONQ_OK);
    cq_trace_format(&trace, text);
    assert_string_equal(text, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00");
}

/* What they mean is not known; Go's propagator refuses a version 00 that has them. */
static void other_flags_are_not_passed_on(void **state)
{
    static const char *const in[] = { "02", "03", "fe", "ff" }, *const kept[] = {
        "00", "01", "00", "01"
    };
    char text[CQ_TRACEPARENT_LEN + 1] = GOOD;
    cq_trace trace;

    (void)state;
    for (size_t i = 0; i < sizeof in / sizeof in[0]; i++) {
        memcpy(text + CQ_TRACEPARENT_LEN - 2, in[i], 2);
        assert_int_equal(cq_trace_parse(cq_str_of(text), &trace, NULL), CRONQ_OK);
        cq_trace_format(&trace, text);
        assert_string_equal(text + CQ_TRACEPARENT_LEN - 2, kept[i]);
    }
}

static void what_the_standard_forbids_is_refused(void **state)
{
    static const char *const refused[] = {
        "",
        "00",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-011",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
        "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.more",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0AF7651916CD43DD8448EB211C80319C-B7AD6B7169203331-01",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319cab7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331.01",
        "00-0af7651916cd43dd8448eb211c80319g-b7ad6b7169203331-01",
        "0g-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333\xFF-01",
    };
    cq_trace trace = { .flags = 0x55 };

    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        cronq_error err = { 0 };

        assert_int_equal(cq_trace_parse(cq_str_of(refused[i]), &trace, &err),
                         CRONQ_EINVAL);
        assert_non_null(strstr(err.text, "traceparent"));
        assert_int_equal(trace.flags, 0x55);
    }
    assert_int_equal(cq_trace_parse((cq_str){ NULL, 0 }, &trace, NULL), CRONQ_EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_header_is_read_and_written_back),
        cmocka_unit_test(a_later_version_is_read_as_the_first),
        cmocka_unit_test(other_flags_are_not_passed_on),
        cmocka_unit_test(what_the_standard_forbids_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
