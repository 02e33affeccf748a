/* SPDX-License-Identifier: MIT */
/* conformance/group_cases.c - what every broker must do: merging groups. */
#include "conformance/cases.h"

#include "base/clock.h"
#include "codec/message.h"

#include <stdio.h>

#define QUEUE CQ_STR("q")

static const cq_set set_1 = { { "q", 1 },
                              { "G", 1 },
                              { "00000000-0000-4000-8000-000000000001", 36 } };
static const cq_set set_2 = { { "q", 1 },
                              { "G", 1 },
                              { "00000000-0000-4000-8000-000000000002", 36 } };
static const cronq_bytes nothing = { NULL, 0 };

static int64_t after_s(int64_t seconds)
{
    return CONFORMANCE_NOW_NS + seconds * CQ_NS_PER_S;
}

static void push_grouped(cq_broker *broker, const char *id, const char *group)
{
    cq_push item = { .kind = CQ_PUSH_GROUP,
                     .queue = QUEUE,
                     .id = cq_str_of(id),
                     .group = cq_str_of(group) };

    assert_int_equal(conformance_push_item(broker, &item), CRONQ_OK);
}

static size_t due(cq_broker *broker, const cq_group_rules *rules, int64_t now_ns)
{
    cq_str *names;
    size_t count = 99;
    cq_arena arena;

    cq_arena_init(&arena, 1 << 20);
    assert_int_equal(broker->ops->due_groups(broker, QUEUE, rules, now_ns, 10, &arena,
                                             &names, &count, NULL),
                     CRONQ_OK);
    cq_arena_release(&arena);
    return count;
}

static size_t take(cq_broker *broker, const cq_set *set, const cq_group_rules *rules,
                   int64_t now_ns)
{
    size_t taken = 99;
    cronq_error err = { 0 };

    if (broker->ops->take_group(broker, set, rules, now_ns, &taken, &err))
        fail_msg("take_group: %s", err.text);
    return taken;
}

static size_t read(cq_broker *broker, const cq_set *set)
{
    cq_record *found;
    size_t count = 99;
    cq_arena arena;

    cq_arena_init(&arena, 1 << 24);
    assert_int_equal(broker->ops->read_set(broker, set, &arena, &found, &count, NULL),
                     CRONQ_OK);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(found[i].state, CRONQ_STATE_AGGREGATING);
        assert_true(found[i].merging && found[i].message.len > 0);
    }
    cq_arena_release(&arena);
    return count;
}

static void a_group_is_due_by_grace_delay_or_size(void **state)
{
    const cq_group_rules grace = { .grace_s = 10 };
    const cq_group_rules delay = { .grace_s = 1000, .max_delay_s = 20 };
    const cq_group_rules size = { .grace_s = 1000, .max_size = 2 };
    cq_broker *broker = broker_of(state);

    assert_int_equal(due(broker, &grace, after_s(99)), 0);
    push_grouped(broker, "a", "G");
    assert_int_equal(due(broker, &grace, after_s(9)), 0);
    assert_int_equal(due(broker, &grace, after_s(10)), 1);
    assert_int_equal(due(broker, &delay, after_s(19)), 0);
    assert_int_equal(due(broker, &delay, after_s(20)), 1);
    assert_int_equal(due(broker, &size, after_s(9)), 0);
    push_grouped(broker, "b", "G");
    assert_int_equal(due(broker, &size, after_s(0)), 1);
    assert_int_equal(take(broker, &set_1, &grace, after_s(9)), 0);
    assert_int_equal(take(broker, &set_1, &grace, after_s(10)), 2);
    assert_int_equal(take(broker, &set_2, &grace, after_s(10)), 0);
    assert_int_equal(due(broker, &grace, after_s(99)), 0);
}

