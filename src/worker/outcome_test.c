/* SPDX-License-Identifier: MIT */
/* outcome_test.c - outcomes, rewritten messages, deadlines, retry delays and routes. */
#include "worker/outcome.h"

#include "base/clock.h"
#include "worker/mux.h"
#include "worker/retry.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define COUNT(a)    (sizeof(a) / sizeof(a)[0])
#define ARENA_BYTES ((size_t)1 << 20)

static void every_ending_has_its_outcome(void **state)
{
    static const struct {
        cronq_status status;
        bool failure, aborted;
        int32_t retried, max_retry;
        int64_t retention_s;
        cq_outcome_kind kind;
    } rows[] = {
        { CRONQ_OK, false, false, 0, 3, 0, CQ_DONE },
        { CRONQ_OK, false, false, 0, 3, 60, CQ_COMPLETE },
        { CRONQ_OK, false, true, 0, 3, 0, CQ_DONE },
        { CRONQ_EREVOKED, true, false, 0, 3, 60, CQ_DONE },
        { CRONQ_ENORETRY, true, false, 0, 3, 0, CQ_ARCHIVE },
        { CRONQ_ENORETRY, true, true, 0, 3, 0, CQ_ARCHIVE },
        { CRONQ_EFAILED, true, false, 2, 3, 0, CQ_RETRY },
        { CRONQ_EFAILED, true, false, 3, 3, 0, CQ_ARCHIVE },
        { CRONQ_EFAILED, true, false, 0, 0, 0, CQ_ARCHIVE },
        { CRONQ_EFAILED, true, false, 0, -1, 0, CQ_ARCHIVE },
        { CRONQ_EFAILED, false, false, 3, 3, 0, CQ_RETRY },
        { CRONQ_EFAILED, true, true, 3, 3, 0, CQ_GIVE_BACK },
        { CRONQ_ETIMEDOUT, true, false, 0, 3, 0, CQ_RETRY },
        { CRONQ_ERETRYIN, false, false, 3, 3, 0, CQ_RETRY },
        { CRONQ_ERETRYIN, true, false, 3, 3, 0, CQ_ARCHIVE },
        { CRONQ_ERETRYIN, true, false, 2, 3, 0, CQ_RETRY },
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        cq_ending ending = { rows[i].status, rows[i].failure, rows[i].aborted };
        cq_message message = { .retried = rows[i].retried,
                               .max_retry = rows[i].max_retry,
                               .retention_s = rows[i].retention_s };

        if (cq_outcome_kind_of(&ending, &message) != rows[i].kind)
            fail_msg("row %zu", i);
    }
}

/* The message after an outcome, decoded into the arena. */
static cq_message rewritten(const cq_message *message, cq_outcome_kind kind, bool failure,
                            cq_str text, cq_arena *arena)
{
    cq_message out;
    cq_buf buf;

    cq_buf_init(&buf, ARENA_BYTES);
    assert_int_equal(cq_outcome_rewrite(message, kind, failure, text, 1000, &buf, NULL),
                     CRONQ_OK);
    assert_int_equal(cq_message_decode(
                         (cronq_bytes){ cq_arena_dup(arena, buf.data, buf.len), buf.len },
                         arena, &out, NULL),
                     CRONQ_OK);
    cq_buf_release(&buf);
    return out;
}

static void a_retry_is_charged_only_for_failures(void **state)
{
    cq_message message = { .type = CQ_STR("t"),
                           .id = CQ_STR("id"),
                           .retried = 2,
                           .max_retry = 5,
                           .timeout_s = 7 },
               out;
    cq_arena arena;

    (void)state;
    cq_arena_init(&arena, ARENA_BYTES);
    out = rewritten(&message, CQ_RETRY, true, CQ_STR("boom"), &arena);
    assert_int_equal(out.retried, 3);
    assert_int_equal(out.last_failed_at_s, 1000);
    assert_true(cq_str_eq(out.error_msg, CQ_STR("boom")));
    assert_int_equal(out.timeout_s, 7);
    out = rewritten(&message, CQ_RETRY, false, CQ_STR("later"), &arena);
    assert_int_equal(out.retried, 2);
    out = rewritten(&message, CQ_ARCHIVE, true, CQ_STR("boom"), &arena);
    assert_int_equal(out.retried, 2);
    assert_int_equal(out.last_failed_at_s, 1000);
    message.retried = INT32_MAX;
    out = rewritten(&message, CQ_RETRY, true, CQ_STR("boom"), &arena);
    assert_int_equal(out.retried, INT32_MAX);
    cq_arena_release(&arena);
}

