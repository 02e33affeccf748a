/* SPDX-License-Identifier: MIT */
/* conformance/lease_cases.c - leases, what becomes of them, and what servers tell. */
#include "conformance/cases.h"

#include "base/clock.h"

#include <stdio.h>

#define LEASE_S (CONFORMANCE_LEASE_MS / 1000)

/* Task "a" of queue q, taken with fence 7. */
typedef struct held {
    cq_broker *broker;
    cq_intake *intake;
    conformance_exchange x;
    cq_arena arena;
} held;

static void held_init(held *h, void **state)
{
    h->broker = broker_of(state);
    h->intake = conformance_intake(h->broker, "q");
    conformance_exchange_init(&h->x, 7);
    cq_arena_init(&h->arena, 1 << 22);
    conformance_push(h->broker, "q", "a");
    assert_int_equal(conformance_take(&h->x, h->intake, 1, 1), 1);
}

static void held_release(held *h)
{
    conformance_exchange_release(&h->x);
    h->intake->ops->intake_close(h->intake);
    cq_arena_release(&h->arena);
}

static int64_t after_s(int64_t seconds)
{
    return CONFORMANCE_NOW_NS + seconds * CQ_NS_PER_S;
}

static size_t expired(held *h, int64_t now_ns, cq_expired **out)
{
    cronq_error err = { 0 };
    size_t count = 0;

    if (h->broker->ops->list_expired(h->broker, CQ_STR("q"), now_ns, 10, &h->arena, out,
                                     &count, &err))
        fail_msg("list_expired: %s", err.text);
    return count;
}

static void a_lease_is_over_two_seconds_after_its_end(void **state)
{
    cq_expired *found;
    held h;

    held_init(&h, state);
    assert_int_equal(expired(&h, after_s(LEASE_S), &found), 0);
    assert_int_equal(expired(&h, after_s(LEASE_S + 1), &found), 0);
    assert_int_equal(expired(&h, after_s(LEASE_S + 2), &found), 1);
    assert_true(cq_str_eq(found[0].id, CQ_STR("a")));
    assert_true(found[0].score == h.x.exchange.deliveries[0].score);
    assert_int_equal(found[0].message.len, conformance_message("q", "a").len);
    assert_false(found[0].started || found[0].marked);
    held_release(&h);
}

static void extending_moves_only_leases_that_are_ours(void **state)
{
    cq_lease leases[3] = { { .queue = CQ_STR("q"), .id = CQ_STR("a"), .fence = 7 },
                           { .queue = CQ_STR("q"), .id = CQ_STR("no"), .fence = 7 },
                           { .queue = CQ_STR("r"), .id = CQ_STR("a"), .fence = 7 } };
    cq_outcome done = conformance_outcome(CQ_DONE, "a", 7);
    cq_expired *found;
    held h;

    held_init(&h, state);
    assert_int_equal(h.broker->ops->extend(h.broker, leases, 3, after_s(8), NULL),
                     CRONQ_OK);
    assert_int_equal(leases[0].status, CRONQ_OK);
    assert_int_equal(leases[1].status, CRONQ_ESTATE);
    assert_int_equal(leases[2].status, CRONQ_ESTATE);
    leases[0].fence = 8;
    assert_int_equal(h.broker->ops->extend(h.broker, leases, 1, after_s(99), NULL),
                     CRONQ_OK);
    assert_int_equal(leases[0].status, CRONQ_ESTATE);
    assert_int_equal(expired(&h, after_s(8 + LEASE_S + 1), &found), 0);
    assert_int_equal(expired(&h, after_s(8 + LEASE_S + 2), &found), 1);
    assert_int_equal(conformance_settle(&h.x, h.intake, &done), CRONQ_OK);
    held_release(&h);
}

static void thousands_of_leases_are_extended_at_once(void **state)
{
    enum { COUNT = 2500 };
    static cq_lease leases[COUNT];
    held h;

    held_init(&h, state);
    for (size_t i = 0; i < COUNT; i++)
        leases[i] = (cq_lease){ .queue = i % 3 ? CQ_STR("q") : CQ_STR("other"),
                                .id = i == 2002 ? CQ_STR("a") : CQ_STR("none"),
                                .fence = 7 };
    assert_int_equal(h.broker->ops->extend(h.broker, leases, COUNT, after_s(1), NULL),
                     CRONQ_OK);
    for (size_t i = 0; i < COUNT; i++)
        assert_int_equal(leases[i].status, i == 2002 ? CRONQ_OK : CRONQ_ESTATE);
    held_release(&h);
}

