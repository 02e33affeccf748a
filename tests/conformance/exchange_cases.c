/* SPDX-License-Identifier: MIT */
/* conformance/exchange_cases.c - taking tasks and writing outcomes. */
#include "conformance/cases.h"

#include "base/clock.h"
#include "base/thread.h"

#include <stdio.h>
#include <stdlib.h>

#define NOW_S (CONFORMANCE_NOW_NS / CQ_NS_PER_S)

/* An intake of one queue and an exchange with fence 7. */
typedef struct bench {
    cq_broker *broker;
    cq_intake *intake;
    conformance_exchange x;
} bench;

static void bench_init(bench *b, void **state, const char *queues)
{
    b->broker = broker_of(state);
    b->intake = conformance_intake(b->broker, queues);
    conformance_exchange_init(&b->x, 7);
}

static void bench_release(bench *b)
{
    conformance_exchange_release(&b->x);
    b->intake->ops->intake_close(b->intake);
}

static void push_many(bench *b, const char *queue, const char *head, size_t count)
{
    cq_push *items = calloc(count, sizeof *items);
    char(*ids)[32] = calloc(count, sizeof *ids);

    assert_true(items && ids);
    for (size_t i = 0; i < count; i++) {
        snprintf(ids[i], sizeof ids[i], "%s%zu", head, i);
        items[i] = (cq_push){ .queue = cq_str_of(queue),
                              .id = cq_str_of(ids[i]),
                              .message = CRONQ_LIT("x") };
    }
    assert_int_equal(
        b->broker->ops->push(b->broker, items, count, CONFORMANCE_NOW_NS, NULL),
        CRONQ_OK);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(items[i].status, CRONQ_OK);
    free(items);
    free(ids);
}

/* ---- taking ---- */

static size_t taken_of(const bench *b, uint32_t queue)
{
    size_t count = 0;

    for (size_t i = 0; i < b->x.exchange.delivery_count; i++)
        count += b->x.exchange.deliveries[i].queue == queue;
    return count;
}

static void shares_come_first_and_the_rest_in_order(void **state)
{
    bench b;

    bench_init(&b, state, "high low other");
    push_many(&b, "high", "h", 10);
    push_many(&b, "low", "l", 3);
    push_many(&b, "other", "o", 10);
    b.x.wants[0].share = 4;
    b.x.wants[1].share = 5;
    b.x.wants[2].share = 1;
    assert_int_equal(conformance_take(&b.x, b.intake, 3, 12), 12);
    assert_int_equal(taken_of(&b, 1), 3);
    assert_int_equal(taken_of(&b, 2), 1);
    assert_int_equal(taken_of(&b, 0), 8);
    bench_release(&b);
}

static void without_shares_the_order_is_strict(void **state)
{
    bench b;

    bench_init(&b, state, "high low");
    push_many(&b, "low", "l", 5);
    push_many(&b, "high", "h", 5);
    assert_int_equal(conformance_take(&b.x, b.intake, 2, 3), 3);
    assert_string_equal(conformance_ids(&b.x), "h0 h1 h2");
    assert_int_equal(conformance_take(&b.x, b.intake, 2, 4), 4);
    assert_string_equal(conformance_ids(&b.x), "h3 h4 l0 l1");
    bench_release(&b);
}

static void a_full_batch_goes_through_whole(void **state)
{
    enum { COUNT = CQ_BATCH_LIMIT };
    static cq_outcome outcomes[COUNT];
    char(*ids)[32] = calloc(COUNT, sizeof *ids);
    cq_queue_counts counts = { 0 };
    bench b;

    assert_non_null(ids);
    bench_init(&b, state, "q");
    push_many(&b, "q", "t", COUNT + 5);
    assert_int_equal(conformance_take(&b.x, b.intake, 1, COUNT), COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        cq_str id = b.x.exchange.deliveries[i].id;

        snprintf(ids[i], sizeof ids[i], "%.*s", CQ_FMT(id));
        outcomes[i] = conformance_outcome(CQ_DONE, ids[i], 7);
    }
    conformance_settle_all(&b.x, b.intake, outcomes, COUNT);
    for (size_t i = 0; i < COUNT; i++)
        assert_int_equal(outcomes[i].status, CRONQ_OK);
    counts = conformance_counts(b.broker, "q");
    assert_int_equal(counts.pending, 5);
    assert_int_equal(counts.active, 0);
    assert_int_equal(counts.processed, COUNT);
    assert_int_equal(counts.processed_today, COUNT);
    assert_int_equal(counts.failed, 0);
    bench_release(&b);
    free(ids);
}

/* ---- outcomes ---- */

