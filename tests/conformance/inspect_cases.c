/* SPDX-License-Identifier: MIT */
/* conformance/inspect_cases.c - what every broker must do: looking at tasks, moving them
 * by hand, cancelling, rescheduling, and removing queues. */
#include "conformance/cases.h"

#include "base/clock.h"

#include <stdio.h>
#include <string.h>

#define NOW_S (CONFORMANCE_NOW_NS / CQ_NS_PER_S)
#define QUEUE CQ_STR("q")

static cq_arena arena;

/* ---- helpers ---- */

static void push_later(cq_broker *broker, const char *id, int64_t in_s, const char *group)
{
    cq_push item = { .kind = CQ_PUSH_LATER,
                     .queue = QUEUE,
                     .id = cq_str_of(id),
                     .run_at_ms = (NOW_S + in_s) * CQ_MS_PER_S,
                     .group = cq_str_of(group) };

    assert_int_equal(conformance_push_item(broker, &item), CRONQ_OK);
}

static void push_group(cq_broker *broker, const char *id, const char *group)
{
    cq_push item = { .kind = CQ_PUSH_GROUP,
                     .queue = QUEUE,
                     .id = cq_str_of(id),
                     .group = cq_str_of(group) };

    assert_int_equal(conformance_push_item(broker, &item), CRONQ_OK);
}

static cq_record task(cq_broker *broker, const char *id)
{
    cq_record record;
    cronq_error err = { 0 };

    if (broker->inspect->task(broker, QUEUE, cq_str_of(id), &arena, &record, &err))
        fail_msg("task: %s", err.text);
    return record;
}

static cronq_status act(cq_broker *broker, cq_action action, const char *id)
{
    cq_move item = { .id = cq_str_of(id) };
    cronq_error err = { 0 };

    if (broker->inspect->act(broker, QUEUE, action, &item, 1, CQ_NOWHERE,
                             CONFORMANCE_NOW_NS, &err))
        fail_msg("act: %s", err.text);
    return item.status;
}

/* The ids of a page, separated by spaces. */
static const char *page(cq_broker *broker, cronq_state state, const char *group,
                        size_t offset, size_t limit)
{
    static char text[4096];
    cq_listing listing = { QUEUE, state, cq_str_of(group), offset, limit, false };
    cq_record *found;
    size_t count, at = 0;
    cronq_error err = { 0 };

    if (broker->inspect->list(broker, &listing, &arena, &found, &count, &err))
        fail_msg("list: %s", err.text);
    text[0] = '\0';
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(found[i].state, state);
        at += (size_t)snprintf(text + at, sizeof text - at, "%s%.*s", i ? " " : "",
                               CQ_FMT(found[i].id));
    }
    return text;
}

/* Take one task and return its intake and exchange. */
static cq_intake *take(cq_broker *broker, conformance_exchange *x)
{
    cq_intake *intake = conformance_intake(broker, "q");

    conformance_exchange_init(x, 7);
    assert_int_equal(conformance_take(x, intake, 1, 1), 1);
    return intake;
}

static void end_take(cq_intake *intake, conformance_exchange *x)
{
    conformance_exchange_release(x);
    intake->ops->intake_close(intake);
}

static void settle_as(cq_intake *intake, conformance_exchange *x, cq_outcome_kind kind,
                      const char *id, cronq_status expected)
{
    cq_outcome outcome = conformance_outcome(kind, id, 7);

    outcome.message = conformance_message("q", id);
    outcome.at_ms = (NOW_S + 50) * CQ_MS_PER_S;
    assert_int_equal(conformance_settle(x, intake, &outcome), expected);
}

/* ---- looking ---- */