static void a_completed_task_keeps_everything_else(void **state)
{
    cq_message message = { .type = CQ_STR("t"),
                           .id = CQ_STR("id"),
                           .retried = 2,
                           .error_msg = CQ_STR("before") },
               out;
    cq_arena arena;

    (void)state;
    cq_arena_init(&arena, ARENA_BYTES);
    out = rewritten(&message, CQ_COMPLETE, false, (cq_str){ 0 }, &arena);
    assert_int_equal(out.completed_at_s, 1000);
    assert_int_equal(out.retried, 2);
    assert_true(cq_str_eq(out.error_msg, CQ_STR("before")));
    cq_arena_release(&arena);
}

static void error_texts_are_repaired_and_cut_on_a_character(void **state)
{
    cq_message message = { .id = CQ_STR("id") }, out;
    size_t len = CQ_ERROR_TEXT_LIMIT_BYTES + 10;
    char *text = malloc(len);
    cq_arena arena;

    (void)state;
    assert_non_null(text);
    cq_arena_init(&arena, ARENA_BYTES);
    out = rewritten(&message, CQ_RETRY, true, CQ_STR("a\xFFz"), &arena);
    assert_true(cq_str_eq(out.error_msg, CQ_STR("a\xEF\xBF\xBDz")));
    memset(text, 'x', len);
    memcpy(text + CQ_ERROR_TEXT_LIMIT_BYTES - 1, "\xC3\xA9", 2); /* over the edge */
    out = rewritten(&message, CQ_RETRY, true, (cq_str){ text, len }, &arena);
    assert_int_equal(out.error_msg.len, CQ_ERROR_TEXT_LIMIT_BYTES - 1);
    cq_arena_release(&arena);
    free(text);
}

static void uncounted_retries_are_counted_in_a_header(void **state)
{
    static const cq_header own[] = { { { "a", 1 }, { "b", 1 } } };
    static const char *const foreign[] = { "x", "-1", "1000000000",
                                           "99999999999999999999" };
    cq_message message = { .headers = own, .header_count = 1 };
    cq_arena arena;

    (void)state;
    cq_arena_init(&arena, 1 << 20);
    for (int64_t i = 0; i < CQ_DEFERRED_LIMIT; i++) {
        assert_int_equal(cq_deferred_count(&message), i);
        assert_int_equal(cq_count_deferral(&message, &arena, NULL), CRONQ_OK);
    }
    assert_int_equal(cq_deferred_count(&message), CQ_DEFERRED_LIMIT);
    assert_int_equal(message.header_count, 2);
    assert_true(cq_str_eq(message.headers[0].value, CQ_STR("b")));
    for (size_t i = 0; i < sizeof foreign / sizeof foreign[0]; i++) {
        cq_header header = { CQ_STR(CQ_HEADER_DEFERRED), cq_str_of(foreign[i]) };
        cq_message strange = { .headers = &header, .header_count = 1 };

        assert_int_equal(cq_deferred_count(&strange), CQ_DEFERRED_LIMIT);
    }
    cq_arena_release(&arena);
}

static void what_stands_for_a_corrupt_message_is_valid(void **state)
{
    cq_message out;
    cq_arena arena;
    cq_buf buf;

    (void)state;
    cq_arena_init(&arena, ARENA_BYTES);
    cq_buf_init(&buf, ARENA_BYTES);
    assert_int_equal(
        cq_message_replace(CQ_STR("q"), CQ_STR("i\xFF"), "why", 1000, &buf, NULL),
        CRONQ_OK);
    assert_int_equal(
        cq_message_decode((cronq_bytes){ buf.data, buf.len }, &arena, &out, NULL),
        CRONQ_OK);
    assert_true(cq_str_eq(out.type, CQ_STR("corrupt")));
    assert_true(cq_str_eq(out.queue, CQ_STR("q")));
    assert_true(cq_str_eq(out.id, CQ_STR("i\xEF\xBF\xBD")));
    assert_true(cq_str_eq(out.error_msg, CQ_STR("why")));
    cq_buf_release(&buf);
    cq_arena_release(&arena);
}

