/* SPDX-License-Identifier: MIT */
/* conformance/push_cases.c - pushing: now, later, grouped, unique, again, a tick at a
 * time.
 */
#include "conformance/cases.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>

#define NOW_S (CONFORMANCE_NOW_NS / CQ_NS_PER_S)

/* ---- what is pushed is delivered ---- */

static void a_task_is_delivered_with_its_bytes(void **state)
{
    cq_broker *broker = broker_of(state);
    cq_intake *intake = conformance_intake(broker, "q");
    cronq_bytes message = conformance_message("q", "a");
    conformance_exchange x;

    conformance_exchange_init(&x, 7);
    conformance_push(broker, "q", "a");
    assert_int_equal(conformance_take(&x, intake, 1, 10), 1);
    assert_string_equal(conformance_ids(&x), "a");
    assert_int_equal(x.exchange.deliveries[0].queue, 0);
    assert_int_equal(x.exchange.deliveries[0].message.len, message.len);
    assert_memory_equal(x.exchange.deliveries[0].message.data, message.data, message.len);
    assert_int_equal(conformance_take(&x, intake, 1, 10), 0);
    conformance_exchange_release(&x);
    intake->ops->intake_close(intake);
}

static void tasks_are_delivered_in_the_order_of_pushing(void **state)
{
    cq_broker *broker = broker_of(state);
    cq_intake *intake = conformance_intake(broker, "q");
    cq_push items[3] = { { .queue = CQ_STR("q"), .id = CQ_STR("b") },
                         { .queue = CQ_STR("q"), .id = CQ_STR("c") },
                         { .queue = CQ_STR("q"), .id = CQ_STR("b") } };
    conformance_exchange x;

    conformance_exchange_init(&x, 7);
    conformance_push(broker, "q", "a");
    for (int i = 0; i < 3; i++)
        items[i].message = conformance_message("q", i == 1 ? "c" : "b");
    assert_int_equal(broker->ops->push(broker, items, 3, CONFORMANCE_NOW_NS, NULL),
                     CRONQ_OK);
    assert_int_equal(items[0].status, CRONQ_OK);
    assert_int_equal(items[1].status, CRONQ_OK);
    assert_int_equal(items[2].status, CRONQ_EEXIST);
    conformance_take(&x, intake, 1, 10);
    assert_string_equal(conformance_ids(&x), "a b c");
    conformance_exchange_release(&x);
    intake->ops->intake_close(intake);
}

static void any_bytes_pass_as_they_are(void **state)
{
    static const size_t sizes[] = { 0, 1, 255, 65536, 1 << 20 };
    cq_broker *broker = broker_of(state);
    cq_intake *intake = conformance_intake(broker, "q");
    char *bytes = malloc(1 << 20);
    conformance_exchange x;

    assert_non_null(bytes);
    for (size_t i = 0; i < 1 << 20; i++)
        bytes[i] = (char)(i * 7 + i / 256);
    conformance_exchange_init(&x, 7);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        cq_push item = { .queue = CQ_STR("q"), .id = CQ_STR("a") };
        cq_outcome done = conformance_outcome(CQ_DONE, "a", 7);

        item.message = (cronq_bytes){ bytes, sizes[i] };
        assert_int_equal(conformance_push_item(broker, &item), CRONQ_OK);
        assert_int_equal(conformance_take(&x, intake, 1, 10), 1);
        assert_int_equal(x.exchange.deliveries[0].message.len, sizes[i]);
        assert_memory_equal(x.exchange.deliveries[0].message.data, bytes, sizes[i]);
        assert_int_equal(conformance_settle(&x, intake, &done), CRONQ_OK);
    }
    conformance_exchange_release(&x);
    intake->ops->intake_close(intake);
    free(bytes);
}

static void a_large_batch_over_many_queues_is_stored_whole(void **state)
{
    enum { COUNT = 3000, QUEUES = 7 };
    cq_broker *broker = broker_of(state);
    cq_push *items = calloc(COUNT, sizeof *items);
    char ids[COUNT][8], queues[QUEUES][8];
    uint64_t total = 0;

    assert_non_null(items);
    for (int i = 0; i < COUNT; i++) {
        snprintf(ids[i], sizeof ids[i], "%d", i);
        snprintf(queues[i % QUEUES], sizeof queues[0], "q%d", i % QUEUES);
        items[i] = (cq_push){ .queue = cq_str_of(queues[i % QUEUES]),
                              .id = cq_str_of(ids[i]),
                              .message = CRONQ_LIT("x") };
    }
    assert_int_equal(broker->ops->push(broker, items, COUNT, CONFORMANCE_NOW_NS, NULL),
                     CRONQ_OK);
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(items[i].status, CRONQ_OK);
    for (int i = 0; i < QUEUES; i++)
        total += conformance_counts(broker, queues[i]).pending;
    assert_int_equal(total, COUNT);
    free(items);
}

