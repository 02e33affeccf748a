/* SPDX-License-Identifier: MIT */
/* key_test.c - every recorded key, and the names that are refused. */
#include "base/utf8.h"
#include "codec/key.h"
#include "support/golden.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* The moment and the names with which the vectors were recorded. */
#define RECORDED_AT_S 2000000000

static cq_buf buf;

static void assert_key(json_t *line, const char *field)
{
    json_t *expected = json_object_get(line, field);

    assert_true(json_is_string(expected));
    assert_int_equal(buf.len, json_string_length(expected));
    assert_memory_equal(buf.data, json_string_value(expected), buf.len);
    cq_buf_reset(&buf);
}

static void check_named(json_t *line, cq_str queue)
{
    static const char *const names[] = {
        "pending", "active",    "lease",  "scheduled", "retry",  "archived",
        "paused",  "completed", "groups", "processed", "failed", "aggregation_sets",
    };

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        cq_key_of(&buf, queue, names[i]);
        assert_key(line, names[i]);
    }
}

static void check_queue(json_t *line, cq_str queue)
{
    check_named(line, queue);
    cq_key_prefix(&buf, queue);
    assert_key(line, "prefix");
    cq_key_task(&buf, queue, CQ_STR("id1"));
    assert_key(line, "task");
    cq_key_group(&buf, queue, CQ_STR("g:1"));
    assert_key(line, "group");
    cq_key_aggregation_set(&buf, queue, CQ_STR("g:1"), CQ_STR("SET"));
    assert_key(line, "aggset");
    cq_key_unique(&buf, queue, CQ_STR("t:1"), (cronq_bytes){ NULL, 0 });
    assert_key(line, "unique_nil");
    cq_key_unique(&buf, queue, CQ_STR("t:1"), (cronq_bytes){ "", 0 });
    assert_key(line, "unique_empty");
    cq_key_unique(&buf, queue, CQ_STR("t:1"), (cronq_bytes)CRONQ_LIT("hello"));
    assert_key(line, "unique_hello");
    cq_key_daily(&buf, queue, "processed", RECORDED_AT_S);
    assert_key(line, "processed_day");
    cq_key_daily(&buf, queue, "failed", RECORDED_AT_S);
    assert_key(line, "failed_day");
}

static void check_global(json_t *line)
{
    cq_buf_append_text(&buf, CQ_KEY_QUEUES);
    assert_key(line, "all_queues");
    cq_buf_append_text(&buf, CQ_KEY_SERVERS);
    assert_key(line, "all_servers");
    cq_buf_append_text(&buf, CQ_KEY_WORKERS);
    assert_key(line, "all_workers");
    cq_buf_append_text(&buf, CQ_KEY_SCHEDULERS);
    assert_key(line, "all_schedulers");
    cq_buf_append_text(&buf, CQ_CHANNEL_CANCEL);
    assert_key(line, "cancel_channel");
    cq_key_history(&buf, CQ_STR("entry"));
    assert_key(line, "history");
    cq_key_scheduler(&buf, CQ_STR("host:42:uuid"));
    assert_key(line, "scheduler");
    cq_key_server(&buf, CQ_STR("host"), 42, CQ_STR("sid"));
    assert_key(line, "server");
    cq_key_workers(&buf, CQ_STR("host"), 42, CQ_STR("sid"));
    assert_key(line, "workers");
}

static cq_str text_at(json_t *line, const char *field)
{
    json_t *text = json_object_get(line, field);

    return (cq_str){ json_string_value(text), json_string_length(text) };
}

static bool is_refused_by_us_alone(cq_str name)
{
    for (size_t i = 0; i < name.len; i++)
        if ((unsigned char)name.data[i] < 0x20 || strchr("{}\x7F", name.data[i]))
            return true;
    return name.len > CQ_NAME_LIMIT_BYTES;
}

static void check_validation(json_t *line, cq_str name)
{
    const char *error = json_string_value(json_object_get(line, "error"));
    bool stricter = is_refused_by_us_alone(name);

    assert_int_equal(cq_check_queue(name, NULL),
                     *error || stricter ? CRONQ_EINVAL : CRONQ_OK);
}

static void check_line(json_t *line, size_t number)
{
    (void)number;
    if (json_object_get(line, "validate_queue_name"))
        check_validation(line, text_at(line, "validate_queue_name"));
    else if (json_object_get(line, "queue"))
        check_queue(line, text_at(line, "queue"));
    else
        check_global(line);
}

