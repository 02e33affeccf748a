/* SPDX-License-Identifier: MIT */
/* reader_test.c - RESP, good and bad, whole and in pieces. */
#include "net/reader.h"

#include "base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define ARENA_BYTES ((size_t)8 << 20)

/* A reply as text: (1 "two" (+OK -ERR) nil). */
static void describe(cq_buf *out, const cq_reply *reply)
{
    switch (reply->type) {
    case CQ_REPLY_NIL:
        cq_buf_append_text(out, "nil");
        return;
    case CQ_REPLY_STRING:
        cq_buf_printf(out, "\"%.*s\"", CQ_FMT(reply->text));
        return;
    case CQ_REPLY_STATUS:
        cq_buf_printf(out, "+%.*s", CQ_FMT(reply->text));
        return;
    case CQ_REPLY_ERROR:
        cq_buf_printf(out, "-%.*s", CQ_FMT(reply->text));
        return;
    case CQ_REPLY_INTEGER:
        cq_buf_append_int(out, reply->integer);
        return;
    case CQ_REPLY_ARRAY:
        cq_buf_append_char(out, '(');
        for (size_t i = 0; i < reply->count; i++) {
            if (i)
                cq_buf_append_char(out, ' ');
            describe(out, &reply->elements[i]);
        }
        cq_buf_append_char(out, ')');
        return;
    }
}

/* Feed step bytes at a time; what came out, separated by '|', and the last status. */
static cronq_status read_all(const char *data, size_t len, size_t step, cq_buf *out,
                             cronq_error *err)
{
    cronq_status status;
    cq_reader reader;
    cq_arena arena;

    assert_int_equal(cq_reader_init(&reader, NULL), CRONQ_OK);
    cq_arena_init(&arena, ARENA_BYTES);
    status = CRONQ_OK;
    for (size_t at = 0; at < len && !status; at += step) {
        cq_reply *reply = NULL;

        status =
            cq_reader_feed(&reader, data + at, len - at < step ? len - at : step, err);
        assert_int_equal(status, CRONQ_OK);
        while (!(status = cq_reader_next(&reader, &arena, &reply, err)) && reply) {
            describe(out, reply);
            cq_buf_append_char(out, '|');
        }
    }
    cq_reader_release(&reader);
    cq_arena_release(&arena);
    return status;
}

static void replies_are_the_same_whole_and_byte_by_byte(void **state)
{
    static const struct {
        const char *data, *expected;
    } rows[] = {
        { "+OK\r\n", "+OK|" },
        { "-ERR no\r\n", "-ERR no|" },
        { ":0\r\n:-12\r\n", "0|-12|" },
        { ":9223372036854775807\r\n:-9223372036854775808\r\n",
          "9223372036854775807|-9223372036854775808|" },
        { "$-1\r\n*-1\r\n", "nil|nil|" },
        { "$0\r\n\r\n$4\r\na\r\nb\r\n", "\"\"|\"a\r\nb\"|" },
        { "*0\r\n", "()|" },
        { "*3\r\n:1\r\n*2\r\n$1\r\nx\r\n*0\r\n$-1\r\n+Q\r\n", "(1 (\"x\" ()) nil)|+Q|" },
        { "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:7\r\n", "(((((((7)))))))|" },
        { "+\r\n", "+|" },
        { "$5\r\nhel", "" },
        { "*2\r\n:1\r\n", "" },
    };
    static const size_t steps[] = { 1, 2, 3, 1000 };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        for (size_t j = 0; j < sizeof steps / sizeof steps[0]; j++) {
            cronq_error err = { .text = "" };
            cq_buf out;

            cq_buf_init(&out, 1 << 20);
            if (read_all(rows[i].data, strlen(rows[i].data), steps[j], &out, &err))
                fail_msg("%s: %s", rows[i].data, err.text);
            cq_buf_append_char(&out, '\0');
            assert_string_equal(out.data, rows[i].expected);
            cq_buf_release(&out);
        }
}

static void garbage_is_refused(void **state)
{
    static const char *const rows[] = {
        "hello\r\n",
        "\r\n",
        "%1\r\n+a\r\n+b\r\n",
        "HTTP/1.1 400 Bad Request\r\n",
        ":x\r\n",
        ":\r\n",
        ":99999999999999999999\r\n",
        "$x\r\n",
        "$-2\r\n",
        "$99999999999999999999\r\n",
        "$536870913\r\n",
        "$536870913",
        "$9223372036854775807\r\n",
        "$1000000000000000000000000000000000000000000000000",
        "*x\r\n",
        "*-2\r\n",
        "*1048577\r\n",
        "*1000000000\r\n",
        "*2147483648\r\n",
        "*99999999999999999999\r\n",
        "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:7\r\n",
        "~1\r\n:1\r\n",
        ",1.5\r\n",
        "#t\r\n",
        "_\r\n",
        "(12\r\n",
        "=5\r\ntxt:a\r\n",
        ">1\r\n:1\r\n",
        "*1\r\n*1048577\r\n",
        "*2\r\n:1\r\nx\r\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        for (size_t step = 1; step < 1000; step += 998) {
            cronq_error err = { .text = "" };
            cq_buf out;

            cq_buf_init(&out, 1 << 20);
            if (read_all(rows[i], strlen(rows[i]), step, &out, &err) != CRONQ_EPROTO ||
                err.code != CRONQ_EPROTO)
                fail_msg("\"%s\" was taken for RESP (%s)", rows[i], err.text);
            assert_int_equal(out.len, 0);
            cq_buf_release(&out);
        }
}

