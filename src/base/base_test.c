/* SPDX-License-Identifier: MIT */
/* base_test.c - buffers, arenas, UTF-8, JSON, time, ids and the ticker. */
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "base/random.h"
#include "base/thread.h"
#include "base/ticker.h"
#include "base/utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void buffer_stops_at_its_limit(void **state)
{
    cq_buf buf;

    (void)state;
    cq_buf_init(&buf, 10);
    cq_buf_append_text(&buf, "12345678");
    cq_buf_append_text(&buf, "abc");
    assert_int_equal(buf.status, CRONQ_ETOOBIG);
    assert_int_equal(buf.len, 8);
    cq_buf_append_text(&buf, "x");
    assert_int_equal(buf.len, 8);
    cq_buf_reset(&buf);
    cq_buf_append_int(&buf, INT64_MIN / 1000000000000);
    assert_string_equal(cq_buf_text(&buf), "-9223372");
    cq_buf_release(&buf);
}

static void buffer_prints_every_integer(void **state)
{
    static const int64_t values[] = { 0, 7, -1, 10, INT64_MAX, INT64_MIN };
    cq_buf buf;
    char expected[32];

    (void)state;
    cq_buf_init(&buf, 100);
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        cq_buf_reset(&buf);
        cq_buf_append_int(&buf, values[i]);
        snprintf(expected, sizeof expected, "%lld", (long long)values[i]);
        assert_string_equal(cq_buf_text(&buf), expected);
    }
    cq_buf_release(&buf);
}

static void arena_is_aligned_and_limited(void **state)
{
    cq_arena arena;

    (void)state;
    cq_arena_init(&arena, 100000);
    for (size_t size = 0; size < 300; size++) {
        char *p = cq_arena_alloc(&arena, size);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % _Alignof(max_align_t), 0);
        memset(p, 1, size);
    }
    assert_null(cq_arena_alloc(&arena, 100000));
    cq_arena_reset(&arena);
    assert_string_equal(cq_arena_dup(&arena, "abcdef", 3), "abc");
    assert_null(cq_arena_calloc(&arena, SIZE_MAX, 2));
    cq_arena_release(&arena);
}

