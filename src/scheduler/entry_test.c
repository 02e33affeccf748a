/* SPDX-License-Identifier: MIT */
/* entry_test.c - what an entry is made of, when it is due, what is refused. */
#include "base/buf.h"
#include "codec/info.h"
#include "scheduler/internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof(a)[0])
#define NOON     1800014400 /* 2027-01-15 12:00:00 UTC */
#define DAY      86400

static cq_entry *make(const char *spec, const cronq_entry_options *options)
{
    cronq_error err = { .text = "" };
    cq_entry *entry = NULL;

    if (cq_entry_new(spec, "t", options, false, &entry, &err))
        fail_msg("%s: %s", spec, err.text);
    return entry;
}

/* ---- when ---- */

static void a_cron_entry_is_due_at_its_activations(void **state)
{
    cq_entry *entry = make("30 12 * * *", CRONQ_ENTRY_OPTIONS(.time_zone = "UTC"));

    (void)state;
    assert_int_equal(cq_entry_after(entry, NOON), NOON + 1800);
    assert_int_equal(cq_entry_after(entry, NOON + 1800), NOON + 1800 + DAY);
    cq_entry_free(entry);
}

static void an_every_entry_counts_from_its_phase(void **state)
{
    cq_entry *entry = make("@every 90s", NULL);

    (void)state;
    entry->phase_s = NOON + 7;
    assert_int_equal(cq_entry_after(entry, NOON + 7), NOON + 97);
    assert_int_equal(cq_entry_after(entry, NOON + 96), NOON + 97);
    assert_int_equal(cq_entry_after(entry, NOON + 97), NOON + 187);
    assert_int_equal(cq_entry_after(entry, NOON), NOON + 7);
    assert_int_equal(cq_entry_after(entry, NOON - 83), NOON + 7);
    assert_int_equal(cq_entry_after(entry, NOON - 84), NOON - 83);
    cq_entry_free(entry);
}

static void of_missed_ticks_the_newest_is_left(void **state)
{
    cq_entry *entry = make("*/5 * * * *", NULL);

    (void)state;
    entry->next_s = NOON;
    assert_int_equal(cq_entry_newest(entry, NOON - 1), NOON);
    assert_int_equal(cq_entry_newest(entry, NOON), NOON);
    assert_int_equal(cq_entry_newest(entry, NOON + 299), NOON);
    assert_int_equal(cq_entry_newest(entry, NOON + 300), NOON + 300);
    assert_int_equal(cq_entry_newest(entry, NOON + 3601), NOON + 3600);
    assert_int_equal(cq_entry_newest(entry, NOON + 400 * DAY), NOON + 400 * DAY);
    entry->next_s = CQ_TICK_NEVER;
    assert_int_equal(cq_entry_newest(entry, NOON), CQ_TICK_NEVER);
    cq_entry_free(entry);
}

static void what_was_missed_for_a_day_is_not_made_up(void **state)
{
    cq_entry *entry = make("0 12 15 1 *", CRONQ_ENTRY_OPTIONS(.time_zone = "UTC"));

    (void)state;
    entry->next_s = NOON;
    assert_int_equal(cq_entry_newest(entry, NOON + DAY), NOON);
    assert_int_equal(cq_entry_newest(entry, NOON + DAY + 1), CQ_TICK_UNKNOWN);
    cq_entry_free(entry);
}

/* ---- its id ---- */