static void a_start_is_marked_by_its_attempt(void **state)
{
    cq_lease lease = { .queue = CQ_STR("q"), .id = CQ_STR("a"), .fence = 8 };
    cq_outcome back = conformance_outcome(CQ_GIVE_BACK, "a", 7);
    cq_expired *found;
    held h;

    held_init(&h, state);
    assert_int_equal(h.broker->ops->mark_started(h.broker, &lease, 1, NULL), CRONQ_OK);
    assert_int_equal(lease.status, CRONQ_ESTATE);
    lease.fence = 7;
    assert_int_equal(h.broker->ops->mark_started(h.broker, &lease, 1, NULL), CRONQ_OK);
    assert_int_equal(lease.status, CRONQ_OK);
    assert_int_equal(expired(&h, after_s(60), &found), 1);
    assert_true(found[0].started && found[0].marked);
    assert_int_equal(conformance_settle(&h.x, h.intake, &back), CRONQ_OK);
    assert_int_equal(conformance_take(&h.x, h.intake, 1, 1), 1);
    assert_int_equal(expired(&h, after_s(60), &found), 1);
    assert_false(found[0].started || found[0].marked);
    held_release(&h);
}

static void a_result_is_written_while_the_task_is_ours(void **state)
{
    const cronq_bytes result = CRONQ_LIT("4\0002");
    cq_outcome done = conformance_outcome(CQ_DONE, "a", 7);
    cq_push again = { .queue = CQ_STR("q"), .id = CQ_STR("a") };
    held h;

    held_init(&h, state);
    assert_int_equal(
        h.broker->ops->write_result(h.broker, CQ_STR("q"), CQ_STR("a"), 8, result, NULL),
        CRONQ_ESTATE);
    assert_int_equal(
        h.broker->ops->write_result(h.broker, CQ_STR("q"), CQ_STR("a"), 7, result, NULL),
        CRONQ_OK);
    assert_int_equal(conformance_settle(&h.x, h.intake, &done), CRONQ_OK);
    assert_int_equal(
        h.broker->ops->write_result(h.broker, CQ_STR("q"), CQ_STR("a"), 7, result, NULL),
        CRONQ_ESTATE);
    assert_int_equal(conformance_push_item(h.broker, &again), CRONQ_OK);
    held_release(&h);
}

/* ---- recovery ---- */

static cronq_status recover(held *h, cq_recovery_kind kind, double score)
{
    cq_recovery item = { .kind = kind, .id = CQ_STR("a"), .score = score };
    cronq_error err = { 0 };

    item.message = conformance_message("q", "recovered");
    if (h->broker->ops->recover(h->broker, CQ_STR("q"), &item, 1, after_s(60), &err))
        fail_msg("recover: %s", err.text);
    return item.status;
}

static void a_recovered_task_is_the_next_to_run(void **state)
{
    cq_outcome late = conformance_outcome(CQ_DONE, "a", 7);
    cq_queue_counts counts = { 0 };
    cq_expired *found;
    held h;

    held_init(&h, state);
    conformance_push(h.broker, "q", "b");
    assert_int_equal(expired(&h, after_s(60), &found), 1);
    assert_int_equal(recover(&h, CQ_RECOVER_RETRY, found[0].score + 1), CRONQ_ESTATE);
    assert_int_equal(recover(&h, CQ_RECOVER_RETRY, found[0].score), CRONQ_OK);
    assert_int_equal(recover(&h, CQ_RECOVER_RETRY, found[0].score), CRONQ_ESTATE);
    counts = conformance_counts(h.broker, "q");
    assert_int_equal(counts.pending, 2);
    assert_int_equal(counts.active, 0);
    h.x.exchange.fence = 9;
    h.x.exchange.now_ns = after_s(61);
    assert_int_equal(conformance_take(&h.x, h.intake, 1, 1), 1);
    assert_string_equal(conformance_ids(&h.x), "a");
    assert_int_equal(h.x.exchange.deliveries[0].message.len,
                     conformance_message("q", "recovered").len);
    /* Whoever had it before can not end it now. */
    assert_int_equal(conformance_settle(&h.x, h.intake, &late), CRONQ_ESTATE);
    held_release(&h);
}

static void what_is_put_back_keeps_its_message_and_counts(void **state)
{
    cq_expired *found;
    held h;

    held_init(&h, state);
    expired(&h, after_s(60), &found);
    assert_int_equal(recover(&h, CQ_RECOVER_PUT_BACK, found[0].score), CRONQ_OK);
    assert_int_equal(conformance_counts(h.broker, "q").failed, 0);
    assert_int_equal(conformance_take(&h.x, h.intake, 1, 1), 1);
    assert_int_equal(h.x.exchange.deliveries[0].message.len,
                     conformance_message("q", "a").len);
    held_release(&h);
}

static void what_has_no_retry_left_is_archived(void **state)
{
    cq_queue_counts counts = { 0 };
    cq_expired *found;
    held h;

    held_init(&h, state);
    expired(&h, after_s(60), &found);
    assert_int_equal(recover(&h, CQ_RECOVER_ARCHIVE, found[0].score), CRONQ_OK);
    counts = conformance_counts(h.broker, "q");
    assert_int_equal(counts.archived, 1);
    assert_int_equal(counts.active, 0);
    assert_int_equal(counts.failed, 1);
    assert_int_equal(counts.processed, 1);
    held_release(&h);
}

static void what_does_not_decode_is_archived_too(void **state)
{
    cq_expired *found;
    held h;

    held_init(&h, state);
    expired(&h, after_s(60), &found);
    assert_int_equal(recover(&h, CQ_RECOVER_QUARANTINE, found[0].score), CRONQ_OK);
    assert_int_equal(conformance_counts(h.broker, "q").archived, 1);
    held_release(&h);
}