static void a_task_is_found_in_any_state(void **state)
{
    cq_broker *broker = broker_of(state);
    conformance_exchange x;
    cq_intake *intake;
    cq_record record;

    conformance_push(broker, "q", "a");
    push_later(broker, "s", 60, "");
    push_group(broker, "g", "G");
    record = task(broker, "a");
    assert_int_equal(record.state, CRONQ_STATE_PENDING);
    assert_int_equal(record.pending_since_ns, CONFORMANCE_NOW_NS);
    assert_int_equal(record.message.len, conformance_message("q", "a").len);
    record = task(broker, "s");
    assert_int_equal(record.state, CRONQ_STATE_SCHEDULED);
    assert_int_equal(record.at_ms / CQ_MS_PER_S, NOW_S + 60);
    record = task(broker, "g");
    assert_int_equal(record.state, CRONQ_STATE_AGGREGATING);
    assert_true(cq_str_eq(record.group, CQ_STR("G")) && !record.merging);
    intake = take(broker, &x);
    record = task(broker, "a");
    assert_int_equal(record.state, CRONQ_STATE_ACTIVE);
    assert_false(record.orphaned || record.cancelled);
    settle_as(intake, &x, CQ_COMPLETE, "a", CRONQ_OK);
    record = task(broker, "a");
    assert_int_equal(record.state, CRONQ_STATE_COMPLETED);
    assert_int_equal(record.at_ms / CQ_MS_PER_S, NOW_S + 50);
    assert_int_equal(
        broker->inspect->task(broker, QUEUE, CQ_STR("no"), &arena, &record, NULL),
        CRONQ_ENOENT);
    end_take(intake, &x);
}

static void lists_come_in_pages(void **state)
{
    cq_broker *broker = broker_of(state);
    cq_listing none = { CQ_STR("none"), CRONQ_STATE_PENDING, { "", 0 }, 0, 10, false };
    cq_record *found;
    size_t count;

    for (int i = 0; i < 5; i++) {
        char id[8];

        snprintf(id, sizeof id, "p%d", i);
        conformance_push(broker, "q", id);
        snprintf(id, sizeof id, "s%d", i);
        push_later(broker, id, 100 - i, "");
    }
    assert_string_equal(page(broker, CRONQ_STATE_PENDING, "", 0, 2), "p0 p1");
    assert_string_equal(page(broker, CRONQ_STATE_PENDING, "", 2, 2), "p2 p3");
    assert_string_equal(page(broker, CRONQ_STATE_PENDING, "", 4, 2), "p4");
    assert_string_equal(page(broker, CRONQ_STATE_PENDING, "", 5, 2), "");
    assert_string_equal(page(broker, CRONQ_STATE_SCHEDULED, "", 3, 5), "s1 s0");
    assert_string_equal(page(broker, CRONQ_STATE_ARCHIVED, "", 0, 5), "");
    assert_int_equal(broker->inspect->list(broker, &none, &arena, &found, &count, NULL),
                     CRONQ_ENOENT);
}

static void groups_are_listed_with_their_sizes(void **state)
{
    cq_broker *broker = broker_of(state);
    cq_group_count *found;
    size_t count;

    push_group(broker, "a", "G");
    push_group(broker, "b", "G");
    push_later(broker, "c", 60, "later");
    assert_int_equal(
        broker->inspect->groups(broker, QUEUE, 10, &arena, &found, &count, NULL),
        CRONQ_OK);
    assert_int_equal(count, 1);
    assert_true(cq_str_eq(found[0].name, CQ_STR("G")));
    assert_int_equal(found[0].count, 2);
    assert_string_equal(page(broker, CRONQ_STATE_AGGREGATING, "G", 0, 9), "a b");
}

static void days_are_counted(void **state)
{
    cq_broker *broker = broker_of(state);
    conformance_exchange x;
    cq_intake *intake;
    cq_day days[3];

    conformance_push(broker, "q", "a");
    intake = take(broker, &x);
    settle_as(intake, &x, CQ_ARCHIVE, "a", CRONQ_OK);
    assert_int_equal(broker->inspect->history(broker, QUEUE, 3,
                                              CONFORMANCE_NOW_NS + 86400 * CQ_NS_PER_S,
                                              days, NULL),
                     CRONQ_OK);
    assert_int_equal(days[0].processed + days[2].processed, 0);
    assert_int_equal(days[1].processed, 1);
    assert_int_equal(days[1].failed, 1);
    assert_int_equal(broker->inspect->history(broker, CQ_STR("none"), 3,
                                              CONFORMANCE_NOW_NS, days, NULL),
                     CRONQ_ENOENT);
    end_take(intake, &x);
}

