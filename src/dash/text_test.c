/* SPDX-License-Identifier: MIT */
/* dash/text_test.c - nothing that a store holds may steer the terminal. */
#include "dash/text.h"

#include "base/utf8.h"

#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void fits(cq_str text, size_t cells, bool unicode, const char *wanted, size_t used)
{
    cq_buf out;

    cq_buf_init(&out, 1 << 16);
    assert_int_equal(cq_dash_fit(&out, text, cells, unicode), used);
    assert_string_equal(cq_buf_text(&out), wanted);
    cq_buf_release(&out);
}

static void controls_are_shown_and_not_done(void **state)
{
    (void)state;
    fits(CQ_STR("a\033[2Jb\r\n"), 80, true, "a^[[2Jb^M^J", 11);
    fits(CQ_STR("\x7f\0x"), 80, true, "^?^@x", 5);
    fits(CQ_STR("\xC2\x9B"
                "31m"),
         80, true, "\uFFFD31m", 4); /* the one-byte CSI */
    fits(CQ_STR("a\xE2\x80\xAE"
                "b"),
         80, true, "a\uFFFDb", 3); /* right-to-left override */
    fits(CQ_STR("\xFF\xC3"), 80, true, "\uFFFD\uFFFD", 2);
}

static void wide_characters_are_not_cut_in_halves(void **state)
{
    (void)state;
    fits(CQ_STR("日本語"), 5, true, "日本", 4);
    fits(CQ_STR("e\u0301\u0301\u0301\u0301x"), 80, true, "e\u0301\u0301x", 2);
    fits(CQ_STR("\u0301x"), 80, true, "x", 1);
    fits(CQ_STR("^["), 1, true, "^", 1);
    fits(CQ_STR("\033"), 1, true, "", 0);
}

static void a_terminal_of_ascii_gets_ascii(void **state)
{
    (void)state;
    fits(CQ_STR("né日\xFF"), 80, false, "n???", 4);
}

/* Whatever comes, what goes out has no control character, is UTF-8 and fits. */
static void any_bytes_come_out_harmless(void **state)
{
    unsigned seed = 12345;

    (void)state;
    for (int round = 0; round < 20000; round++) {
        char bytes[24];
        size_t len = (size_t)(rand_r(&seed) % 24), cells = (size_t)(rand_r(&seed) % 20);
        cq_buf out;

        for (size_t i = 0; i < len; i++)
            bytes[i] = (char)rand_r(&seed);
        cq_buf_init(&out, 4096);
        assert_true(cq_dash_fit(&out, (cq_str){ bytes, len }, cells, true) <= cells);
        assert_true(cq_utf8_valid(out.data, out.len));
        for (size_t i = 0; i < out.len; i++) {
            unsigned char c = (unsigned char)out.data[i];

            assert_true(c >= 0x20 && c != 0x7f);
            assert_false(c == 0xC2 && (unsigned char)out.data[i + 1] < 0xA0);
        }
        cq_buf_release(&out);
    }
}

static void lines_are_wrapped_at_the_width(void **state)
{
    cq_str rest = CQ_STR("abcdef\n\nx日本"), line;
    static const char *const wanted[] = { "abcd", "ef", "", "x日", "本" };

    (void)state;
    for (size_t i = 0; i < 5; i++) {
        assert_true(cq_dash_next_line(&rest, 4, true, &line));
        assert_true(cq_str_eq(line, cq_str_of(wanted[i])));
    }
    assert_false(cq_dash_next_line(&rest, 4, true, &line));
}

static void a_character_wider_than_the_window_ends(void **state)
{
    cq_str rest = CQ_STR("日本"), line;

    (void)state;
    assert_true(cq_dash_next_line(&rest, 1, true, &line));
    assert_true(cq_dash_next_line(&rest, 1, true, &line));
    assert_false(cq_dash_next_line(&rest, 1, true, &line));
}