static void utf8_knows_the_ill_formed(void **state)
{
    static const char *const bad[] = {
        "\x80",         "\xC0\x80",         "\xC1\xBF",         "\xE0\x80\x80",
        "\xED\xA0\x80", "\xF0\x80\x80\x80", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80",
        "a\xE2\x82"
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(cq_utf8_valid(bad[i], strlen(bad[i])));
    assert_true(cq_utf8_valid("a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\0b", 12));
}

static void utf8_repairs_on_a_boundary(void **state)
{
    cq_buf buf;
    char text[8];

    (void)state;
    cq_buf_init(&buf, 100);
    cq_utf8_repair(&buf, "a\xFF\xE2\x82\xAC!", 6, 7);
    assert_string_equal(cq_buf_text(&buf), "a\xEF\xBF\xBD\xE2\x82\xAC");
    cq_utf8_copy(text, sizeof text, "abcde\xE2\x82\xAC", 8);
    assert_string_equal(text, "abcde");
    cq_buf_release(&buf);
}

static void json_separates_and_escapes(void **state)
{
    cq_buf buf;

    (void)state;
    cq_buf_init(&buf, 1000);
    cq_json_open(&buf, '{');
    cq_json_key_text(&buf, "a", "x\"\\\n\x01\xFF");
    cq_json_key(&buf, "b");
    cq_json_open(&buf, '[');
    cq_json_int(&buf, -3);
    cq_json_bool(&buf, true);
    cq_json_double(&buf, 0.1);
    cq_json_close(&buf, ']');
    cq_json_key_text(&buf, "c", NULL);
    cq_json_close(&buf, '}');
    assert_string_equal(cq_buf_text(&buf), "{\"a\":\"x\\\"\\\\\\n\\u0001\xEF\xBF\xBD\","
                                           "\"b\":[-3,true,0.1],\"c\":null}");
    cq_buf_release(&buf);
}

static void seconds_round_both_ways(void **state)
{
    (void)state;
    assert_int_equal(cq_seconds_up(1), 1);
    assert_int_equal(cq_seconds_up(1000), 1);
    assert_int_equal(cq_seconds_up(-1), 0);
    assert_int_equal(cq_seconds_up(INT64_MAX), INT64_MAX / 1000 + 1);
    assert_int_equal(cq_seconds_down(999), 0);
    assert_int_equal(cq_seconds_down(-1), -1);
    assert_int_equal(cq_seconds_down(-1000), -1);
}

static void ids_have_their_version(void **state)
{
    char id[CQ_UUID_LEN + 1], later[CQ_UUID_LEN + 1];
    cq_random random;

    (void)state;
    cq_random_init(&random);
    cq_uuid4(&random, id);
    assert_int_equal(strlen(id), CQ_UUID_LEN);
    assert_int_equal(id[14], '4');
    assert_non_null(strchr("89ab", id[19]));
    cq_uuid7(&random, 1000, id);
    cq_uuid7(&random, 1001, later);
    assert_int_equal(id[14], '7');
    assert_true(strcmp(id, later) < 0);
}

static void errors_are_text(void **state)
{
    cronq_error err;

    (void)state;
    assert_int_equal(cq_fail(&err, CRONQ_EDUP, "bad \xFF byte"), CRONQ_EDUP);
    assert_int_equal(err.code, CRONQ_EDUP);
    assert_string_equal(err.text, "bad \xEF\xBF\xBD byte");
    assert_int_equal(cq_fail(NULL, CRONQ_EIO, "unseen"), CRONQ_EIO);
    assert_string_equal(cronq_status_name(CRONQ_ETOOBIG), "ETOOBIG");
    assert_string_equal(cronq_version_string(), "0.1.0");
}

static void count_call(void *arg)
{
    atomic_fetch_add((atomic_int *)arg, 1);
}

static void ticker_calls_and_hurries(void **state)
{
    atomic_int often = 0, seldom = 0;
    cq_component components[] = { { "often", 1, count_call, &often },
                                  { "seldom", 3600000, count_call, &seldom } };
    cq_ticker *ticker;

    (void)state;
    assert_int_equal(cq_ticker_start("test", components, 2, &ticker, NULL), CRONQ_OK);
    cq_ticker_hurry(ticker, "seldom");
    for (int i = 0; i < 5000 && (atomic_load(&often) < 3 || !atomic_load(&seldom)); i++)
        cq_sleep_ms(1);
    cq_ticker_stop(ticker);
    assert_true(atomic_load(&often) >= 3);
    assert_int_equal(atomic_load(&seldom), 1);
}

static void event_stays_set_until_cleared(void **state)
{
    cq_event event;

    (void)state;
    assert_int_equal(cq_event_init(&event, NULL), CRONQ_OK);
    assert_false(cq_event_wait(&event, 1));
    cq_event_set(&event);
    cq_event_set(&event);
    assert_true(cq_event_wait(&event, -1));
    assert_true(cq_event_clear(&event));
    assert_false(cq_event_clear(&event));
    cq_event_release(&event);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buffer_stops_at_its_limit),
        cmocka_unit_test(buffer_prints_every_integer),
        cmocka_unit_test(arena_is_aligned_and_limited),
        cmocka_unit_test(utf8_knows_the_ill_formed),
        cmocka_unit_test(utf8_repairs_on_a_boundary),
        cmocka_unit_test(json_separates_and_escapes),
        cmocka_unit_test(seconds_round_both_ways),
        cmocka_unit_test(ids_have_their_version),
        cmocka_unit_test(errors_are_text),
        cmocka_unit_test(ticker_calls_and_hurries),
        cmocka_unit_test(event_stays_set_until_cleared),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