static void servers_and_schedulers_are_listed_while_they_live(void **state)
{
    cq_broker *broker = broker_of(state);
    int64_t now_ns = cq_wall_ns(); /* the store's own clock ends them */
    cq_beat_worker worker = { CQ_STR("task"), CRONQ_LIT("worker") };
    cq_beat beat = { .host = CQ_STR("h"),
                     .server_id = CQ_STR("s"),
                     .pid = 1,
                     .info = CRONQ_LIT("server"),
                     .workers = &worker,
                     .worker_count = 1,
                     .now_ns = now_ns,
                     .ttl_s = 10 };
    cronq_bytes entries[] = { CRONQ_LIT("e0"), CRONQ_LIT("e1") }, *found;
    const cq_inspect_ops *look = broker->inspect;
    size_t count;

    assert_int_equal(broker->ops->beat(broker, &beat, NULL), CRONQ_OK);
    assert_int_equal(
        broker->ops->write_entries(broker, CQ_STR("h:1:x"), entries, 2, now_ns, 10, NULL),
        CRONQ_OK);
    assert_int_equal(look->servers(broker, now_ns, &arena, &found, &count, NULL),
                     CRONQ_OK);
    assert_int_equal(count, 1);
    assert_memory_equal(found[0].data, "server", 6);
    assert_int_equal(look->workers(broker, now_ns, &arena, &found, &count, NULL),
                     CRONQ_OK);
    assert_int_equal(count, 1);
    assert_memory_equal(found[0].data, "worker", 6);
    assert_int_equal(look->entries(broker, now_ns, &arena, &found, &count, NULL),
                     CRONQ_OK);
    assert_int_equal(count, 2);
    now_ns += 11 * CQ_NS_PER_S;
    assert_int_equal(look->servers(broker, now_ns, &arena, &found, &count, NULL),
                     CRONQ_OK);
    assert_int_equal(count, 0);
    assert_int_equal(look->entries(broker, now_ns, &arena, &found, &count, NULL),
                     CRONQ_OK);
    assert_int_equal(count, 0);
}

static void events_are_listed_newest_first(void **state)
{
    cq_broker *broker = broker_of(state);
    cronq_bytes *found;
    size_t count;

    for (int i = 0; i < 5; i++) {
        char text[4];

        snprintf(text, sizeof text, "e%d", i);
        assert_int_equal(
            broker->ops->record_event(broker, CQ_STR("entry"), (cronq_bytes){ text, 2 },
                                      CONFORMANCE_NOW_NS + i * CQ_NS_PER_S, NULL),
            CRONQ_OK);
    }
    assert_int_equal(broker->inspect->events(broker, CQ_STR("entry"), 1, 2, &arena,
                                             &found, &count, NULL),
                     CRONQ_OK);
    assert_int_equal(count, 2);
    assert_memory_equal(found[0].data, "e3", 2);
    assert_memory_equal(found[1].data, "e2", 2);
    assert_int_equal(broker->inspect->events(broker, CQ_STR("none"), 0, 2, &arena, &found,
                                             &count, NULL),
                     CRONQ_OK);
    assert_int_equal(count, 0);
}

/* ---- moving ---- */