static void a_merged_task_takes_the_place_of_its_set(void **state)
{
    const cq_group_rules rules = { .grace_s = 10, .max_size = 3 };
    cq_broker *broker = broker_of(state);
    cq_intake *intake = conformance_intake(broker, "q");
    cronq_bytes merged = conformance_message("q", "00000000-0000-4000-8000-000000000001");
    conformance_exchange x;
    cq_queue_counts counts;

    conformance_exchange_init(&x, 7);
    for (int i = 0; i < 5; i++) {
        char id[4];

        snprintf(id, sizeof id, "t%d", i);
        push_grouped(broker, id, "G");
    }
    assert_int_equal(take(broker, &set_1, &rules, after_s(0)), 3);
    assert_int_equal(read(broker, &set_1), 3);
    assert_int_equal(conformance_take(&x, intake, 1, 9), 0);
    assert_int_equal(
        broker->ops->finish_set(broker, &set_1, merged, NULL, 0, after_s(0), NULL),
        CRONQ_OK);
    assert_int_equal(
        broker->ops->finish_set(broker, &set_1, merged, NULL, 0, after_s(0), NULL),
        CRONQ_ESTATE);
    assert_int_equal(read(broker, &set_1), 0);
    counts = conformance_counts(broker, "q");
    assert_int_equal(counts.aggregating, 2);
    assert_int_equal(counts.pending, 1);
    assert_int_equal(conformance_take(&x, intake, 1, 9), 1);
    assert_string_equal(conformance_ids(&x), "00000000-0000-4000-8000-000000000001");
    /* Those that were merged are gone: their ids are free. */
    push_grouped(broker, "t0", "other");
    conformance_exchange_release(&x);
    intake->ops->intake_close(intake);
}

static void a_stale_set_goes_back_to_its_group(void **state)
{
    const cq_group_rules rules = { .grace_s = 10 };
    cq_broker *broker = broker_of(state);
    size_t reclaimed = 99;

    push_grouped(broker, "a", "G");
    push_grouped(broker, "b", "G");
    assert_int_equal(take(broker, &set_1, &rules, after_s(10)), 2);
    push_grouped(broker, "c", "G");
    assert_int_equal(broker->ops->extend_set(broker, &set_1, after_s(100), NULL),
                     CRONQ_OK);
    assert_int_equal(broker->ops->extend_set(broker, &set_2, after_s(100), NULL),
                     CRONQ_ESTATE);
    assert_int_equal(
        broker->ops->reclaim_sets(broker, QUEUE, after_s(219), 10, &reclaimed, NULL),
        CRONQ_OK);
    assert_int_equal(reclaimed, 0);
    assert_int_equal(
        broker->ops->reclaim_sets(broker, QUEUE, after_s(220), 10, &reclaimed, NULL),
        CRONQ_OK);
    assert_int_equal(reclaimed, 1);
    /* Whoever had it comes too late. */
    assert_int_equal(
        broker->ops->finish_set(broker, &set_1, nothing, NULL, 0, after_s(220), NULL),
        CRONQ_ESTATE);
    assert_int_equal(conformance_counts(broker, "q").aggregating, 3);
    assert_int_equal(take(broker, &set_2, &rules, after_s(220)), 3);
}

static void a_task_in_a_set_is_not_moved_by_hand(void **state)
{
    const cq_group_rules rules = { .grace_s = 0 };
    cq_broker *broker = broker_of(state);
    cq_reschedule later = { .queue = QUEUE,
                            .id = CQ_STR("a"),
                            .run_at_ms = 2000000999000 };
    bool same;

    push_grouped(broker, "a", "G");
    assert_int_equal(take(broker, &set_1, &rules, after_s(1)), 1);
    for (int action = CQ_ACT_DELETE; action <= CQ_ACT_ARCHIVE; action++) {
        cq_move item = { .id = CQ_STR("a") };

        assert_int_equal(broker->inspect->act(broker, QUEUE, (cq_action)action, &item, 1,
                                              CQ_NOWHERE, after_s(1), NULL),
                         CRONQ_OK);
        assert_int_equal(item.status, CRONQ_ESTATE);
    }
    assert_int_equal(broker->inspect->reschedule(broker, &later, after_s(1), &same, NULL),
                     CRONQ_ESTATE);
    assert_int_equal(broker->inspect->remove_queue(broker, QUEUE, after_s(1), NULL),
                     CRONQ_ESTATE);
    assert_int_equal(read(broker, &set_1), 1);
}

static void what_can_not_be_merged_is_archived(void **state)
{
    const cq_group_rules rules = { .grace_s = 0 };
    cq_broker *broker = broker_of(state);
    cq_misfit misfit = { CQ_STR("bad"), conformance_message("q", "bad") };
    cq_push bad = { .kind = CQ_PUSH_GROUP,
                    .queue = QUEUE,
                    .id = CQ_STR("bad"),
                    .group = CQ_STR("G"),
                    .message = CRONQ_LIT("\xff") };
    cq_queue_counts counts;

    assert_int_equal(conformance_push_item(broker, &bad), CRONQ_OK);
    push_grouped(broker, "a", "G");
    assert_int_equal(take(broker, &set_1, &rules, after_s(1)), 2);
    assert_int_equal(broker->ops->finish_set(broker, &set_1,
                                             conformance_message("q", "m"), &misfit, 1,
                                             after_s(1), NULL),
                     CRONQ_OK);
    counts = conformance_counts(broker, "q");
    assert_int_equal(counts.archived, 1);
    assert_int_equal(counts.pending, 1);
    assert_int_equal(counts.aggregating, 0);
}

