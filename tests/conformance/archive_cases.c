/* SPDX-License-Identifier: MIT */
/* conformance/archive_cases.c - what every broker must do: keeping an archive within its
 * limits. */
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

const conformance_case conformance_archive_cases[] = {
    CONFORMANCE_CASE(an_archive_keeps_the_newest_of_its_size),
    CONFORMANCE_CASE(an_archive_keeps_what_is_young_enough),
    CONFORMANCE_CASE(an_archive_may_be_kept_for_ever),
    CONFORMANCE_CASE(who_archives_by_hand_deletes_only_beyond_limits_of_its_own),
    CONFORMANCE_CASE(limits_of_an_archive_are_checked),
    { 0 },
};
