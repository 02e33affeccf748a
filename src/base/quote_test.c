/* SPDX-License-Identifier: MIT */
/* quote_test.c - quoting as Go does it, and values in error texts. */
#include "base/quote.h"
#include "base/utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static cq_buf buf;

static int open_buffer(void **state)
{
    (void)state;
    cq_buf_init(&buf, 4096);
    return 0;
}

static int close_buffer(void **state)
{
    (void)state;
    cq_buf_release(&buf);
    return 0;
}

static void assert_quoted(cq_str text, const char *expected)
{
    cq_buf_reset(&buf);
    cq_go_quote(&buf, text);
    assert_string_equal(cq_buf_text(&buf), expected);
}

static void quoting_follows_unicode_15(void **state)
{
    (void)state;
    assert_quoted(CQ_STR(""), "\"\"");
    assert_quoted((cq_str){ NULL, 0 }, "\"\"");
    assert_quoted(CQ_STR("a\0b"), "\"a\\x00b\"");
    assert_quoted(CQ_STR(" ~\x7F"), "\" ~\\x7f\"");
    assert_quoted(CQ_STR("\xC2\x80\xC2\x9F\xC2\xA0\xC2\xA1"),
                  "\"\\u0080\\u009f\\u00a0\xC2\xA1\"");
    /* U+0378 is unassigned; U+0301 a mark; U+3000 a space; U+E000 private. */
    assert_quoted(CQ_STR("\xCD\xB8"), "\"\\u0378\"");
    assert_quoted(CQ_STR("e\xCC\x81"), "\"e\xCC\x81\"");
    assert_quoted(CQ_STR("\xE3\x80\x80"), "\"\\u3000\"");
    assert_quoted(CQ_STR("\xEE\x80\x80"), "\"\\ue000\"");
    /* The first and last of a range given only by its ends. */
    assert_quoted(CQ_STR("\xE4\xB8\x80\xE9\xBF\xBF"), "\"\xE4\xB8\x80\xE9\xBF\xBF\"");
    assert_quoted(CQ_STR("\xEA\xB0\x80\xED\x9E\xA3\xED\x9E\xA4"),
                  "\"\xEA\xB0\x80\xED\x9E\xA3\\ud7a4\"");
    /* New in 15.0: U+1FAE8; new in 15.1: U+2EBF0; new in 16.0: U+1FAE9. */
    assert_quoted(CQ_STR("\xF0\x9F\xAB\xA8"), "\"\xF0\x9F\xAB\xA8\"");
    assert_quoted(CQ_STR("\xF0\xAE\xAF\xB0"), "\"\\U0002ebf0\"");
    assert_quoted(CQ_STR("\xF0\x9F\xAB\xA9"), "\"\\U0001fae9\"");
    /* A sequence cut short is its bytes. */
    assert_quoted(CQ_STR("\xE6\xBC"
                         "a\xF4\x90\x80\x80"),
                  "\"\\xe6\\xbca\\xf4\\x90\\x80\\x80\"");
}

static size_t count_chars(const char *text)
{
    size_t count = 0;

    for (; *text; text++)
        count += (*text & 0xC0) != 0x80;
    return count;
}

static void quoted_values_are_short_and_printable(void **state)
{
    char value[500];

    (void)state;
    cq_buf_reset(&buf);
    cq_quote_value(&buf, CQ_STR("a\"b\n\x01\xFF\xC2\xA0\xE6\xBC\xA2"));
    assert_string_equal(cq_buf_text(&buf), "\"a\\\"b\\n\\x01\\xff\\u00a0\xE6\xBC\xA2\"");
    for (int byte = 0; byte < 256; byte++) {
        memset(value, byte, sizeof value);
        for (size_t len = 70; len < 90; len++) {
            cq_buf_reset(&buf);
            cq_quote_value(&buf, (cq_str){ value, len });
            assert_true(count_chars(cq_buf_text(&buf)) <= 80);
            assert_true(cq_utf8_valid(buf.data, buf.len));
            assert_true(buf.data[0] == '"' && buf.data[buf.len - 1] == '"');
        }
    }
    memset(value, 'x', sizeof value);
    cq_buf_reset(&buf);
    cq_quote_value(&buf, (cq_str){ value, 77 });
    assert_null(strstr(cq_buf_text(&buf), "\xE2\x80\xA6"));
    cq_buf_reset(&buf);
    cq_quote_value(&buf, (cq_str){ value, 78 });
    assert_non_null(strstr(cq_buf_text(&buf), "x\xE2\x80\xA6\""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quoting_follows_unicode_15),
        cmocka_unit_test(quoted_values_are_short_and_printable),
    };

    return cmocka_run_group_tests(tests, open_buffer, close_buffer);
}
