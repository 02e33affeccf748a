/* SPDX-License-Identifier: MIT */
/* failures_test.c - lines of failures: written, kept at ten, and read. */
#include "codec/failures.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void push(cq_buf *all, const cronq_failure *failure)
{
    cq_buf line, next;

    cq_buf_init(&line, CQ_FAILURE_LINE_LIMIT_BYTES);
    cq_buf_init(&next, 1 << 20);
    cq_failure_append(&line, failure);
    cq_failures_append(&next, (cronq_bytes){ line.data, line.len },
                       (cronq_bytes){ all->data, all->len });
    assert_int_equal(line.status, CRONQ_OK);
    assert_int_equal(next.status, CRONQ_OK);
    cq_buf_release(&line);
    cq_buf_release(all);
    *all = next;
}

static void texts_come_back_as_they_were(void **state)
{
    static const char *const texts[] = { "plain", "", "two\nlines\\n\n", "  blanks " };
    cronq_failure out[CQ_FAILURES_LIMIT];
    char room[512];
    cq_buf all;

    (void)state;
    cq_buf_init(&all, 1 << 20);
    for (size_t i = 4; i-- > 0;)
        push(&all, &(cronq_failure){ 1700000000000 + (int64_t)i, (int32_t)i, "host-1",
                                     texts[i] });
    memcpy(room, all.data, all.len);
    assert_int_equal(cq_failures_read(room, all.len, out), 4);
    for (size_t i = 0; i < 4; i++) {
        assert_string_equal(out[i].text, texts[i]);
        assert_string_equal(out[i].host, "host-1");
        assert_int_equal(out[i].attempt, i);
        assert_int_equal(out[i].at_ms, 1700000000000 + (int64_t)i);
    }
    cq_buf_release(&all);
}

static void the_newest_ten_are_kept(void **state)
{
    cronq_failure out[CQ_FAILURES_LIMIT];
    char room[4096], text[16];
    cq_buf all;

    (void)state;
    cq_buf_init(&all, 1 << 20);
    for (int i = 0; i < 25; i++) {
        snprintf(text, sizeof text, "e%d", i);
        push(&all, &(cronq_failure){ i, i + 1, "a b", text });
    }
    memcpy(room, all.data, all.len);
    assert_int_equal(cq_failures_read(room, all.len, out), 10);
    assert_string_equal(out[0].text, "e24");
    assert_string_equal(out[9].text, "e15");
    assert_string_equal(out[9].host, "a_b");
    cq_buf_release(&all);
}

static void long_and_broken_texts_are_cut_and_repaired(void **state)
{
    cronq_failure out[CQ_FAILURES_LIMIT];
    char text[3000], room[8192];
    cq_buf all;

    (void)state;
    memset(text, '\\', sizeof text);
    text[0] = '\xff';
    text[sizeof text - 1] = '\0';
    cq_buf_init(&all, 1 << 20);
    push(&all, &(cronq_failure){ 1, 1, "", text });
    memcpy(room, all.data, all.len);
    assert_int_equal(cq_failures_read(room, all.len, out), 1);
    assert_string_equal(out[0].host, "-");
    assert_memory_equal(out[0].text, "\xEF\xBF\xBD\\", 4);
    assert_in_range(strlen(out[0].text), 1000, CQ_FAILURE_TEXT_LIMIT_BYTES);
    cq_buf_release(&all);
}

static void what_is_no_line_is_left_out(void **state)
{
    cronq_failure out[CQ_FAILURES_LIMIT];
    char room[] = "garbage\n\n1 \n1 2\n1 2 h\n1 2  x\nx 2 h t\n7 8 h t\\";

    (void)state;
    assert_int_equal(cq_failures_read(room, strlen(room), out), 1);
    assert_int_equal(out[0].at_ms, 7);
    assert_string_equal(out[0].text, "t\\");
    room[0] = '\0';
    assert_int_equal(cq_failures_read(room, 0, out), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_come_back_as_they_were),
        cmocka_unit_test(the_newest_ten_are_kept),
        cmocka_unit_test(long_and_broken_texts_are_cut_and_repaired),
        cmocka_unit_test(what_is_no_line_is_left_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
