/* SPDX-License-Identifier: MIT */
/* option_test.c - every recorded option text, and the edges beyond them. */
#include "codec/info.h"
#include "codec/option.h"
#include "support/golden.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static cq_buf buf;

static int open_buffer(void **state)
{
    (void)state;
    cq_buf_init(&buf, 1 << 20);
    return 0;
}

static int close_buffer(void **state)
{
    (void)state;
    cq_buf_release(&buf);
    return 0;
}

static const struct {
    const char *name;
    void (*of_number)(cq_buf *, int64_t);
    void (*of_text)(cq_buf *, cq_str);
    void (*of_time)(cq_buf *, int64_t);
} options[] = {
    { "MaxRetry", cq_option_max_retry, NULL, NULL },
    { "Queue", NULL, cq_option_queue, NULL },
    { "TaskID", NULL, cq_option_task_id, NULL },
    { "Group", NULL, cq_option_group, NULL },
    { "Timeout", cq_option_timeout, NULL, NULL },
    { "Unique", cq_option_unique, NULL, NULL },
    { "ProcessIn", cq_option_process_in, NULL, NULL },
    { "Retention", cq_option_retention, NULL, NULL },
    { "Deadline", NULL, NULL, cq_option_deadline },
    { "ProcessAt", NULL, NULL, cq_option_process_at },
};

static cq_str text_at(json_t *object, const char *field)
{
    size_t len;
    json_t *hex = json_object_get(object, field);
    unsigned char *bytes;

    assert_true(json_is_string(hex));
    bytes = golden_unhex(json_string_value(hex), &len);
    return (cq_str){ (char *)bytes, len };
}

static void free_text(cq_str text)
{
    free((void *)(uintptr_t)text.data);
}

static void write_header(json_t *arg)
{
    cq_str key = text_at(arg, "key_hex"), value = text_at(arg, "value_hex");

    cq_option_header(&buf, key, value);
    free_text(key);
    free_text(value);
}

/* The vectors have zones ("EDT -04:00"), we write UTC: compare at the zone's offset, with
 * its name put in. */
static void write_time(json_t *arg, void (*write)(cq_buf *, int64_t))
{
    int64_t unix_s = json_integer_value(json_object_get(arg, "unix"));
    const char *zone = json_string_value(json_object_get(arg, "zone"));
    char name[16], text[128], *utc;
    int hours, minutes;

    assert_int_equal(sscanf(zone, "%15s %d:%d", name, &hours, &minutes), 3);
    minutes = strchr(zone, ' ')[1] == '-' ? -minutes : minutes;
    write(&buf, unix_s + hours * 3600 + minutes * 60);
    snprintf(text, sizeof text, "%s", cq_buf_text(&buf));
    utc = strstr(text, "UTC");
    assert_non_null(utc);
    cq_buf_reset(&buf);
    cq_buf_append(&buf, text, (size_t)(utc - text));
    cq_buf_append_text(&buf, name);
    cq_buf_append_text(&buf, utc + 3);
}

static void write_option(const char *name, json_t *arg)
{
    size_t i = 0, count = sizeof options / sizeof options[0];

    while (i < count && strcmp(options[i].name, name) != 0)
        i++;
    if (i == count)
        fail_msg("unknown option %s", name);
    if (options[i].of_number) {
        options[i].of_number(&buf, strtoll(json_string_value(arg), NULL, 10));
    } else if (options[i].of_text) {
        cq_str text = text_at(arg, "hex");

        options[i].of_text(&buf, text);
        free_text(text);
    } else {
        write_time(arg, options[i].of_time);
    }
}

/* Texts that others wrote: an entry carries them unchanged. */
static void pass_through(cq_str text)
{
    cq_entry_info entry = { .options = &text, .option_count = 1 }, back;
    cq_arena arena;
    cq_buf out;

    cq_buf_init(&out, 4096);
    cq_arena_init(&arena, 4096);
    assert_int_equal(cq_entry_info_encode(&entry, &out, NULL), CRONQ_OK);
    assert_int_equal(
        cq_entry_info_decode((cronq_bytes){ out.data, out.len }, &arena, &back, NULL),
        CRONQ_OK);
    assert_int_equal(back.option_count, 1);
    cq_buf_append_str(&buf, back.options[0]);
    cq_buf_release(&out);
    cq_arena_release(&arena);
}

static void check_line(json_t *line, size_t number)
{
    const char *name = json_string_value(json_object_get(line, "option"));
    json_t *arg = json_object_get(line, "arg"), *text = json_object_get(line, "string");
    cq_str expected = { json_string_value(text), json_string_length(text) };

    cq_buf_reset(&buf);
    if (strcmp(name, "(raw string)") == 0)
        pass_through(expected);
    else if (strcmp(name, "Header") == 0)
        write_header(arg);
    else
        write_option(name, arg);
    if (!cq_str_eq(cq_buf_str(&buf), expected))
        fail_msg("line %zu: %.*s", number, CQ_FMT(cq_buf_str(&buf)));
}

static void every_recorded_option_has_the_same_text(void **state)
{
    (void)state;
    golden_each("options.jsonl", check_line);
}

static void headers_are_written_as_json_for_html(void **state)
{
    (void)state;
    cq_buf_reset(&buf);
    cq_option_header(&buf, CQ_STR("\b\f\n\r\t\v\"\\/"),
                     CQ_STR("\x1F<>&'\x7F\xE2\x80\xA9\xC0\xAF"));
    assert_string_equal(cq_buf_text(&buf),
                        "Header([\"\\b\\f\\n\\r\\t\\u000b\\\"\\\\/\","
                        "\"\\u001f\\u003c\\u003e\\u0026'\x7F\\u2029\\ufffd\\ufffd\"])");
}

static void times_at_the_edges_have_a_text(void **state)
{
    static const struct {
        int64_t unix_s;
        const char *text;
    } rows[] = {
        { 0, "Deadline(Thu Jan  1 00:00:00 UTC 1970)" },
        { -1, "Deadline(Wed Dec 31 23:59:59 UTC 1969)" },
        { 951827696, "Deadline(Tue Feb 29 12:34:56 UTC 2000)" },
        { -62135596801, "Deadline(Sun Dec 31 23:59:59 UTC 0000)" },
        { -62198755200, "Deadline(Fri Jan  1 00:00:00 UTC -0001)" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        cq_buf_reset(&buf);
        cq_option_deadline(&buf, rows[i].unix_s);
        assert_string_equal(cq_buf_text(&buf), rows[i].text);
    }
    cq_buf_reset(&buf);
    cq_option_process_at(&buf, INT64_MIN);
    cq_option_process_at(&buf, INT64_MAX);
    assert_int_equal(buf.status, CRONQ_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_recorded_option_has_the_same_text),
        cmocka_unit_test(headers_are_written_as_json_for_html),
        cmocka_unit_test(times_at_the_edges_have_a_text),
    };

    return cmocka_run_group_tests(tests, open_buffer, close_buffer);
}