/* A delivery that can not be read can be put away at once, by its score. */
static void a_delivery_is_recovered_by_its_score(void **state)
{
    held h;

    held_init(&h, state);
    assert_int_equal(recover(&h, CQ_RECOVER_QUARANTINE, h.x.exchange.deliveries[0].score),
                     CRONQ_OK);
    assert_int_equal(conformance_counts(h.broker, "q").archived, 1);
    assert_int_equal(conformance_counts(h.broker, "q").active, 0);
    held_release(&h);
}

static void what_a_lost_answer_took_is_found_by_its_fence(void **state)
{
    cq_delivery *found = NULL;
    size_t count = 9;
    held h;

    held_init(&h, state);
    assert_int_equal(
        h.intake->ops->find_leased(h.intake, 8, &h.arena, &found, &count, NULL),
        CRONQ_OK);
    assert_int_equal(count, 0);
    assert_int_equal(
        h.intake->ops->find_leased(h.intake, 7, &h.arena, &found, &count, NULL),
        CRONQ_OK);
    assert_int_equal(count, 1);
    assert_true(cq_str_eq(found[0].id, CQ_STR("a")));
    assert_int_equal(found[0].queue, 0);
    assert_int_equal(found[0].message.len, conformance_message("q", "a").len);
    assert_true(found[0].score == h.x.exchange.deliveries[0].score);
    held_release(&h);
}

static void leased_tasks_are_no_orphans(void **state)
{
    const cq_str id = CQ_STR("a");
    cq_expired *expired_ones;
    cq_str *ids;
    size_t count = 9;
    held h;

    held_init(&h, state);
    assert_int_equal(h.broker->ops->list_unleased(h.broker, CQ_STR("q"), 10, &h.arena,
                                                  &ids, &count, NULL),
                     CRONQ_OK);
    assert_int_equal(count, 0);
    assert_int_equal(
        h.broker->ops->adopt(h.broker, CQ_STR("q"), &id, 1, CONFORMANCE_NOW_NS, NULL),
        CRONQ_OK);
    assert_int_equal(expired(&h, CONFORMANCE_NOW_NS, &expired_ones), 0);
    held_release(&h);
}

/* ---- what servers and schedulers tell ---- */

static void beats_and_entries_are_written_and_cleared(void **state)
{
    cq_broker *broker = broker_of(state);
    const cronq_bytes entries[2] = { CRONQ_LIT("one"), CRONQ_LIT("two") };
    const cq_beat_worker worker = { CQ_STR("a"), CRONQ_LIT("info") };
    cq_beat beat = { .host = CQ_STR("host"),
                     .pid = 1,
                     .server_id = CQ_STR("id"),
                     .info = CRONQ_LIT("server"),
                     .workers = &worker,
                     .worker_count = 1,
                     .now_ns = CONFORMANCE_NOW_NS,
                     .ttl_s = 10 };

    assert_int_equal(broker->ops->beat(broker, &beat, NULL), CRONQ_OK);
    beat.worker_count = 0;
    assert_int_equal(broker->ops->beat(broker, &beat, NULL), CRONQ_OK);
    assert_int_equal(broker->ops->beat_clear(broker, &beat, NULL), CRONQ_OK);
    assert_int_equal(broker->ops->write_entries(broker, CQ_STR("s"), entries, 2,
                                                CONFORMANCE_NOW_NS, 20, NULL),
                     CRONQ_OK);
    assert_int_equal(broker->ops->write_entries(broker, CQ_STR("s"), NULL, 0,
                                                CONFORMANCE_NOW_NS, 20, NULL),
                     CRONQ_OK);
    assert_int_equal(broker->ops->record_event(broker, CQ_STR("e"), entries[0],
                                               CONFORMANCE_NOW_NS, NULL),
                     CRONQ_OK);
    assert_int_equal(broker->ops->clear_entries(broker, CQ_STR("s"), NULL), CRONQ_OK);
}

const conformance_case conformance_lease_cases[] = {
    CONFORMANCE_CASE(a_lease_is_over_two_seconds_after_its_end),
    CONFORMANCE_CASE(extending_moves_only_leases_that_are_ours),
    CONFORMANCE_CASE(thousands_of_leases_are_extended_at_once),
    CONFORMANCE_CASE(a_start_is_marked_by_its_attempt),
    CONFORMANCE_CASE(a_result_is_written_while_the_task_is_ours),
    CONFORMANCE_CASE(a_recovered_task_is_the_next_to_run),
    CONFORMANCE_CASE(what_is_put_back_keeps_its_message_and_counts),
    CONFORMANCE_CASE(what_has_no_retry_left_is_archived),
    CONFORMANCE_CASE(what_does_not_decode_is_archived_too),
    CONFORMANCE_CASE(a_delivery_is_recovered_by_its_score),
    CONFORMANCE_CASE(what_a_lost_answer_took_is_found_by_its_fence),
    CONFORMANCE_CASE(leased_tasks_are_no_orphans),
    CONFORMANCE_CASE(beats_and_entries_are_written_and_cleared),
    { 0 },
};