/* ---- refused ---- */

static void an_id_that_exists_is_refused(void **state)
{
    cq_broker *broker = broker_of(state);
    cq_push item = { .queue = CQ_STR("q"), .id = CQ_STR("a") };

    conformance_push(broker, "q", "a");
    assert_int_equal(conformance_push_item(broker, &item), CRONQ_EEXIST);
    item.kind = CQ_PUSH_LATER;
    item.run_at_ms = (NOW_S + 60) * CQ_MS_PER_S;
    assert_int_equal(conformance_push_item(broker, &item), CRONQ_EEXIST);
    conformance_push(broker, "other", "a");
}

static cq_push unique_item(const char *id)
{
    return (cq_push){ .queue = CQ_STR("q"),
                      .id = cq_str_of(id),
                      .unique_key = CQ_STR("asynq:{q}:unique:t:1"),
                      .unique_ttl_s = 60 };
}

static void a_lock_is_held_until_its_task_is_done(void **state)
{
    cq_broker *broker = broker_of(state);
    cq_intake *intake = conformance_intake(broker, "q");
    cq_push a = unique_item("a"), b = unique_item("b");
    cq_outcome done = conformance_outcome(CQ_DONE, "a", 7);
    conformance_exchange x;

    conformance_exchange_init(&x, 7);
    assert_int_equal(conformance_push_item(broker, &a), CRONQ_OK);
    assert_int_equal(conformance_push_item(broker, &b), CRONQ_EDUP);
    conformance_take(&x, intake, 1, 10);
    assert_int_equal(conformance_push_item(broker, &b), CRONQ_EDUP);
    done.unique_key = a.unique_key;
    assert_int_equal(conformance_settle(&x, intake, &done), CRONQ_OK);
    assert_int_equal(conformance_push_item(broker, &b), CRONQ_OK);
    conformance_exchange_release(&x);
    intake->ops->intake_close(intake);
}

static void an_id_conflict_takes_no_lock(void **state)
{
    cq_broker *broker = broker_of(state);
    cq_push a = unique_item("a"), b = unique_item("b");

    conformance_push(broker, "q", "a");
    assert_int_equal(conformance_push_item(broker, &a), CRONQ_EEXIST);
    assert_int_equal(conformance_push_item(broker, &b), CRONQ_OK);
}

/* ---- sent again ---- */

static void what_is_sent_again_and_is_stored_is_success(void **state)
{
    cq_broker *broker = broker_of(state);
    cq_push item = { .queue = CQ_STR("q"), .id = CQ_STR("a") };

    conformance_push(broker, "q", "a");
    item.again = true;
    assert_int_equal(conformance_push_item(broker, &item), CRONQ_OK);
    item.message = conformance_message("q", "other content");
    assert_int_equal(conformance_push_item(broker, &item), CRONQ_EEXIST);
    item.id_is_ours = true;
    assert_int_equal(conformance_push_item(broker, &item), CRONQ_OK);
    assert_int_equal(conformance_counts(broker, "q").pending, 1);
}

static void a_retried_task_is_still_the_same_when_sent_again(void **state)
{
    cq_broker *broker = broker_of(state);
    cq_intake *intake = conformance_intake(broker, "q");
    cq_push item = { .queue = CQ_STR("q"), .id = CQ_STR("a"), .again = true };
    cq_outcome retry = conformance_outcome(CQ_RETRY, "a", 7);
    conformance_exchange x;
    char changed[256];
    size_t len;

    conformance_exchange_init(&x, 7);
    conformance_push(broker, "q", "a");
    conformance_take(&x, intake, 1, 1);
    len = x.exchange.deliveries[0].message.len;
    memcpy(changed, x.exchange.deliveries[0].message.data, len);
    memcpy(changed + len, "\x30\x01\x3a\x02no", 6); /* retried 1, error "no" */
    retry.message = (cronq_bytes){ changed, len + 6 };
    retry.at_ms = (NOW_S + 9) * CQ_MS_PER_S;
    assert_int_equal(conformance_settle(&x, intake, &retry), CRONQ_OK);
    assert_int_equal(conformance_push_item(broker, &item), CRONQ_OK);
    item.again = false;
    assert_int_equal(conformance_push_item(broker, &item), CRONQ_EEXIST);
    conformance_exchange_release(&x);
    intake->ops->intake_close(intake);
}