static void done_is_written_once(void **state)
{
    cq_outcome done = conformance_outcome(CQ_DONE, "a", 7);
    bench b;

    bench_init(&b, state, "q");
    conformance_push(b.broker, "q", "a");
    assert_int_equal(conformance_take(&b.x, b.intake, 1, 1), 1);
    assert_int_equal(conformance_settle(&b.x, b.intake, &done), CRONQ_OK);
    assert_int_equal(conformance_settle(&b.x, b.intake, &done), CRONQ_ESTATE);
    assert_int_equal(conformance_counts(b.broker, "q").processed, 1);
    conformance_push(b.broker, "q", "a");
    bench_release(&b);
}

static void an_outcome_of_a_foreign_attempt_is_not_written(void **state)
{
    static const uint32_t fences[] = { 0, 6, 8, CQ_FENCE_LIMIT - 1 };
    cq_outcome retry = conformance_outcome(CQ_RETRY, "a", 0);
    bench b;

    bench_init(&b, state, "q");
    conformance_push(b.broker, "q", "a");
    conformance_take(&b.x, b.intake, 1, 1);
    retry.message = conformance_message("q", "a");
    retry.at_ms = (NOW_S + 9) * CQ_MS_PER_S;
    for (size_t i = 0; i < sizeof fences / sizeof fences[0]; i++) {
        retry.fence = fences[i];
        assert_int_equal(conformance_settle(&b.x, b.intake, &retry), CRONQ_ESTATE);
    }
    assert_int_equal(conformance_counts(b.broker, "q").active, 1);
    retry.fence = 7;
    assert_int_equal(conformance_settle(&b.x, b.intake, &retry), CRONQ_OK);
    bench_release(&b);
}

/* Neighbouring fences are told apart at any second. */
static void every_fence_is_told_from_its_neighbours(void **state)
{
    static const uint32_t fences[] = {
        1, 2, 3, 524287, 524288, 524289, 777777, CQ_FENCE_LIMIT - 2, CQ_FENCE_LIMIT - 1
    };
    static const int64_t seconds[] = { 1700000000, 2000000001, 2147483647, 4102444800 };
    cq_outcome done = conformance_outcome(CQ_DONE, "a", 0);
    bench b;

    bench_init(&b, state, "q");
    for (size_t i = 0; i < 4; i++) {
        for (size_t j = 0; j < sizeof fences / sizeof fences[0]; j++) {
            b.x.exchange.now_ns = seconds[i] * CQ_NS_PER_S;
            b.x.exchange.fence = fences[j];
            conformance_push(b.broker, "q", "a");
            assert_int_equal(conformance_take(&b.x, b.intake, 1, 1), 1);
            done.fence = fences[j] + 1;
            assert_int_equal(conformance_settle(&b.x, b.intake, &done), CRONQ_ESTATE);
            done.fence = fences[j] - 1;
            assert_int_equal(conformance_settle(&b.x, b.intake, &done), CRONQ_ESTATE);
            done.fence = fences[j];
            assert_int_equal(conformance_settle(&b.x, b.intake, &done), CRONQ_OK);
        }
    }
    bench_release(&b);
}

static void what_is_given_back_runs_next_in_its_order(void **state)
{
    cq_outcome back[3];
    bench b;

    bench_init(&b, state, "q");
    push_many(&b, "q", "t", 5);
    conformance_take(&b.x, b.intake, 1, 3);
    back[0] = conformance_outcome(CQ_GIVE_BACK, "t0", 7);
    back[1] = conformance_outcome(CQ_GIVE_BACK, "t1", 7);
    back[2] = conformance_outcome(CQ_GIVE_BACK, "t2", 7);
    conformance_settle_all(&b.x, b.intake, back, 3);
    for (int i = 0; i < 3; i++)
        assert_int_equal(back[i].status, CRONQ_OK);
    assert_int_equal(conformance_counts(b.broker, "q").processed, 0);
    assert_int_equal(conformance_take(&b.x, b.intake, 1, 10), 5);
    assert_string_equal(conformance_ids(&b.x), "t0 t1 t2 t3 t4");
    bench_release(&b);
}

static void a_retry_waits_and_keeps_its_new_message(void **state)
{
    cq_outcome retry = conformance_outcome(CQ_RETRY, "a", 7);
    cronq_bytes changed = conformance_message("q", "changed");
    cq_queue_counts counts = { 0 };
    bench b;

    bench_init(&b, state, "q");
    conformance_push(b.broker, "q", "a");
    conformance_take(&b.x, b.intake, 1, 1);
    retry.failure = true;
    retry.message = changed;
    retry.at_ms = (NOW_S + 9) * CQ_MS_PER_S;
    assert_int_equal(conformance_settle(&b.x, b.intake, &retry), CRONQ_OK);
    counts = conformance_counts(b.broker, "q");
    assert_int_equal(counts.retry, 1);
    assert_int_equal(counts.active, 0);
    assert_int_equal(counts.processed, 1);
    assert_int_equal(counts.failed, 1);
    assert_int_equal(counts.failed_today, 1);
    b.x.exchange.forward = true;
    assert_int_equal(conformance_take(&b.x, b.intake, 1, 1), 0);
    b.x.exchange.now_ns += 9 * CQ_NS_PER_S;
    b.x.exchange.forward = true;
    assert_int_equal(conformance_take(&b.x, b.intake, 1, 1), 1);
    assert_int_equal(b.x.exchange.deliveries[0].message.len, changed.len);
    retry.failure = false;
    assert_int_equal(conformance_settle(&b.x, b.intake, &retry), CRONQ_OK);
    assert_int_equal(conformance_counts(b.broker, "q").failed, 1);
    bench_release(&b);
}

