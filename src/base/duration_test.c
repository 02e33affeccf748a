/* SPDX-License-Identifier: MIT */
/* duration_test.c - every recorded duration, and the edges of the range. */
#include "base/duration.h"
#include "support/golden.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void check_print(int64_t ns, const char *expected)
{
    cq_buf out;

    cq_buf_init(&out, 64);
    cq_duration_print(&out, ns);
    assert_string_equal(cq_buf_text(&out), expected);
    cq_buf_release(&out);
}

static void check_parse(cq_str text, const int64_t *expected_ns)
{
    cronq_error err = { 0 };
    int64_t ns = 4711;
    cronq_status status = cq_duration_parse(text, &ns, &err);

    if (expected_ns) {
        assert_int_equal(status, CRONQ_OK);
        assert_true(ns == *expected_ns);
        return;
    }
    assert_int_equal(status, CRONQ_EINVAL);
    assert_int_equal(err.code, CRONQ_EINVAL);
    assert_non_null(strstr(err.text, "duration"));
    assert_true(ns == 4711); /* untouched */
}

static void check_line(json_t *line, size_t number)
{
    json_t *text = json_object_get(line, "parse");
    const char *digits = json_string_value(json_object_get(line, "ns"));
    int64_t ns = digits ? strtoll(digits, NULL, 10) : 0;
    cq_str parse = { json_string_value(text), json_string_length(text) };

    (void)number;
    if (text)
        check_parse(parse, digits ? &ns : NULL);
    else
        check_print(ns, json_string_value(json_object_get(line, "string")));
}

static void every_recorded_duration_prints_and_parses_alike(void **state)
{
    (void)state;
    golden_each("durations.jsonl", check_line);
}

static void what_is_printed_reads_back(void **state)
{
    cq_buf out;

    (void)state;
    cq_buf_init(&out, 64);
    for (int bit = 0; bit < 64; bit++) {
        int64_t ns = (int64_t)(((uint64_t)1 << bit) + (uint64_t)bit * 1000003), back;

        cq_buf_reset(&out);
        cq_duration_print(&out, ns);
        assert_int_equal(cq_duration_parse(cq_buf_str(&out), &back, NULL), CRONQ_OK);
        assert_true(back == ns);
    }
    cq_buf_release(&out);
}

static void the_range_ends_where_int64_ends(void **state)
{
    static const char *const refused[] = {
        "",    "+",     "-",     "--1s",  "1",        "1.s.",
        "..s", "s",     "1h-1m", "1 s",   "3000000h", "9223372036854775807us",
        "1.5", "0x10s", "1S",    "\xFFs",
    };
    const int64_t least = INT64_MIN, most = INT64_MAX, most_s = 9223372036;
    cronq_error err;

    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
        check_parse(cq_str_of(refused[i]), NULL);
    check_parse((cq_str){ NULL, 0 }, NULL);
    assert_int_equal(cq_duration_parse(CQ_STR("1h\0"), &(int64_t){ 0 }, &err),
                     CRONQ_EINVAL);
    assert_string_equal(err.text, "duration \"1h\\x00\" has an unknown unit "
                                  "(known: h, m, s, ms, us, ns)");
    check_parse(CQ_STR("-2562047h47m16.854775808s"), &least);
    check_parse(CQ_STR("2562047h47m16.854775807s"), &most);
    check_parse(CQ_STR("9223372036s"), &(int64_t){ most_s * 1000000000 });
    check_parse(CQ_STR("9223372037s"), NULL);
    check_parse(CQ_STR("-9223372036854775808ns1ns"), NULL);
    check_parse(CQ_STR("1\xCE\xBCs"), &(int64_t){ 1000 });
    check_parse(CQ_STR("0.00000000000000000000000001h"), &(int64_t){ 0 });
    check_parse(CQ_STR("0.9999999999999999999999999s"), &(int64_t){ 1000000000 });
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_recorded_duration_prints_and_parses_alike),
        cmocka_unit_test(what_is_printed_reads_back),
        cmocka_unit_test(the_range_ends_where_int64_ends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