static void tasks_are_run_archived_and_deleted_by_hand(void **state)
{
    cq_broker *broker = broker_of(state);

    push_later(broker, "s", 60, "");
    push_group(broker, "g", "G");
    conformance_push(broker, "q", "p");
    assert_int_equal(act(broker, CQ_ACT_RUN, "p"), CRONQ_ESTATE);
    assert_int_equal(act(broker, CQ_ACT_RUN, "s"), CRONQ_OK);
    assert_int_equal(act(broker, CQ_ACT_RUN, "g"), CRONQ_OK);
    assert_string_equal(page(broker, CRONQ_STATE_PENDING, "", 0, 9), "p s g");
    assert_int_equal(conformance_counts(broker, "q").groups, 0);
    assert_int_equal(act(broker, CQ_ACT_ARCHIVE, "s"), CRONQ_OK);
    assert_int_equal(act(broker, CQ_ACT_ARCHIVE, "s"), CRONQ_ESTATE);
    assert_int_equal(task(broker, "s").at_ms / CQ_MS_PER_S, NOW_S);
    assert_int_equal(act(broker, CQ_ACT_WITHDRAW, "s"), CRONQ_ESTATE);
    assert_int_equal(act(broker, CQ_ACT_WITHDRAW, "p"), CRONQ_OK);
    assert_int_equal(act(broker, CQ_ACT_DELETE, "s"), CRONQ_OK);
    assert_int_equal(act(broker, CQ_ACT_DELETE, "s"), CRONQ_ENOENT);
    assert_string_equal(page(broker, CRONQ_STATE_PENDING, "", 0, 9), "g");
}

static void an_active_task_is_not_moved_by_hand(void **state)
{
    cq_broker *broker = broker_of(state);
    conformance_exchange x;
    cq_intake *intake;

    conformance_push(broker, "q", "a");
    intake = take(broker, &x);
    for (int action = CQ_ACT_DELETE; action <= CQ_ACT_ARCHIVE; action++)
        assert_int_equal(act(broker, (cq_action)action, "a"), CRONQ_ESTATE);
    settle_as(intake, &x, CQ_DONE, "a", CRONQ_OK);
    end_take(intake, &x);
}

/* Seen at an offset, some of them are taken out of the middle; the order stays. */
static void some_of_a_page_are_moved_together(void **state)
{
    cq_broker *broker = broker_of(state);
    cq_move items[] = { { .id = CQ_STR("p3") },
                        { .id = CQ_STR("no") },
                        { .id = CQ_STR("p1") },
                        { .id = CQ_STR("p7") } };

    for (int i = 0; i < 9; i++) {
        char id[8];

        snprintf(id, sizeof id, "p%d", i);
        conformance_push(broker, "q", id);
    }
    assert_int_equal(broker->inspect->act(broker, QUEUE, CQ_ACT_DELETE, items, 4, 1,
                                          CONFORMANCE_NOW_NS, NULL),
                     CRONQ_OK);
    assert_int_equal(items[0].status, CRONQ_OK);
    assert_int_equal(items[1].status, CRONQ_ENOENT);
    assert_int_equal(items[3].status, CRONQ_OK);
    assert_string_equal(page(broker, CRONQ_STATE_PENDING, "", 0, 9), "p0 p2 p4 p5 p6 p8");
}

static void deleting_frees_the_lock(void **state)
{
    cq_broker *broker = broker_of(state);
    static const cq_push_kind kinds[] = { CQ_PUSH_NOW, CQ_PUSH_LATER, CQ_PUSH_GROUP };

    for (size_t i = 0; i < 3; i++) {
        /* As a client makes it: the message names the lock. */
        cq_push item = {
            .kind = kinds[i],
            .queue = QUEUE,
            .id = CQ_STR("a"),
            .message = CRONQ_LIT("\x0a\x01t\x1a\x01"
                                 "a\x22\x01q\x28\x19\x40\x0a\x52\x14"
                                 "asynq:{q}:unique:t:1\x72\x01G"),
            .run_at_ms = (NOW_S + 60) * CQ_MS_PER_S,
            .unique_key = CQ_STR("asynq:{q}:unique:t:1"),
            .unique_ttl_s = 3600,
            .group = kinds[i] == CQ_PUSH_GROUP ? CQ_STR("G") : CQ_STR(""),
        };

        assert_int_equal(conformance_push_item(broker, &item), CRONQ_OK);
        assert_int_equal(conformance_push_item(broker, &item), CRONQ_EDUP);
        assert_int_equal(act(broker, CQ_ACT_DELETE, "a"), CRONQ_OK);
        assert_int_equal(conformance_push_item(broker, &item), CRONQ_OK);
        assert_int_equal(act(broker, CQ_ACT_DELETE, "a"), CRONQ_OK);
    }
}