static void a_unique_task_sent_again_finds_its_own_lock(void **state)
{
    cq_broker *broker = broker_of(state);
    cq_push a = unique_item("a"), b = unique_item("b");

    assert_int_equal(conformance_push_item(broker, &a), CRONQ_OK);
    assert_int_equal(conformance_push_item(broker, &a), CRONQ_EDUP);
    a.again = b.again = true;
    assert_int_equal(conformance_push_item(broker, &a), CRONQ_OK);
    assert_int_equal(conformance_push_item(broker, &b), CRONQ_EDUP);
}

/* ---- later and in groups ---- */

static size_t forward(cq_broker *broker, int64_t now_s, size_t limit)
{
    cronq_error err = { 0 };
    size_t moved = 0;

    if (broker->ops->forward(broker, CQ_STR("q"), now_s * CQ_NS_PER_S, limit, &moved,
                             &err))
        fail_msg("forward: %s", err.text);
    return moved;
}

static void delayed_tasks_run_when_due_in_order(void **state)
{
    static const int64_t delays[] = { 30, 10, 20, 40 };
    cq_broker *broker = broker_of(state);
    cq_intake *intake = conformance_intake(broker, "q");
    conformance_exchange x;

    conformance_exchange_init(&x, 7);
    for (size_t i = 0; i < 4; i++) {
        char id[8];
        cq_push item = { .kind = CQ_PUSH_LATER, .queue = CQ_STR("q") };

        snprintf(id, sizeof id, "in%d", (int)delays[i]);
        item.id = cq_str_of(id);
        item.run_at_ms = (NOW_S + delays[i]) * CQ_MS_PER_S;
        assert_int_equal(conformance_push_item(broker, &item), CRONQ_OK);
    }
    assert_int_equal(conformance_counts(broker, "q").scheduled, 4);
    assert_int_equal(forward(broker, NOW_S + 9, 100), 0);
    assert_int_equal(forward(broker, NOW_S + 30, 2), 2);
    assert_int_equal(forward(broker, NOW_S + 30, 2), 1);
    assert_int_equal(conformance_take(&x, intake, 1, 10), 3);
    assert_string_equal(conformance_ids(&x), "in10 in20 in30");
    x.exchange.now_ns += 40 * CQ_NS_PER_S;
    x.exchange.forward = true;
    assert_int_equal(conformance_take(&x, intake, 1, 10), 1);
    assert_string_equal(conformance_ids(&x), "in40");
    conformance_exchange_release(&x);
    intake->ops->intake_close(intake);
}

/* SQLite keeps the millisecond, Redis the next whole second: nothing runs early. */
static void a_due_time_is_kept_as_finely_as_the_store_can(void **state)
{
    cq_broker *broker = broker_of(state);
    cq_intake *intake = conformance_intake(broker, "q");
    const int64_t asked_ms = (NOW_S + 60) * CQ_MS_PER_S + 250;
    bool fine = strcmp(broker->ops->name, "sqlite") == 0;
    int64_t kept_ms = fine ? asked_ms : (NOW_S + 61) * CQ_MS_PER_S;
    cq_push item = { .kind = CQ_PUSH_LATER,
                     .queue = CQ_STR("q"),
                     .id = CQ_STR("a"),
                     .run_at_ms = asked_ms };
    conformance_exchange x;
    cq_record record;
    cq_arena arena;

    cq_arena_init(&arena, 1 << 16);
    conformance_exchange_init(&x, 7);
    assert_int_equal(conformance_push_item(broker, &item), CRONQ_OK);
    assert_int_equal(item.run_at_ms, kept_ms);
    assert_int_equal(
        broker->inspect->task(broker, item.queue, item.id, &arena, &record, NULL),
        CRONQ_OK);
    assert_int_equal(record.at_ms, kept_ms);
    x.exchange.now_ns = (kept_ms - 1) * CQ_NS_PER_MS;
    x.exchange.forward = true;
    assert_int_equal(conformance_take(&x, intake, 1, 10), 0);
    x.exchange.now_ns = kept_ms * CQ_NS_PER_MS;
    x.exchange.forward = true;
    assert_int_equal(conformance_take(&x, intake, 1, 10), 1);
    conformance_exchange_release(&x);
    cq_arena_release(&arena);
    intake->ops->intake_close(intake);
}