static void a_completed_task_is_kept_until_its_time(void **state)
{
    cq_outcome complete = conformance_outcome(CQ_COMPLETE, "a", 7);
    cq_push again = { .queue = CQ_STR("q"), .id = CQ_STR("a") };
    size_t deleted = 9;
    bench b;

    bench_init(&b, state, "q");
    conformance_push(b.broker, "q", "a");
    conformance_take(&b.x, b.intake, 1, 1);
    complete.message = conformance_message("q", "a");
    complete.at_ms = (NOW_S + 60) * CQ_MS_PER_S;
    assert_int_equal(conformance_settle(&b.x, b.intake, &complete), CRONQ_OK);
    assert_int_equal(conformance_counts(b.broker, "q").completed, 1);
    assert_int_equal(conformance_push_item(b.broker, &again), CRONQ_EEXIST);
    assert_int_equal(b.broker->ops->purge(b.broker, CQ_STR("q"),
                                          CONFORMANCE_NOW_NS + 59 * CQ_NS_PER_S, 10,
                                          &deleted, NULL),
                     CRONQ_OK);
    assert_int_equal(deleted, 0);
    assert_int_equal(b.broker->ops->purge(b.broker, CQ_STR("q"),
                                          CONFORMANCE_NOW_NS + 60 * CQ_NS_PER_S, 10,
                                          &deleted, NULL),
                     CRONQ_OK);
    assert_int_equal(deleted, 1);
    assert_int_equal(conformance_push_item(b.broker, &again), CRONQ_OK);
    bench_release(&b);
}

static void an_archive_forgets_what_is_old(void **state)
{
    cq_outcome archive = conformance_outcome(CQ_ARCHIVE, "a", 7);
    cq_push unique = { .queue = CQ_STR("q"),
                       .id = CQ_STR("a"),
                       .unique_key = CQ_STR("asynq:{q}:unique:t:1"),
                       .unique_ttl_s = 1000000000 };
    bench b;

    bench_init(&b, state, "q");
    assert_int_equal(conformance_push_item(b.broker, &unique), CRONQ_OK);
    conformance_take(&b.x, b.intake, 1, 1);
    archive.message = conformance_message("q", "a");
    assert_int_equal(conformance_settle(&b.x, b.intake, &archive), CRONQ_OK);
    assert_int_equal(conformance_counts(b.broker, "q").archived, 1);
    unique.id = CQ_STR("b");
    assert_int_equal(conformance_push_item(b.broker, &unique), CRONQ_EDUP);

    b.x.exchange.now_ns += (CQ_ARCHIVE_AGE_S + 1) * CQ_NS_PER_S;
    conformance_push(b.broker, "q", "c");
    conformance_take(&b.x, b.intake, 1, 1);
    archive.id = CQ_STR("c");
    assert_int_equal(conformance_settle(&b.x, b.intake, &archive), CRONQ_OK);
    assert_int_equal(conformance_counts(b.broker, "q").archived, 1);
    conformance_push(b.broker, "q", "a");
    assert_int_equal(conformance_push_item(b.broker, &unique), CRONQ_OK);
    bench_release(&b);
}

static void outcomes_of_many_queues_get_their_own_status(void **state)
{
    cq_outcome outcomes[4];
    bench b;

    bench_init(&b, state, "q r s");
    conformance_push(b.broker, "q", "a");
    conformance_push(b.broker, "r", "a");
    conformance_push(b.broker, "s", "b");
    assert_int_equal(conformance_take(&b.x, b.intake, 3, 10), 3);
    outcomes[0] = conformance_outcome(CQ_DONE, "b", 7);
    outcomes[0].queue = 2;
    outcomes[1] = conformance_outcome(CQ_DONE, "b", 7); /* not in q */
    outcomes[2] = conformance_outcome(CQ_DONE, "a", 7);
    outcomes[2].queue = 1;
    outcomes[3] = conformance_outcome(CQ_GIVE_BACK, "a", 7);
    conformance_settle_all(&b.x, b.intake, outcomes, 4);
    assert_int_equal(outcomes[0].status, CRONQ_OK);
    assert_int_equal(outcomes[1].status, CRONQ_ESTATE);
    assert_int_equal(outcomes[2].status, CRONQ_OK);
    assert_int_equal(outcomes[3].status, CRONQ_OK);
    assert_int_equal(conformance_take(&b.x, b.intake, 3, 10), 1);
    bench_release(&b);
}