static size_t sweep(cq_broker *broker, cronq_state state, const char *group,
                    cq_action action)
{
    size_t seen = 4, done, all = 0;
    cronq_error err = { 0 };

    while (seen == 4) {
        if (broker->inspect->act_all(broker, QUEUE, state, cq_str_of(group), action, 4,
                                     CONFORMANCE_NOW_NS, &seen, &done, &err))
            fail_msg("act_all: %s", err.text);
        all += done;
    }
    return all;
}

static void all_of_a_state_are_moved_in_chunks(void **state)
{
    cq_broker *broker = broker_of(state);

    for (int i = 0; i < 10; i++) {
        char id[8];

        snprintf(id, sizeof id, "p%d", i);
        conformance_push(broker, "q", id);
        snprintf(id, sizeof id, "s%d", i);
        push_later(broker, id, 60 + i, "");
        snprintf(id, sizeof id, "g%d", i);
        push_group(broker, id, "G");
    }
    assert_int_equal(sweep(broker, CRONQ_STATE_PENDING, "", CQ_ACT_ARCHIVE), 10);
    assert_int_equal(sweep(broker, CRONQ_STATE_SCHEDULED, "", CQ_ACT_RUN), 10);
    assert_string_equal(page(broker, CRONQ_STATE_PENDING, "", 0, 3), "s0 s1 s2");
    assert_int_equal(sweep(broker, CRONQ_STATE_AGGREGATING, "no", CQ_ACT_DELETE), 0);
    assert_int_equal(sweep(broker, CRONQ_STATE_AGGREGATING, "G", CQ_ACT_DELETE), 10);
    assert_int_equal(sweep(broker, CRONQ_STATE_ARCHIVED, "", CQ_ACT_DELETE), 10);
    assert_int_equal(sweep(broker, CRONQ_STATE_PENDING, "", CQ_ACT_DELETE), 10);
    assert_int_equal(
        broker->inspect->remove_queue(broker, QUEUE, CONFORMANCE_NOW_NS, NULL), CRONQ_OK);
}

static void a_queue_is_removed_when_it_is_empty(void **state)
{
    cq_broker *broker = broker_of(state);
    const cq_inspect_ops *inspect = broker->inspect;
    conformance_exchange x;
    cq_queue_counts counts;
    cq_intake *intake;

    conformance_push(broker, "q", "a");
    assert_int_equal(inspect->remove_queue(broker, QUEUE, CONFORMANCE_NOW_NS, NULL),
                     CRONQ_ESTATE);
    intake = take(broker, &x);
    assert_int_equal(inspect->remove_queue(broker, QUEUE, CONFORMANCE_NOW_NS, NULL),
                     CRONQ_ESTATE);
    settle_as(intake, &x, CQ_DONE, "a", CRONQ_OK);
    inspect->pause(broker, QUEUE, true, CONFORMANCE_NOW_NS, NULL);
    assert_int_equal(inspect->remove_queue(broker, QUEUE, CONFORMANCE_NOW_NS, NULL),
                     CRONQ_OK);
    assert_int_equal(inspect->remove_queue(broker, QUEUE, CONFORMANCE_NOW_NS, NULL),
                     CRONQ_ENOENT);
    assert_int_equal(inspect->counts(broker, QUEUE, CONFORMANCE_NOW_NS, &counts, NULL),
                     CRONQ_ENOENT);
    end_take(intake, &x);
}

/* ---- changing in place ---- */