static void an_unnamed_entry_is_what_it_is_made_of(void **state)
{
    const cronq_entry_options *others[] = {
        CRONQ_ENTRY_OPTIONS(.time_zone = "Europe/Berlin"),
        CRONQ_ENTRY_OPTIONS(.task = CRONQ_TASK(.queue = "low")),
        CRONQ_ENTRY_OPTIONS(.task = CRONQ_TASK(.payload = CRONQ_LIT("p"))),
        CRONQ_ENTRY_OPTIONS(.task = CRONQ_TASK(.payload = CRONQ_LIT(""))),
    };
    const cronq_entry_options *same[] = {
        CRONQ_ENTRY_OPTIONS(.time_zone = "Local"),
        CRONQ_ENTRY_OPTIONS(.time_zone = ""),
        CRONQ_ENTRY_OPTIONS(.task = CRONQ_TASK(.queue = "default", .max_retry = 7)),
    };
    cq_entry *entry = make("* * * * *", NULL), *other;

    (void)state;
    assert_int_equal(strlen(entry->id), 32);
    for (size_t i = 0; i < COUNT(others); i++) {
        other = make("* * * * *", others[i]);
        assert_string_not_equal(other->id, entry->id);
        cq_entry_free(other);
    }
    for (size_t i = 0; i < COUNT(same); i++) {
        other = make("* * * * *", same[i]);
        assert_string_equal(other->id, entry->id);
        cq_entry_free(other);
    }
    other = make("*/2 * * * *", NULL);
    assert_string_not_equal(other->id, entry->id);
    assert_string_equal(other->likeness, entry->likeness);
    cq_entry_free(other);
    cq_entry_free(entry);
}

static void a_name_is_the_id(void **state)
{
    cq_entry *entry = make("* * * * *", CRONQ_ENTRY_OPTIONS(.name = "nightly"));

    (void)state;
    assert_string_equal(entry->id, "nightly");
    cq_entry_free(entry);
}

/* ---- what it keeps ---- */

static void an_entry_keeps_copies(void **state)
{
    char queue[] = "low", payload[] = "pp", key[] = "k", value[] = "v", spec[] = "@daily";
    cronq_header header = { key, value };
    cq_entry *entry = make(
        spec,
        CRONQ_ENTRY_OPTIONS(.task = CRONQ_TASK(.queue = queue, .payload = { payload, 2 },
                                               .headers = &header, .header_count = 1)));

    (void)state;
    spec[1] = queue[0] = payload[0] = key[0] = value[0] = 'X';
    assert_string_equal(entry->spec, "@daily");
    assert_string_equal(entry->task.queue, "low");
    assert_memory_equal(entry->task.payload.data, "pp", 2);
    assert_string_equal(entry->task.headers[0].key, "k");
    assert_string_equal(entry->task.headers[0].value, "v");
    cq_entry_free(entry);
}

static void an_entry_is_written_as_the_reference_writes_it(void **state)
{
    static const char *const texts[] = { "MaxRetry(3)",          "Queue(\"low\")",
                                         "TaskID(\"id\")",       "Timeout(1m30s)",
                                         "Unique(1h0m0s)",       "Retention(24h0m0s)",
                                         "Header([\"k\",\"v\"])" };
    const cronq_header header = { "k", "v" };
    cq_entry *entry = make(
        "@every 30s",
        CRONQ_ENTRY_OPTIONS(.name = "e",
                            .task =
                                CRONQ_TASK(.id = "id", .payload = CRONQ_LIT("p"),
                                           .queue = "low", .max_retry = 3,
                                           .timeout_ms = 90000, .unique_for_ms = 3600000,
                                           .retain_for_ms = 86400000, .headers = &header,
                                           .header_count = 1)));
    cq_entry_info info;
    cq_arena arena;
    cq_buf bytes;

    (void)state;
    cq_arena_init(&arena, 1 << 16);
    cq_buf_init(&bytes, 1 << 16);
    entry->next_s = NOON;
    assert_int_equal(cq_entry_encode(entry, &bytes, NULL), CRONQ_OK);
    assert_int_equal(
        cq_entry_info_decode((cronq_bytes){ bytes.data, bytes.len }, &arena, &info, NULL),
        CRONQ_OK);
    assert_true(cq_str_eq(info.id, CQ_STR("e")));
    assert_true(cq_str_eq(info.spec, CQ_STR("@every 30s")));
    assert_true(cq_str_eq(info.task_type, CQ_STR("t")));
    assert_int_equal(info.task_payload.len, 1);
    assert_int_equal(info.next.seconds, NOON);
    assert_int_equal(info.previous.seconds, CQ_TIMESTAMP_NEVER.seconds);
    assert_int_equal(info.option_count, COUNT(texts));
    for (size_t i = 0; i < COUNT(texts); i++)
        assert_true(cq_str_eq(info.options[i], cq_str_of(texts[i])));
    cq_buf_release(&bytes);
    cq_arena_release(&arena);
    cq_entry_free(entry);
}