/* ---- side by side ---- */

static void exchanges_in_flight_are_answered_in_order(void **state)
{
    conformance_exchange y;
    cq_want want = { 0, 0 };
    bench b;

    bench_init(&b, state, "q");
    conformance_exchange_init(&y, 8);
    push_many(&b, "q", "t", 4);
    for (int round = 0; round < 2; round++) {
        b.x.exchange.wants = y.exchange.wants = &want;
        b.x.exchange.want_count = y.exchange.want_count = 1;
        b.x.exchange.budget = y.exchange.budget = 1;
        assert_int_equal(b.intake->ops->exchange_send(b.intake, &b.x.exchange, NULL),
                         CRONQ_OK);
        if (b.intake->max_in_flight > 1)
            assert_int_equal(b.intake->ops->exchange_send(b.intake, &y.exchange, NULL),
                             CRONQ_OK);
        assert_int_equal(b.intake->ops->exchange_recv(b.intake, &b.x.exchange, NULL),
                         CRONQ_OK);
        if (b.intake->max_in_flight == 1)
            assert_int_equal(b.intake->ops->exchange_send(b.intake, &y.exchange, NULL),
                             CRONQ_OK);
        assert_int_equal(b.intake->ops->exchange_recv(b.intake, &y.exchange, NULL),
                         CRONQ_OK);
        assert_string_equal(conformance_ids(&b.x), round ? "t2" : "t0");
        assert_string_equal(conformance_ids(&y), round ? "t3" : "t1");
    }
    conformance_exchange_release(&y);
    bench_release(&b);
}

enum { RACE_TASKS = 2000 };

typedef struct racer {
    cq_intake *intake;
    uint32_t fence;
    uint8_t seen[RACE_TASKS];
    size_t count;
    pthread_t thread;
} racer;

static void *race(void *arg)
{
    racer *r = arg;
    conformance_exchange x;

    conformance_exchange_init(&x, r->fence);
    while (conformance_take(&x, r->intake, 1, 17) > 0) {
        for (size_t i = 0; i < x.exchange.delivery_count; i++)
            r->seen[atoi(x.exchange.deliveries[i].id.data)]++;
        r->count += x.exchange.delivery_count;
    }
    conformance_exchange_release(&x);
    return NULL;
}

static void two_intakes_never_get_the_same_task(void **state)
{
    racer *racers = calloc(2, sizeof *racers);
    bench b;

    assert_non_null(racers);
    bench_init(&b, state, "q");
    push_many(&b, "q", "", RACE_TASKS);
    for (uint32_t i = 0; i < 2; i++) {
        racers[i].fence = i + 1;
        racers[i].intake = conformance_intake(b.broker, "q");
        assert_int_equal(
            cq_thread_start(&racers[i].thread, "racer", race, &racers[i], NULL),
            CRONQ_OK);
    }
    for (int i = 0; i < 2; i++) {
        pthread_join(racers[i].thread, NULL);
        racers[i].intake->ops->intake_close(racers[i].intake);
    }
    assert_int_equal(racers[0].count + racers[1].count, RACE_TASKS);
    for (int i = 0; i < RACE_TASKS; i++)
        assert_int_equal(racers[0].seen[i] + racers[1].seen[i], 1);
    free(racers);
    bench_release(&b);
}

const conformance_case conformance_exchange_cases[] = {
    CONFORMANCE_CASE(shares_come_first_and_the_rest_in_order),
    CONFORMANCE_CASE(without_shares_the_order_is_strict),
    CONFORMANCE_CASE(a_full_batch_goes_through_whole),
    CONFORMANCE_CASE(done_is_written_once),
    CONFORMANCE_CASE(an_outcome_of_a_foreign_attempt_is_not_written),
    CONFORMANCE_CASE(every_fence_is_told_from_its_neighbours),
    CONFORMANCE_CASE(what_is_given_back_runs_next_in_its_order),
    CONFORMANCE_CASE(a_retry_waits_and_keeps_its_new_message),
    CONFORMANCE_CASE(a_completed_task_is_kept_until_its_time),
    CONFORMANCE_CASE(an_archive_forgets_what_is_old),
    CONFORMANCE_CASE(outcomes_of_many_queues_get_their_own_status),
    CONFORMANCE_CASE(exchanges_in_flight_are_answered_in_order),
    CONFORMANCE_CASE(two_intakes_never_get_the_same_task),
    { 0 },
};