static void an_endless_line_is_refused(void **state)
{
    char *line = malloc((2 << 20) + 1);
    cq_buf out;

    (void)state;
    assert_non_null(line);
    memset(line, 'x', 2 << 20);
    cq_buf_init(&out, 1 << 20);
    for (const char *kind = "+-:*"; *kind; kind++) {
        line[0] = *kind;
        assert_int_equal(read_all(line, 2 << 20, 16 << 10, &out, NULL), CRONQ_EPROTO);
    }
    cq_buf_release(&out);
    free(line);
}

static void an_announced_length_alone_takes_no_memory(void **state)
{
    static const char nested[] =
        "*1048576\r\n*1048576\r\n*1048576\r\n*1048576\r\n"
        "*1048576\r\n*1048576\r\n*1048576\r\n:1\r\n$536870912\r\n";
    cq_reader reader;
    cq_arena arena;
    cq_reply *reply;

    (void)state;
    cq_arena_init(&arena, SIZE_MAX / 2);
    assert_int_equal(cq_reader_init(&reader, NULL), CRONQ_OK);
    assert_int_equal(cq_reader_feed(&reader, nested, sizeof nested - 1, NULL), CRONQ_OK);
    assert_int_equal(cq_reader_next(&reader, &arena, &reply, NULL), CRONQ_OK);
    assert_null(reply);
    assert_true(cq_reader_amid(&reader));
    assert_true(arena.used < 512 << 10);
    cq_reader_release(&reader);
    cq_arena_release(&arena);
}

static void arrays_grow_across_every_step(void **state)
{
    enum { COUNT = 5000 };
    cq_reader reader;
    cq_reply *reply;
    cq_arena arena;
    cq_buf data;

    (void)state;
    cq_arena_init(&arena, ARENA_BYTES);
    cq_buf_init(&data, 1 << 20);
    cq_buf_printf(&data, "*%d\r\n", COUNT);
    for (int i = 0; i < COUNT; i++)
        cq_buf_printf(&data, "*2\r\n:%d\r\n$1\r\nx\r\n", i);
    assert_int_equal(cq_reader_init(&reader, NULL), CRONQ_OK);
    assert_int_equal(cq_reader_feed(&reader, data.data, data.len, NULL), CRONQ_OK);
    assert_int_equal(cq_reader_next(&reader, &arena, &reply, NULL), CRONQ_OK);
    assert_int_equal(reply->count, COUNT);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(reply->elements[i].count, 2);
        assert_int_equal(reply->elements[i].elements[0].integer, i);
        assert_string_equal(reply->elements[i].elements[1].text.data, "x");
    }
    cq_reader_release(&reader);
    cq_arena_release(&arena);
    cq_buf_release(&data);
}

static void a_reply_above_the_arena_is_refused_at_every_limit(void **state)
{
    static const char data[] = "*3\r\n$5\r\nhello\r\n:1\r\n*1\r\n+OK\r\n";

    (void)state;
    for (size_t limit = 0;; limit += 8) {
        cronq_error err = { .text = "" };
        cronq_status status;
        cq_reader reader;
        cq_arena arena;
        cq_reply *reply;

        cq_arena_init(&arena, limit);
        assert_int_equal(cq_reader_init(&reader, NULL), CRONQ_OK);
        assert_int_equal(cq_reader_feed(&reader, data, sizeof data - 1, NULL), CRONQ_OK);
        status = cq_reader_next(&reader, &arena, &reply, &err);
        if (status)
            assert_int_equal(status, CRONQ_ENOMEM);
        else
            assert_string_equal(reply->elements[0].text.data, "hello");
        cq_reader_release(&reader);
        cq_arena_release(&arena);
        if (!status)
            break;
        assert_true(limit < 4096);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replies_are_the_same_whole_and_byte_by_byte),
        cmocka_unit_test(garbage_is_refused),
        cmocka_unit_test(an_endless_line_is_refused),
        cmocka_unit_test(an_announced_length_alone_takes_no_memory),
        cmocka_unit_test(arrays_grow_across_every_step),
        cmocka_unit_test(a_reply_above_the_arena_is_refused_at_every_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
