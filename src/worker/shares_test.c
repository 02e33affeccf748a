/* SPDX-License-Identifier: MIT */
/* shares_test.c - the attention of a worker, divided. */
#include "worker/shares.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const cronq_queue three[] = { { "low", 1 }, { "high", 6 }, { "middle", 3 } };

/* What a store would deliver: shares first, the rest in order, from these backlogs. */
static void deliver(const cq_want *wants, size_t count, uint32_t budget,
                    uint32_t *backlog, uint32_t *taken)
{
    memset(taken, 0, count * sizeof *taken);
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < count; i++) {
            uint32_t queue = wants[i].queue, most = pass ? budget : wants[i].share;

            if (most > budget)
                most = budget;
            if (most > backlog[queue])
                most = backlog[queue];
            taken[queue] += most;
            backlog[queue] -= most;
            budget -= most;
        }
    }
}

static void fetch(cq_shares *shares, uint32_t budget, uint32_t *backlog, uint32_t *sums)
{
    cq_want wants[CQ_QUEUES_LIMIT];
    uint32_t taken[CQ_QUEUES_LIMIT], asked = 0;

    cq_shares_plan(shares, budget, wants);
    for (size_t i = 0; i < shares->count; i++)
        asked += wants[i].share;
    assert_int_equal(asked, shares->strict ? 0 : budget);
    deliver(wants, shares->count, budget, backlog, taken);
    cq_shares_settle(shares, wants, taken);
    for (size_t i = 0; i < shares->count; i++)
        sums[i] += taken[i];
}

static void assert_within(uint32_t value, uint32_t expected, uint32_t percent)
{
    uint32_t slack = expected * percent / 100;

    if (value + slack < expected || value > expected + slack)
        fail_msg("%u is not within %u %% of %u", value, percent, expected);
}

static void full_queues_get_their_shares_whatever_the_budget(void **state)
{
    static const uint32_t budgets[] = { 1, 2, 3, 7, 10, 37, 74 };

    (void)state;
    for (size_t b = 0; b < sizeof budgets / sizeof budgets[0]; b++) {
        uint32_t backlog[3] = { 100000, 100000, 100000 }, sums[3] = { 0 }, total = 0;
        cq_shares shares;

        cq_shares_init(&shares, three, 3, false);
        while (total < 1000) {
            uint32_t left = 1000 - total;
            uint32_t budget = budgets[b] < left ? budgets[b] : left;

            fetch(&shares, budget, backlog, sums);
            total += budget;
        }
        assert_within(sums[1], 600, 2);
        assert_within(sums[2], 300, 2);
        assert_within(sums[0], 100, 2);
    }
}

static void what_an_empty_queue_leaves_is_shared_by_weight(void **state)
{
    uint32_t backlog[3] = { 100000, 0, 100000 }, sums[3] = { 0 };
    cq_shares shares;

    (void)state;
    cq_shares_init(&shares, three, 3, false);
    for (int i = 0; i < 100; i++)
        fetch(&shares, 10, backlog, sums);
    assert_int_equal(sums[1], 0);
    assert_within(sums[2], 750, 5);
    assert_within(sums[0], 250, 5);
}

static void a_drought_is_not_made_up_for(void **state)
{
    uint32_t backlog[3] = { 100000, 0, 100000 }, sums[3] = { 0 };
    cq_shares shares;

    (void)state;
    cq_shares_init(&shares, three, 3, false);
    for (int i = 0; i < 5000; i++) {
        backlog[0] = backlog[2] = 100000;
        fetch(&shares, 10, backlog, sums);
    }
    backlog[1] = 100000;
    memset(sums, 0, sizeof sums);
    for (int i = 0; i < 1000; i++)
        fetch(&shares, 10, backlog, sums);
    assert_within(sums[1], 6000, 10);
    assert_within(sums[2], 3000, 10);
    assert_within(sums[0], 1000, 10);
}

static void no_queue_starves_beside_a_heavy_one(void **state)
{
    static const cronq_queue queues[] = { { "a", 1000000 }, { "b", 1 } };
    uint32_t backlog[2] = { UINT32_MAX, 100 }, sums[2] = { 0 };
    cq_shares shares;

    (void)state;
    cq_shares_init(&shares, queues, 2, false);
    for (int i = 0; i < 20000; i++)
        fetch(&shares, 100, backlog, sums);
    assert_true(sums[1] >= 1);
}

static void strict_is_by_weight_alone(void **state)
{
    uint32_t backlog[3] = { 100, 25, 100 }, sums[3] = { 0 };
    cq_shares shares;

    (void)state;
    cq_shares_init(&shares, three, 3, true);
    fetch(&shares, 10, backlog, sums);
    fetch(&shares, 10, backlog, sums);
    assert_int_equal(sums[1], 20);
    fetch(&shares, 10, backlog, sums);
    assert_int_equal(sums[1], 25);
    assert_int_equal(sums[2], 5);
    assert_int_equal(sums[0], 0);
}

static void two_hundred_queues_are_each_wanted_once(void **state)
{
    cronq_queue queues[CQ_QUEUES_LIMIT];
    cq_want wants[CQ_QUEUES_LIMIT];
    bool seen[CQ_QUEUES_LIMIT] = { false };
    cq_shares shares;

    (void)state;
    for (uint32_t i = 0; i < CQ_QUEUES_LIMIT; i++)
        queues[i] = (cronq_queue){ "q", i % 9 + 1 };
    cq_shares_init(&shares, queues, CQ_QUEUES_LIMIT, false);
    cq_shares_plan(&shares, 1024, wants);
    for (size_t i = 0; i < CQ_QUEUES_LIMIT; i++) {
        assert_false(seen[wants[i].queue]);
        seen[wants[i].queue] = true;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(full_queues_get_their_shares_whatever_the_budget),
        cmocka_unit_test(what_an_empty_queue_leaves_is_shared_by_weight),
        cmocka_unit_test(a_drought_is_not_made_up_for),
        cmocka_unit_test(no_queue_starves_beside_a_heavy_one),
        cmocka_unit_test(strict_is_by_weight_alone),
        cmocka_unit_test(two_hundred_queues_are_each_wanted_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