static void
the_message_of_a_scheduled_task_is_replaced_if_it_is_the_one_read(void **state)
{
    cq_broker *broker = broker_of(state);
    cronq_bytes before = conformance_message("q", "s"),
                after = conformance_message("q", "longer"), wrong = CRONQ_LIT("x");
    const cq_inspect_ops *inspect = broker->inspect;
    cq_str id = CQ_STR("s");
    bool same = true;

    push_later(broker, "s", 60, "");
    conformance_push(broker, "q", "p");
    assert_int_equal(inspect->replace(broker, QUEUE, id, wrong, after, &same, NULL),
                     CRONQ_OK);
    assert_false(same);
    assert_int_equal(inspect->replace(broker, QUEUE, id, before, after, &same, NULL),
                     CRONQ_OK);
    assert_true(same);
    assert_int_equal(task(broker, "s").message.len, after.len);
    assert_int_equal(
        inspect->replace(broker, QUEUE, CQ_STR("p"), before, after, &same, NULL),
        CRONQ_ESTATE);
    assert_int_equal(
        inspect->replace(broker, QUEUE, CQ_STR("no"), before, after, &same, NULL),
        CRONQ_ENOENT);
}

static cronq_status reschedule(cq_broker *broker, const char *id, int64_t at_s)
{
    cq_reschedule item = { .queue = QUEUE,
                           .id = cq_str_of(id),
                           .run_at_ms = at_s * CQ_MS_PER_S };
    bool same;

    return broker->inspect->reschedule(broker, &item, CONFORMANCE_NOW_NS, &same, NULL);
}

static void a_task_is_rescheduled_in_place(void **state)
{
    cq_broker *broker = broker_of(state);
    conformance_exchange x;
    cq_intake *intake;

    conformance_push(broker, "q", "p");
    push_later(broker, "s", 60, "");
    push_group(broker, "g", "G");
    assert_int_equal(reschedule(broker, "p", NOW_S + 90), CRONQ_OK);
    assert_int_equal(reschedule(broker, "s", NOW_S + 30), CRONQ_OK);
    assert_int_equal(reschedule(broker, "g", NOW_S + 60), CRONQ_OK);
    assert_string_equal(page(broker, CRONQ_STATE_SCHEDULED, "", 0, 9), "s g p");
    assert_int_equal(conformance_counts(broker, "q").pending, 0);
    assert_int_equal(reschedule(broker, "s", 0), CRONQ_OK);
    assert_int_equal(reschedule(broker, "g", 0), CRONQ_OK);
    assert_string_equal(page(broker, CRONQ_STATE_PENDING, "", 0, 9), "s");
    assert_string_equal(page(broker, CRONQ_STATE_AGGREGATING, "G", 0, 9), "g");
    assert_int_equal(reschedule(broker, "no", 0), CRONQ_ENOENT);
    intake = take(broker, &x);
    assert_int_equal(reschedule(broker, "s", NOW_S + 30), CRONQ_ESTATE);
    settle_as(intake, &x, CQ_COMPLETE, "s", CRONQ_OK);
    assert_int_equal(reschedule(broker, "s", NOW_S + 30), CRONQ_ESTATE);
    end_take(intake, &x);
}

/* ---- cancelling ---- */

static void a_cancelled_task_is_not_retried(void **state)
{
    cq_broker *broker = broker_of(state);
    cq_lease lease = { .queue = QUEUE, .id = CQ_STR("a"), .fence = 7 };
    conformance_exchange x;
    cq_intake *intake;

    conformance_push(broker, "q", "a");
    assert_int_equal(
        broker->inspect->cancel(broker, QUEUE, CQ_STR("a"), CONFORMANCE_NOW_NS, NULL),
        CRONQ_ESTATE);
    assert_int_equal(
        broker->inspect->cancel(broker, QUEUE, CQ_STR("no"), CONFORMANCE_NOW_NS, NULL),
        CRONQ_ENOENT);
    intake = take(broker, &x);
    assert_int_equal(broker->ops->extend(broker, &lease, 1, CONFORMANCE_NOW_NS, NULL),
                     CRONQ_OK);
    assert_int_equal(lease.status, CRONQ_OK);
    assert_int_equal(
        broker->inspect->cancel(broker, QUEUE, CQ_STR("a"), CONFORMANCE_NOW_NS, NULL),
        CRONQ_OK);
    assert_true(task(broker, "a").cancelled);
    assert_int_equal(broker->ops->extend(broker, &lease, 1, CONFORMANCE_NOW_NS, NULL),
                     CRONQ_OK);
    assert_int_equal(lease.status, CRONQ_ECANCELED);
    settle_as(intake, &x, CQ_RETRY, "a", CRONQ_ECANCELED);
    settle_as(intake, &x, CQ_GIVE_BACK, "a", CRONQ_ECANCELED);
    settle_as(intake, &x, CQ_ARCHIVE, "a", CRONQ_OK);
    assert_false(task(broker, "a").cancelled);
    end_take(intake, &x);
}