static void formats(cq_str payload, cq_dash_form form, cq_dash_form got,
                    const char *wanted)
{
    cq_buf out;

    cq_buf_init(&out, 1 << 20);
    assert_int_equal(
        cq_dash_format(&out, (cronq_bytes){ payload.data, payload.len }, form, 80), got);
    assert_string_equal(cq_buf_text(&out), wanted);
    cq_buf_release(&out);
}

static void json_is_indented_and_else_as_it_was(void **state)
{
    (void)state;
    formats(CQ_STR("{\"b\":0.10,\"a\":[1,{}],\"s\":\"x,\\\"{}\",\"e\":[ ]}"),
            CQ_DASH_AUTO, CQ_DASH_JSON,
            "{\n  \"b\": 0.10,\n  \"a\": [\n    1,\n    {}\n  ],\n  \"s\": "
            "\"x,\\\"{}\",\n  \"e\": []\n}");
    formats(CQ_STR("{\"a\":"), CQ_DASH_JSON, CQ_DASH_TEXT, "{\"a\":");
    formats(CQ_STR("plain"), CQ_DASH_AUTO, CQ_DASH_TEXT, "plain");
}

static void binary_is_shown_in_hex(void **state)
{
    (void)state;
    formats(CQ_STR("\0A\xFF"), CQ_DASH_AUTO, CQ_DASH_HEX,
            "00000000  00 41 ff                                         .A.\n");
    formats((cq_str){ NULL, 0 }, CQ_DASH_AUTO, CQ_DASH_TEXT, "");
    formats(CQ_STR("A"), CQ_DASH_HEX, CQ_DASH_HEX,
            "00000000  41                                               A\n");
}

static void deep_json_stays_within_its_buffer(void **state)
{
    char *deep = malloc(20000);
    cq_buf out;

    (void)state;
    memset(deep, '[', 10000);
    memset(deep + 10000, ']', 10000);
    cq_buf_init(&out, 1 << 22);
    cq_dash_format(&out, (cronq_bytes){ deep, 20000 }, CQ_DASH_AUTO, 80);
    assert_int_equal(out.status, CRONQ_OK);
    cq_buf_release(&out);
    free(deep);
}

static void a_spark_is_scaled_to_its_highest(void **state)
{
    const double samples[] = { 0, 1, 4, 8 }, none[] = { 0, 0 };
    cq_buf out;

    (void)state;
    cq_buf_init(&out, 256);
    cq_dash_spark(&out, samples, 4, true);
    cq_dash_spark(&out, none, 2, true);
    assert_string_equal(cq_buf_text(&out), " ▁▄█  ");
    cq_buf_release(&out);
}

static void numbers_and_times_are_short(void **state)
{
    cq_buf out;

    (void)state;
    cq_buf_init(&out, 256);
    cq_dash_count(&out, 999999);
    cq_dash_count(&out, 12345678);
    cq_dash_relative(&out, 0, 5);
    cq_dash_relative(&out, 1000, 201000);
    cq_dash_relative(&out, 8000, 1000);
    cq_dash_relative(&out, 1, 400000000);
    assert_string_equal(cq_buf_text(&out), "99999912.3M-3m20s agoin 7s4d ago");
    cq_buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(controls_are_shown_and_not_done),
        cmocka_unit_test(wide_characters_are_not_cut_in_halves),
        cmocka_unit_test(a_terminal_of_ascii_gets_ascii),
        cmocka_unit_test(any_bytes_come_out_harmless),
        cmocka_unit_test(lines_are_wrapped_at_the_width),
        cmocka_unit_test(a_character_wider_than_the_window_ends),
        cmocka_unit_test(json_is_indented_and_else_as_it_was),
        cmocka_unit_test(binary_is_shown_in_hex),
        cmocka_unit_test(deep_json_stays_within_its_buffer),
        cmocka_unit_test(a_spark_is_scaled_to_its_highest),
        cmocka_unit_test(numbers_and_times_are_short),
    };

    setlocale(LC_ALL, "C.UTF-8");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
