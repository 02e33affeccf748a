/* SPDX-License-Identifier: MIT */
/* conformance/archive_cases.c - what every broker must do: keeping an archive within its
 * limits, and the last failures of a task. */
#include "conformance/cases.h"

#include "base/clock.h"

#include <stdio.h>

#define QUEUE CQ_STR("q")

static cq_broker *open_with(void **state, const cronq_store_options *how, bool by_hand)
{
    conformance_store *store = *state;
    const cq_broker_options options = { .store = how,
                                        .by_hand = by_hand,
                                        .lease_ms = CONFORMANCE_LEASE_MS };

    return store->open(store, &options);
}

/* A task of this id is run, fails for good, and is archived `after_s` later. */
static void archive_at(cq_broker *broker, const char *id, int64_t after_s)
{
    cq_intake *intake = conformance_intake(broker, "q");
    cq_outcome outcome = conformance_outcome(CQ_ARCHIVE, id, 7);
    conformance_exchange x;

    conformance_push(broker, "q", id);
    conformance_exchange_init(&x, 7);
    assert_int_equal(conformance_take(&x, intake, 1, 1), 1);
    outcome.message = conformance_message("q", id);
    x.exchange.now_ns += after_s * CQ_NS_PER_S;
    assert_int_equal(conformance_settle(&x, intake, &outcome), CRONQ_OK);
    conformance_exchange_release(&x);
    intake->ops->intake_close(intake);
}

static cronq_status find(cq_broker *broker, const char *id)
{
    cronq_status status;
    cq_record record;
    cq_arena arena;

    cq_arena_init(&arena, 1 << 20);
    status = broker->inspect->task(broker, QUEUE, cq_str_of(id), &arena, &record, NULL);
    cq_arena_release(&arena);
    return status;
}

static void an_archive_keeps_the_newest_of_its_size(void **state)
{
    cq_broker *broker =
        open_with(state, CRONQ_STORE_OPTIONS(.archive_max_count = 3), false);

    for (int i = 0; i < 5; i++) {
        char id[8];

        snprintf(id, sizeof id, "t%d", i);
        archive_at(broker, id, i);
    }
    assert_int_equal(conformance_counts(broker, "q").archived, 3);
    assert_int_equal(find(broker, "t1"), CRONQ_ENOENT);
    assert_int_equal(find(broker, "t2"), CRONQ_OK);
    broker->ops->free(broker);
}

static void an_archive_keeps_what_is_young_enough(void **state)
{
    cq_broker *broker =
        open_with(state, CRONQ_STORE_OPTIONS(.archive_max_age_ms = 60000), false);

    archive_at(broker, "a", 0);
    archive_at(broker, "b", 30);
    assert_int_equal(conformance_counts(broker, "q").archived, 2);
    archive_at(broker, "c", 80);
    assert_int_equal(find(broker, "a"), CRONQ_ENOENT);
    assert_int_equal(find(broker, "b"), CRONQ_OK);
    broker->ops->free(broker);
}

static void an_archive_may_be_kept_for_ever(void **state)
{
    cq_broker *broker =
        open_with(state, CRONQ_STORE_OPTIONS(.archive_max_age_ms = CRONQ_NEVER), false);

    archive_at(broker, "a", 0);
    archive_at(broker, "b", 100 * CQ_ARCHIVE_AGE_S);
    assert_int_equal(conformance_counts(broker, "q").archived, 2);
    archive_at(broker_of(state), "c", 100 * CQ_ARCHIVE_AGE_S);
    assert_int_equal(find(broker, "a"), CRONQ_ENOENT);
    broker->ops->free(broker);
}

static void archive_by_hand(cq_broker *broker, const char *id)
{
    cq_move item = { .id = cq_str_of(id) };

    conformance_push(broker, "q", id);
    assert_int_equal(broker->inspect->act(
                         broker, QUEUE, CQ_ACT_ARCHIVE, &item, 1, CQ_NOWHERE,
                         CONFORMANCE_NOW_NS + 2 * CQ_ARCHIVE_AGE_S * CQ_NS_PER_S, NULL),
                     CRONQ_OK);
    assert_int_equal(item.status, CRONQ_OK);
}

/* A tool knows nothing of the limits that the servers were given. */
static void who_archives_by_hand_deletes_only_beyond_limits_of_its_own(void **state)
{
    cq_broker *tool = open_with(state, NULL, true);
    cq_broker *limited =
        open_with(state, CRONQ_STORE_OPTIONS(.archive_max_count = 2), true);

    archive_at(tool, "old", 0);
    archive_by_hand(tool, "a");
    assert_int_equal(conformance_counts(tool, "q").archived, 2);
    archive_by_hand(limited, "b");
    assert_int_equal(conformance_counts(tool, "q").archived, 2);
    assert_int_equal(find(tool, "old"), CRONQ_ENOENT);
    tool->ops->free(tool);
    limited->ops->free(limited);
}

static void limits_of_an_archive_are_checked(void **state)
{
    const cronq_store_options *how = CRONQ_STORE_OPTIONS(.archive_max_age_ms = -2);
    const cq_broker_options options = { .uri = "sqlite::memory:", .store = how };
    cq_broker *broker = NULL;
    cronq_error err = { 0 };

    (void)state;
    assert_int_equal(cq_broker_open(&options, &broker, &err), CRONQ_EINVAL);
    assert_non_null(strstr(err.text, "archive_max_age_ms"));
    assert_null(broker);
}