static void a_message_belongs_to_its_id_and_queue(void **state)
{
    cq_message message = { .type = CQ_STR("t"),
                           .id = CQ_STR("id"),
                           .queue = CQ_STR("q") };
    cronq_bytes bytes;
    cq_arena arena;
    cq_buf buf;

    (void)state;
    cq_arena_init(&arena, ARENA_BYTES);
    cq_buf_init(&buf, ARENA_BYTES);
    assert_int_equal(cq_message_encode(&message, &buf, NULL), CRONQ_OK);
    bytes = (cronq_bytes){ buf.data, buf.len };
#define CHECK(b, q, i) cq_message_check(b, CQ_STR(q), CQ_STR(i), &arena, &message, NULL)
    assert_int_equal(CHECK(bytes, "q", "id"), CRONQ_OK);
    assert_int_equal(CHECK(bytes, "q", "other"), CRONQ_EPROTO);
    assert_int_equal(CHECK(bytes, "other", "id"), CRONQ_EPROTO);
    assert_int_equal(CHECK(((cronq_bytes){ "", 0 }), "q", "id"), CRONQ_EPROTO);
    assert_int_equal(CHECK(((cronq_bytes){ "\xFF", 1 }), "q", "id"), CRONQ_EPROTO);
#undef CHECK
    cq_buf_release(&buf);
    cq_arena_release(&arena);
}

static void the_earlier_of_timeout_and_deadline_counts(void **state)
{
    static const struct {
        int64_t timeout_s, deadline_s, end_s;
    } rows[] = {
        { 0, 0, 1000 + 1800 },  { 5, 0, 1005 },
        { 0, 1010, 1010 },      { 5, 1010, 1005 },
        { 50, 1010, 1010 },     { 5, 900, 900 },
        { 0, -3, 0 },           { -1, 0, 1000 },
        { 5, INT64_MAX, 1005 }, { 0, INT64_MAX, INT64_MAX / CQ_NS_PER_S },
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        cq_message message = { .timeout_s = rows[i].timeout_s,
                               .deadline_at_s = rows[i].deadline_s };

        if (cq_deadline_ns(&message, 1000 * CQ_NS_PER_S) / CQ_NS_PER_S != rows[i].end_s)
            fail_msg("row %zu", i);
    }
    assert_true(cq_deadline_ns(&(cq_message){ .timeout_s = INT64_MAX }, 0) > 0);
}

/* ---- delays ---- */

static int64_t delay(cronq_server_options options, int32_t retried)
{
    cq_random random;

    cq_random_seed(&random, 1);
    return cq_retry_delay_ms(&options, retried, NULL, "t", &random);
}

static int64_t users_delay(int32_t retried, const cronq_error *why, const char *type,
                           void *arg)
{
    assert_string_equal(type, "t");
    assert_null(why);
    return retried == 9 ? -1 : *(int64_t *)arg + retried;
}

static void retry_delays_grow_as_configured(void **state)
{
    cronq_server_options exponential = { .retry_kind = CRONQ_RETRY_EXPONENTIAL,
                                         .retry_base_ms = 1000,
                                         .retry_cap_ms = 60000 };
    cronq_server_options fixed = { .retry_kind = CRONQ_RETRY_FIXED,
                                   .retry_base_ms = 250 };
    int64_t base = 7;
    cronq_server_options users = { .retry_delay = users_delay, .retry_delay_arg = &base };

    (void)state;
    assert_int_equal(delay(exponential, 0), 1000);
    assert_int_equal(delay(exponential, 1), 3000);
    assert_int_equal(delay(exponential, 4), 31000);
    assert_int_equal(delay(exponential, 5), 60000);
    assert_int_equal(delay(exponential, INT32_MAX), 60000);
    assert_int_equal(delay(exponential, -5), 1000);
    assert_int_equal(delay(fixed, 0), 250);
    assert_int_equal(delay(fixed, 100), 250);
    assert_int_equal(delay(users, 3), 10);
    assert_int_equal(delay(users, 9), 0);
}