static cronq_status push_unique(cq_broker *broker, const char *id)
{
    cq_message message = { .type = CQ_STR("t"),
                           .id = cq_str_of(id),
                           .queue = QUEUE,
                           .unique_key = CQ_STR("asynq:{q}:unique:t:x"),
                           .timeout_s = 60 };
    cq_push item = { .kind = CQ_PUSH_GROUP,
                     .queue = QUEUE,
                     .id = message.id,
                     .group = CQ_STR("G"),
                     .unique_key = message.unique_key,
                     .unique_ttl_s = 3600 };
    cronq_status status;
    cq_buf buf;

    cq_buf_init(&buf, 4096);
    assert_int_equal(cq_message_encode(&message, &buf, NULL), CRONQ_OK);
    item.message = (cronq_bytes){ buf.data, buf.len };
    status = conformance_push_item(broker, &item);
    cq_buf_release(&buf);
    return status;
}

/* All of them go, with the locks they hold, and nothing comes in their place. */
static void a_set_may_be_dropped(void **state)
{
    const cq_group_rules rules = { .grace_s = 0 };
    cq_broker *broker = broker_of(state);

    assert_int_equal(push_unique(broker, "a"), CRONQ_OK);
    assert_int_equal(push_unique(broker, "b"), CRONQ_EDUP);
    assert_int_equal(take(broker, &set_1, &rules, after_s(1)), 1);
    assert_int_equal(
        broker->ops->finish_set(broker, &set_1, nothing, NULL, 0, after_s(1), NULL),
        CRONQ_OK);
    assert_int_equal(conformance_counts(broker, "q").aggregating, 0);
    assert_int_equal(conformance_counts(broker, "q").pending, 0);
    assert_int_equal(push_unique(broker, "b"), CRONQ_OK);
}

/* Whoever has the id of the set may have it by a merge that was lost and found again. */
static void a_merged_task_that_is_there_is_not_pushed_again(void **state)
{
    const cq_group_rules rules = { .grace_s = 0 };
    cq_broker *broker = broker_of(state);
    const char *id = "00000000-0000-4000-8000-000000000001";

    push_grouped(broker, "a", "G");
    conformance_push(broker, "q", id);
    assert_int_equal(take(broker, &set_1, &rules, after_s(1)), 1);
    assert_int_equal(broker->ops->finish_set(broker, &set_1, conformance_message("q", id),
                                             NULL, 0, after_s(1), NULL),
                     CRONQ_OK);
    assert_int_equal(conformance_counts(broker, "q").pending, 1);
    assert_int_equal(conformance_counts(broker, "q").aggregating, 0);
    assert_int_equal(read(broker, &set_1), 0);
}

static void stale_sets_are_reclaimed_so_many_at_a_time(void **state)
{
    const cq_group_rules rules = { .grace_s = 0, .max_size = 1 };
    cq_broker *broker = broker_of(state);
    const cq_set *sets[] = { &set_1, &set_2 };
    size_t reclaimed = 99;

    push_grouped(broker, "a", "G");
    push_grouped(broker, "b", "G");
    for (int i = 0; i < 2; i++)
        assert_int_equal(take(broker, sets[i], &rules, after_s(1)), 1);
    for (size_t left = 3; left-- > 0;) {
        assert_int_equal(
            broker->ops->reclaim_sets(broker, QUEUE, after_s(999), 1, &reclaimed, NULL),
            CRONQ_OK);
        assert_int_equal(reclaimed, left > 0);
    }
    assert_int_equal(due(broker, &rules, after_s(999)), 1);
    assert_int_equal(conformance_counts(broker, "q").groups, 1);
}

const conformance_case conformance_group_cases[] = {
    CONFORMANCE_CASE(a_set_may_be_dropped),
    CONFORMANCE_CASE(a_merged_task_that_is_there_is_not_pushed_again),
    CONFORMANCE_CASE(stale_sets_are_reclaimed_so_many_at_a_time),
    CONFORMANCE_CASE(a_group_is_due_by_grace_delay_or_size),
    CONFORMANCE_CASE(a_merged_task_takes_the_place_of_its_set),
    CONFORMANCE_CASE(a_stale_set_goes_back_to_its_group),
    CONFORMANCE_CASE(a_task_in_a_set_is_not_moved_by_hand),
    CONFORMANCE_CASE(what_can_not_be_merged_is_archived),
    { 0 },
};