/* ---- failures ---- */

static cq_record read_task(cq_broker *broker, const char *id, cq_arena *arena)
{
    cq_record record;

    assert_int_equal(
        broker->inspect->task(broker, QUEUE, cq_str_of(id), arena, &record, NULL),
        CRONQ_OK);
    return record;
}

static cronq_bytes line_of(const char *text)
{
    return (cronq_bytes){ text, strlen(text) };
}

/* Fails once with this line, and is made to run again, but for the last time. */
static void fail_once(cq_broker *broker, const char *line, bool for_good)
{
    cq_intake *intake = conformance_intake(broker, "q");
    cq_outcome outcome = conformance_outcome(for_good ? CQ_ARCHIVE : CQ_RETRY, "a", 7);
    conformance_exchange x;
    cq_move item = { .id = CQ_STR("a") };

    conformance_exchange_init(&x, 7);
    assert_int_equal(conformance_take(&x, intake, 1, 1), 1);
    outcome.message = conformance_message("q", "a");
    outcome.failure_line = line_of(line);
    assert_int_equal(conformance_settle(&x, intake, &outcome), CRONQ_OK);
    if (!for_good)
        assert_int_equal(broker->inspect->act(broker, QUEUE, CQ_ACT_RUN, &item, 1,
                                              CQ_NOWHERE, CONFORMANCE_NOW_NS, NULL),
                         CRONQ_OK);
    conformance_exchange_release(&x);
    intake->ops->intake_close(intake);
}

static void the_last_ten_failures_of_a_task_are_remembered(void **state)
{
    cq_broker *broker = broker_of(state);
    cq_listing all = { QUEUE, CRONQ_STATE_ARCHIVED, { 0 }, 0, 10, false };
    cq_record record, *listed;
    char line[16], wanted[200] = "";
    cq_arena arena;
    size_t count;

    cq_arena_init(&arena, 1 << 20);
    conformance_push(broker, "q", "a");
    record = read_task(broker, "a", &arena);
    assert_null(record.failures.data);
    for (int i = 0; i < 13; i++) {
        snprintf(line, sizeof line, "%d 1 h e", i);
        fail_once(broker, line, i == 12);
    }
    for (int i = 12; i > 2; i--)
        snprintf(wanted + strlen(wanted), 16, "%d 1 h e%s", i, i > 3 ? "\n" : "");
    record = read_task(broker, "a", &arena);
    assert_int_equal(record.failures.len, strlen(wanted));
    assert_memory_equal(record.failures.data, wanted, record.failures.len);
    for (int with = 0; with < 2; with++) {
        all.in_full = with;
        assert_int_equal(
            broker->inspect->list(broker, &all, &arena, &listed, &count, NULL), CRONQ_OK);
        assert_int_equal(count, 1);
        assert_int_equal(listed[0].failures.len, with ? strlen(wanted) : 0);
    }
    cq_arena_release(&arena);
}

static void a_death_is_remembered_as_a_failure(void **state)
{
    cq_broker *broker = broker_of(state);
    cq_intake *intake = conformance_intake(broker, "q");
    cq_recovery item = { .kind = CQ_RECOVER_RETRY,
                         .id = CQ_STR("a"),
                         .message = conformance_message("q", "a"),
                         .failure_line = line_of("1 1 h died") };
    int64_t late_ns = CONFORMANCE_NOW_NS + 60 * CQ_NS_PER_S;
    conformance_exchange x;
    cq_expired *expired;
    cq_record record;
    cq_arena arena;
    size_t count;

    cq_arena_init(&arena, 1 << 20);
    conformance_push(broker, "q", "a");
    conformance_exchange_init(&x, 7);
    assert_int_equal(conformance_take(&x, intake, 1, 1), 1);
    assert_int_equal(broker->ops->list_expired(broker, QUEUE, late_ns, 10, &arena,
                                               &expired, &count, NULL),
                     CRONQ_OK);
    assert_int_equal(count, 1);
    item.score = expired[0].score;
    assert_int_equal(broker->ops->recover(broker, QUEUE, &item, 1, late_ns, NULL),
                     CRONQ_OK);
    assert_int_equal(item.status, CRONQ_OK);
    record = read_task(broker, "a", &arena);
    assert_int_equal(record.failures.len, 10);
    assert_memory_equal(record.failures.data, "1 1 h died", 10);
    cq_arena_release(&arena);
    conformance_exchange_release(&x);
    intake->ops->intake_close(intake);
}

const conformance_case conformance_archive_cases[] = {
    CONFORMANCE_CASE(the_last_ten_failures_of_a_task_are_remembered),
    CONFORMANCE_CASE(a_death_is_remembered_as_a_failure),
    CONFORMANCE_CASE(an_archive_keeps_the_newest_of_its_size),
    CONFORMANCE_CASE(an_archive_keeps_what_is_young_enough),
    CONFORMANCE_CASE(an_archive_may_be_kept_for_ever),
    CONFORMANCE_CASE(who_archives_by_hand_deletes_only_beyond_limits_of_its_own),
    CONFORMANCE_CASE(limits_of_an_archive_are_checked),
    { 0 },
};