static void grouped_tasks_wait_in_their_group(void **state)
{
    cq_broker *broker = broker_of(state);
    cq_intake *intake = conformance_intake(broker, "q");
    cq_push item = { .kind = CQ_PUSH_GROUP,
                     .queue = CQ_STR("q"),
                     .id = CQ_STR("a"),
                     .group = CQ_STR("g") };
    conformance_exchange x;
    cq_queue_counts counts = { 0 };

    conformance_exchange_init(&x, 7);
    assert_int_equal(conformance_push_item(broker, &item), CRONQ_OK);
    item.kind = CQ_PUSH_LATER;
    item.id = CQ_STR("b");
    item.message = conformance_message("q", "b");
    item.run_at_ms = (NOW_S + 5) * CQ_MS_PER_S;
    assert_int_equal(conformance_push_item(broker, &item), CRONQ_OK);
    counts = conformance_counts(broker, "q");
    assert_int_equal(counts.aggregating, 1);
    assert_int_equal(counts.scheduled, 1);
    assert_int_equal(forward(broker, NOW_S + 5, 100), 1);
    counts = conformance_counts(broker, "q");
    assert_int_equal(counts.aggregating, 2);
    assert_int_equal(counts.groups, 1);
    assert_int_equal(conformance_take(&x, intake, 1, 10), 0);
    conformance_exchange_release(&x);
    intake->ops->intake_close(intake);
}

/* ---- ticks of cron entries ---- */

static cq_push tick_item(const char *id, int64_t at_s)
{
    return (cq_push){ .queue = CQ_STR("q"),
                      .id = cq_str_of(id),
                      .tick_entry = CQ_STR("entry"),
                      .tick_at_s = at_s };
}

static void a_tick_is_one_task(void **state)
{
    cq_broker *broker = broker_of(state);
    cq_push first = tick_item("entry:5", 5), echo = tick_item("entry:5x", 5);
    cq_push next = tick_item("entry:6", 6);

    assert_int_equal(conformance_push_item(broker, &first), CRONQ_OK);
    assert_int_equal(conformance_push_item(broker, &first), CRONQ_EDUP);
    assert_int_equal(conformance_push_item(broker, &echo), CRONQ_EDUP);
    first.again = true;
    assert_int_equal(conformance_push_item(broker, &first), CRONQ_OK);
    assert_int_equal(conformance_push_item(broker, &next), CRONQ_OK);
    assert_int_equal(conformance_counts(broker, "q").pending, 2);
}

static void a_tick_is_skipped_while_the_last_run_is_not_over(void **state)
{
    cq_broker *broker = broker_of(state);
    cq_intake *intake = conformance_intake(broker, "q");
    cq_push ticks[5];
    cq_outcome done = conformance_outcome(CQ_DONE, "e1", 7);
    cq_outcome archive = conformance_outcome(CQ_ARCHIVE, "e4", 7);
    conformance_exchange x;
    char id[8];

    conformance_exchange_init(&x, 7);
    archive.message = conformance_message("q", "e4");
    for (int i = 1; i < 5; i++) {
        snprintf(id, sizeof id, "e%d", i);
        ticks[i] = tick_item(i == 1 ? "e1" : i == 2 ? "e2" : i == 3 ? "e3" : "e4", i);
        ticks[i].skip_overlap = true;
        ticks[i].message = conformance_message("q", id);
    }
    assert_int_equal(conformance_push_item(broker, &ticks[1]), CRONQ_OK);
    assert_int_equal(conformance_push_item(broker, &ticks[2]), CRONQ_ESTATE);
    conformance_take(&x, intake, 1, 1);
    assert_int_equal(conformance_push_item(broker, &ticks[3]), CRONQ_ESTATE);
    assert_int_equal(conformance_settle(&x, intake, &done), CRONQ_OK);
    /* That tick was skipped, whoever asks for it now. */
    assert_int_equal(conformance_push_item(broker, &ticks[3]), CRONQ_EDUP);
    assert_int_equal(conformance_push_item(broker, &ticks[4]), CRONQ_OK);
    /* A run that ended badly does not block the next. */
    conformance_take(&x, intake, 1, 1);
    assert_int_equal(conformance_settle(&x, intake, &archive), CRONQ_OK);
    ticks[0] = tick_item("e9", 9);
    ticks[0].skip_overlap = true;
    assert_int_equal(conformance_push_item(broker, &ticks[0]), CRONQ_OK);
    conformance_exchange_release(&x);
    intake->ops->intake_close(intake);
}