static void default_retry_delays_are_the_references(void **state)
{
    cronq_server_options options = { .retry_kind = CRONQ_RETRY_DEFAULT };
    cq_random random;

    (void)state;
    cq_random_seed(&random, 2);
    for (int64_t n = 0; n < 30; n++) {
        int64_t least = (n * n * n * n + 15) * 1000, most = least + 29 * (n + 1) * 1000;
        bool low = false, high = false;

        for (int i = 0; i < 300; i++) {
            int64_t ms = cq_retry_delay_ms(&options, (int32_t)n, NULL, "t", &random);

            assert_true(ms >= least && ms <= most);
            low |= ms == least;
            high |= ms == most;
        }
        assert_true(low && high);
    }
    assert_true(delay(options, INT32_MAX) > 0);
}

/* ---- routes ---- */

static cronq_status never(cronq_attempt *attempt, void *arg)
{
    (void)attempt;
    (void)arg;
    return CRONQ_EFAILED;
}

static void the_longest_pattern_wins(void **state)
{
    static const struct {
        const char *type, *pattern;
    } rows[] = { { "email:welcome:1", "email:welcome" },
                 { "email:welcome", "email:welcome" },
                 { "email:bye", "email:" },
                 { "email", NULL },
                 { "sms", "s" },
                 { "", NULL } };
    cq_mux mux;

    (void)state;
    cq_mux_init(&mux);
    assert_int_equal(cq_mux_add(&mux, "email:", never, NULL, NULL), CRONQ_OK);
    assert_int_equal(cq_mux_add(&mux, "s", never, NULL, NULL), CRONQ_OK);
    assert_int_equal(cq_mux_add(&mux, "email:welcome", never, NULL, NULL), CRONQ_OK);
    for (size_t i = 0; i < COUNT(rows); i++) {
        const cq_route *route = cq_mux_find(&mux, cq_str_of(rows[i].type));

        if (!rows[i].pattern)
            assert_null(route);
        else
            assert_string_equal(route->pattern, rows[i].pattern);
    }
    cq_mux_release(&mux);
}

static void bad_patterns_are_refused(void **state)
{
    cronq_error err;
    cq_mux mux;

    (void)state;
    cq_mux_init(&mux);
    assert_int_equal(cq_mux_add(&mux, NULL, never, NULL, &err), CRONQ_EINVAL);
    assert_int_equal(cq_mux_add(&mux, "", never, NULL, &err), CRONQ_EINVAL);
    assert_int_equal(cq_mux_add(&mux, " \t\n", never, NULL, &err), CRONQ_EINVAL);
    assert_int_equal(cq_mux_add(&mux, "a", NULL, NULL, &err), CRONQ_EINVAL);
    assert_int_equal(cq_mux_add(&mux, "a", never, NULL, &err), CRONQ_OK);
    assert_int_equal(cq_mux_add(&mux, "a", never, NULL, &err), CRONQ_EEXIST);
    assert_non_null(strstr(err.text, "a"));
    assert_int_equal(cq_mux_use(&mux, NULL, NULL, &err), CRONQ_EINVAL);
    cq_mux_release(&mux);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_ending_has_its_outcome),
        cmocka_unit_test(a_retry_is_charged_only_for_failures),
        cmocka_unit_test(a_completed_task_keeps_everything_else),
        cmocka_unit_test(error_texts_are_repaired_and_cut_on_a_character),
        cmocka_unit_test(uncounted_retries_are_counted_in_a_header),
        cmocka_unit_test(what_stands_for_a_corrupt_message_is_valid),
        cmocka_unit_test(a_message_belongs_to_its_id_and_queue),
        cmocka_unit_test(the_earlier_of_timeout_and_deadline_counts),
        cmocka_unit_test(retry_delays_grow_as_configured),
        cmocka_unit_test(default_retry_delays_are_the_references),
        cmocka_unit_test(the_longest_pattern_wins),
        cmocka_unit_test(bad_patterns_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