static void the_later_seed_pushes_without_retries(void **state)
{
    cq_entry *entry = NULL;

    (void)state;
    assert_int_equal(cq_entry_new("@daily", "t", NULL, true, &entry, NULL), CRONQ_OK);
    assert_int_equal(entry->task.max_retry, CRONQ_NO_RETRY);
    cq_entry_free(entry);
    assert_int_equal(cq_entry_new("@daily", "t",
                                  CRONQ_ENTRY_OPTIONS(.task = CRONQ_TASK(.max_retry = 2)),
                                  true, &entry, NULL),
                     CRONQ_OK);
    assert_int_equal(entry->task.max_retry, 2);
    cq_entry_free(entry);
}

/* ---- what is refused ---- */

typedef struct bad_entry {
    const char *spec, *type;
    cronq_entry_options options;
    cronq_task task;
    const char *word;
} bad_entry;

#define OPTIONS(...)                                            \
    {                                                           \
        .struct_size = sizeof(cronq_entry_options), __VA_ARGS__ \
    }
#define TASK(...)                                      \
    {                                                  \
        .struct_size = sizeof(cronq_task), __VA_ARGS__ \
    }

static const bad_entry bad_entries[] = {
    { NULL, "t", OPTIONS(.name = NULL), TASK(.type = NULL), "spec" },
    { "* * * * *", NULL, OPTIONS(.name = NULL), TASK(.type = NULL), "type" },
    { "* * * *", "t", OPTIONS(.name = NULL), TASK(.type = NULL), "" },
    { "* 61 * * *", "t", OPTIONS(.name = NULL), TASK(.type = NULL), "61" },
    { "@daily", "t", OPTIONS(.time_zone = "Mars/Base"), TASK(.type = NULL), "Mars/Base" },
    { "@daily", "t", OPTIONS(.overlap = (cronq_overlap)2), TASK(.type = NULL),
      "overlap" },
    { "@daily", "t", OPTIONS(.name = ""), TASK(.type = NULL), "blank" },
    { "@daily", "t", OPTIONS(.name = "a\nb"), TASK(.type = NULL), "control" },
    { "@daily", "t", OPTIONS(.name = NULL), TASK(.process_at_ms = 9),
      "process_at_ms is 9" },
    { "@daily", "t", OPTIONS(.name = NULL), TASK(.process_in_ms = 9),
      "process_in_ms is 9" },
    { "@daily", "t", OPTIONS(.name = NULL), TASK(.group = "g"), "group" },
    { "@daily", "t", OPTIONS(.name = NULL), TASK(.payload = { NULL, 2 }), "payload" },
    { "@daily", "t", OPTIONS(.name = NULL), TASK(.header_count = 2), "headers" },
    { "@daily", "t", { .name = NULL }, TASK(.type = NULL), "struct_size" },
    { "@daily", "t", OPTIONS(.name = NULL), { .type = "t" }, "struct_size" },
};

static void a_bad_entry_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(bad_entries); i++) {
        const bad_entry *bad = &bad_entries[i];
        cronq_entry_options options = bad->options;
        cronq_error err = { .text = "" };
        cq_entry *entry = NULL;

        options.task = &bad->task;
        assert_int_equal(
            cq_entry_new(bad->spec, bad->type, &options, false, &entry, &err),
            CRONQ_EINVAL);
        if (!strstr(err.text, bad->word))
            fail_msg("\"%s\" does not say \"%s\"", err.text, bad->word);
        assert_null(entry);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cron_entry_is_due_at_its_activations),
        cmocka_unit_test(an_every_entry_counts_from_its_phase),
        cmocka_unit_test(of_missed_ticks_the_newest_is_left),
        cmocka_unit_test(what_was_missed_for_a_day_is_not_made_up),
        cmocka_unit_test(an_unnamed_entry_is_what_it_is_made_of),
        cmocka_unit_test(a_name_is_the_id),
        cmocka_unit_test(an_entry_keeps_copies),
        cmocka_unit_test(an_entry_is_written_as_the_reference_writes_it),
        cmocka_unit_test(the_later_seed_pushes_without_retries),
        cmocka_unit_test(a_bad_entry_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