static void the_first_phase_of_an_entry_stays(void **state)
{
    cq_broker *broker = broker_of(state);
    int64_t phase_s = 0;

    assert_int_equal(
        broker->ops->every_phase(broker, CQ_STR("q"), CQ_STR("e"), 100, &phase_s, NULL),
        CRONQ_OK);
    assert_int_equal(phase_s, 100);
    assert_int_equal(
        broker->ops->every_phase(broker, CQ_STR("q"), CQ_STR("e"), 200, &phase_s, NULL),
        CRONQ_OK);
    assert_int_equal(phase_s, 100);
}

/* ---- looking ---- */

static int compare_names(const void *a, const void *b)
{
    const cq_str *x = a, *y = b;

    return strncmp(x->data, y->data, x->len < y->len ? x->len : y->len);
}

static void queues_are_listed_and_counted(void **state)
{
    cq_broker *broker = broker_of(state);
    cq_queue_counts counts = { 0 };
    cq_str *names;
    size_t count;
    cq_arena arena;

    cq_arena_init(&arena, 1 << 20);
    conformance_push(broker, "q2", "a");
    conformance_push(broker, "q1", "a");
    conformance_push(broker, "q1", "b");
    assert_int_equal(broker->inspect->queues(broker, &arena, &names, &count, NULL),
                     CRONQ_OK);
    assert_int_equal(count, 2);
    qsort(names, count, sizeof *names, compare_names);
    assert_true(cq_str_eq(names[0], CQ_STR("q1")) && cq_str_eq(names[1], CQ_STR("q2")));
    assert_int_equal(broker->inspect->counts(broker, CQ_STR("q1"),
                                             CONFORMANCE_NOW_NS + CQ_NS_PER_S, &counts,
                                             NULL),
                     CRONQ_OK);
    assert_int_equal(counts.pending, 2);
    assert_int_equal(counts.latency_ns, CQ_NS_PER_S);
    assert_int_equal(broker->inspect->counts(broker, CQ_STR("no"), 0, &counts, NULL),
                     CRONQ_ENOENT);
    cq_arena_release(&arena);
}

static void a_queue_is_paused_once(void **state)
{
    cq_broker *broker = broker_of(state);
    const cq_inspect_ops *inspect = broker->inspect;
    cq_queue_counts counts = { 0 };

    conformance_push(broker, "q", "a");
    assert_int_equal(inspect->pause(broker, CQ_STR("q"), false, 0, NULL), CRONQ_ESTATE);
    assert_int_equal(inspect->pause(broker, CQ_STR("q"), true, CONFORMANCE_NOW_NS, NULL),
                     CRONQ_OK);
    assert_int_equal(inspect->pause(broker, CQ_STR("q"), true, CONFORMANCE_NOW_NS, NULL),
                     CRONQ_ESTATE);
    counts = conformance_counts(broker, "q");
    assert_true(counts.paused);
    assert_int_equal(counts.paused_at_s, NOW_S);
    assert_int_equal(inspect->pause(broker, CQ_STR("q"), false, 0, NULL), CRONQ_OK);
    assert_false(conformance_counts(broker, "q").paused);
}

const conformance_case conformance_push_cases[] = {
    CONFORMANCE_CASE(a_task_is_delivered_with_its_bytes),
    CONFORMANCE_CASE(tasks_are_delivered_in_the_order_of_pushing),
    CONFORMANCE_CASE(any_bytes_pass_as_they_are),
    CONFORMANCE_CASE(a_large_batch_over_many_queues_is_stored_whole),
    CONFORMANCE_CASE(an_id_that_exists_is_refused),
    CONFORMANCE_CASE(a_lock_is_held_until_its_task_is_done),
    CONFORMANCE_CASE(an_id_conflict_takes_no_lock),
    CONFORMANCE_CASE(what_is_sent_again_and_is_stored_is_success),
    CONFORMANCE_CASE(a_retried_task_is_still_the_same_when_sent_again),
    CONFORMANCE_CASE(a_unique_task_sent_again_finds_its_own_lock),
    CONFORMANCE_CASE(delayed_tasks_run_when_due_in_order),
    CONFORMANCE_CASE(a_due_time_is_kept_as_finely_as_the_store_can),
    CONFORMANCE_CASE(grouped_tasks_wait_in_their_group),
    CONFORMANCE_CASE(a_tick_is_one_task),
    CONFORMANCE_CASE(a_tick_is_skipped_while_the_last_run_is_not_over),
    CONFORMANCE_CASE(the_first_phase_of_an_entry_stays),
    CONFORMANCE_CASE(queues_are_listed_and_counted),
    CONFORMANCE_CASE(a_queue_is_paused_once),
    { 0 },
};