static void every_recorded_key_has_the_same_name(void **state)
{
    (void)state;
    cq_buf_init(&buf, 4096);
    golden_each("keys.jsonl", check_line);
    cq_buf_release(&buf);
}

static void daily_counters_change_at_midnight_utc(void **state)
{
    static const struct {
        int64_t at_s;
        const char *key;
    } rows[] = {
        { 0, "asynq:{q}:failed:1970-01-01" },
        { -1, "asynq:{q}:failed:1969-12-31" },
        { 951782399, "asynq:{q}:failed:2000-02-28" },
        { 951782400, "asynq:{q}:failed:2000-02-29" },
        { 951868800, "asynq:{q}:failed:2000-03-01" },
        { 4107542399, "asynq:{q}:failed:2100-02-28" },
        { 4107542400, "asynq:{q}:failed:2100-03-01" },
        { 253402300799, "asynq:{q}:failed:9999-12-31" },
    };

    (void)state;
    cq_buf_init(&buf, 4096);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        cq_key_daily(&buf, CQ_STR("q"), "failed", rows[i].at_s);
        assert_string_equal(cq_buf_text(&buf), rows[i].key);
        cq_buf_reset(&buf);
    }
    cq_buf_release(&buf);
}

typedef cronq_status check_fn(cq_str name, cronq_error *err);

static void assert_refused(check_fn *check, cq_str name, const char *field,
                           const char *reason)
{
    cronq_error err = { 0 };

    assert_int_equal(check(name, &err), CRONQ_EINVAL);
    assert_int_equal(err.code, CRONQ_EINVAL);
    if (!strstr(err.text, field) || !strstr(err.text, reason))
        fail_msg("\"%s\" does not name %s and \"%s\"", err.text, field, reason);
    assert_true(cq_utf8_valid(err.text, strlen(err.text)));
}

static void names_that_no_key_may_hold_are_refused(void **state)
{
    static const struct {
        check_fn *check;
        const char *field;
        size_t limit;
    } rows[] = {
        { cq_check_queue, "queue", CQ_NAME_LIMIT_BYTES },
        { cq_check_type, "task type", CQ_ID_LIMIT_BYTES },
        { cq_check_task_id, "task id", CQ_ID_LIMIT_BYTES },
        { cq_check_group, "group", CQ_ID_LIMIT_BYTES },
    };
    char longest[CQ_ID_LIMIT_BYTES + 1];

    (void)state;
    memset(longest, 'x', sizeof longest);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        check_fn *check = rows[i].check;
        const char *field = rows[i].field;
        char limit[32];

        snprintf(limit, sizeof limit, "at most %zu", rows[i].limit);
        assert_refused(check, (cq_str){ NULL, 0 }, field, "blank");
        assert_refused(check, CQ_STR(""), field, "blank");
        assert_refused(check, CQ_STR(" \t\xC2\xA0\xE3\x80\x80\xE2\x80\xA8"), field,
                       "blank");
        assert_refused(check, CQ_STR("a\0b"), field, "control");
        assert_refused(check, CQ_STR("a\n"), field, "control");
        assert_refused(check, CQ_STR("\x7F"), field, "control");
        assert_refused(check, CQ_STR("a\xFF"), field, "\"a\\xff\" is not valid UTF-8");
        assert_refused(check, CQ_STR("\xED\xA0\x80"), field, "UTF-8");
        assert_refused(check, (cq_str){ longest, rows[i].limit + 1 }, field, limit);
        assert_int_equal(check((cq_str){ longest, rows[i].limit }, NULL), CRONQ_OK);
        assert_int_equal(check(CQ_STR(" \xE6\xBC\xA2:*"), NULL), CRONQ_OK);
    }
    assert_refused(cq_check_queue, CQ_STR("a{b"), "queue", "brace");
    assert_refused(cq_check_queue, CQ_STR("}"), "queue", "brace");
    assert_int_equal(cq_check_type(CQ_STR("a{b}"), NULL), CRONQ_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_recorded_key_has_the_same_name),
        cmocka_unit_test(daily_counters_change_at_midnight_utc),
        cmocka_unit_test(names_that_no_key_may_hold_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