static void a_cancelled_task_whose_worker_died_is_archived(void **state)
{
    cq_broker *broker = broker_of(state);
    int64_t later_ns = CONFORMANCE_NOW_NS + 60 * CQ_NS_PER_S;
    cq_recovery item = { .kind = CQ_RECOVER_RETRY, .id = CQ_STR("a") };
    conformance_exchange x;
    cq_expired *expired;
    cq_intake *intake;
    size_t count;

    conformance_push(broker, "q", "a");
    intake = take(broker, &x);
    assert_int_equal(
        broker->inspect->cancel(broker, QUEUE, CQ_STR("a"), CONFORMANCE_NOW_NS, NULL),
        CRONQ_OK);
    assert_int_equal(broker->ops->list_expired(broker, QUEUE, later_ns, 9, &arena,
                                               &expired, &count, NULL),
                     CRONQ_OK);
    assert_int_equal(count, 1);
    assert_true(expired[0].cancelled);
    item.score = expired[0].score;
    item.message = conformance_message("q", "a");
    assert_int_equal(broker->ops->recover(broker, QUEUE, &item, 1, later_ns, NULL),
                     CRONQ_OK);
    assert_int_equal(item.status, CRONQ_ESTATE);
    item.kind = CQ_RECOVER_ARCHIVE;
    assert_int_equal(broker->ops->recover(broker, QUEUE, &item, 1, later_ns, NULL),
                     CRONQ_OK);
    assert_int_equal(item.status, CRONQ_OK);
    assert_int_equal(task(broker, "a").state, CRONQ_STATE_ARCHIVED);
    end_take(intake, &x);
}

/* Frees what the cases before it kept in the arena. */
static void nothing_is_left(void **state)
{
    (void)state;
    cq_arena_release(&arena);
}

static void the_memory_is_there(void **state)
{
    (void)state;
    cq_arena_init(&arena, (size_t)1 << 28);
}

const conformance_case conformance_inspect_cases[] = {
    CONFORMANCE_CASE(the_memory_is_there),
    CONFORMANCE_CASE(a_task_is_found_in_any_state),
    CONFORMANCE_CASE(lists_come_in_pages),
    CONFORMANCE_CASE(groups_are_listed_with_their_sizes),
    CONFORMANCE_CASE(days_are_counted),
    CONFORMANCE_CASE(servers_and_schedulers_are_listed_while_they_live),
    CONFORMANCE_CASE(events_are_listed_newest_first),
    CONFORMANCE_CASE(tasks_are_run_archived_and_deleted_by_hand),
    CONFORMANCE_CASE(an_active_task_is_not_moved_by_hand),
    CONFORMANCE_CASE(some_of_a_page_are_moved_together),
    CONFORMANCE_CASE(deleting_frees_the_lock),
    CONFORMANCE_CASE(all_of_a_state_are_moved_in_chunks),
    CONFORMANCE_CASE(a_queue_is_removed_when_it_is_empty),
    CONFORMANCE_CASE(the_message_of_a_scheduled_task_is_replaced_if_it_is_the_one_read),
    CONFORMANCE_CASE(a_task_is_rescheduled_in_place),
    CONFORMANCE_CASE(a_cancelled_task_is_not_retried),
    CONFORMANCE_CASE(a_cancelled_task_whose_worker_died_is_archived),
    CONFORMANCE_CASE(nothing_is_left),
    { 0 },
};
