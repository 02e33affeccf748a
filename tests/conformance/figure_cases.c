/* SPDX-License-Identifier: MIT */
/* conformance/figure_cases.c - what a store tells for those who measure. */
#include "conformance/cases.h"

#include "base/clock.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define PAYLOAD_BYTES 10000
#define TASKS         20

static void push_heavy(cq_broker *broker, const char *id, cq_str group)
{
    char *message = calloc(1, PAYLOAD_BYTES);

    assert_non_null(message);
    assert_int_equal(
        conformance_push_item(broker,
                              &(cq_push){ .kind = group.len ? CQ_PUSH_GROUP : CQ_PUSH_NOW,
                                          .queue = CQ_STR("q"),
                                          .id = cq_str_of(id),
                                          .group = group,
                                          .message = { message, PAYLOAD_BYTES } }),
        CRONQ_OK);
    free(message);
}

static void push_some(cq_broker *broker, const char *head, cq_str group)
{
    char id[32];

    for (int i = 0; i < TASKS; i++) {
        snprintf(id, sizeof id, "%s%d", head, i);
        push_heavy(broker, id, group);
    }
}

static void the_memory_of_a_queue_is_about_that_of_its_tasks(void **state)
{
    cq_broker *broker = broker_of(state);
    uint64_t pending;

    push_some(broker, "p", CQ_STR(""));
    pending = conformance_counts(broker, "q").memory_bytes;
    assert_in_range(pending, TASKS * PAYLOAD_BYTES, 2 * TASKS * PAYLOAD_BYTES);
    push_some(broker, "g", CQ_STR("G"));
    assert_in_range(conformance_counts(broker, "q").memory_bytes,
                    2 * TASKS * PAYLOAD_BYTES, 4 * TASKS * PAYLOAD_BYTES);
}

static void a_brief_look_estimates_what_is_in_groups(void **state)
{
    cq_broker *broker = broker_of(state);
    cq_queue_counts counts = { .brief = true };
    char group[16];

    for (int i = 0; i < 50; i++) {
        snprintf(group, sizeof group, "%d", i);
        push_heavy(broker, group, cq_str_of(group));
    }
    assert_int_equal(
        broker->inspect->counts(broker, CQ_STR("q"), CONFORMANCE_NOW_NS, &counts, NULL),
        CRONQ_OK);
    assert_int_equal(counts.groups, 50);
    assert_int_equal(counts.aggregating, 50);
}

static void a_task_is_told_since_when_it_could_run(void **state)
{
    cq_broker *broker = broker_of(state);
    cq_intake *intake = conformance_intake(broker, "q");
    conformance_exchange x;

    conformance_push(broker, "q", "a");
    conformance_push(broker, "q", "b");
    conformance_exchange_init(&x, 7);
    assert_int_equal(conformance_take(&x, intake, 1, 2), 2);
    assert_int_equal(x.exchange.deliveries[0].ready_at_ns / CQ_NS_PER_MS,
                     CONFORMANCE_NOW_NS / CQ_NS_PER_MS);
    conformance_exchange_release(&x);
    intake->ops->intake_close(intake);
}

static void connections_are_counted(void **state)
{
    cq_broker *broker = broker_of(state);

    conformance_push(broker, "q", "a");
    assert_true(atomic_load(&broker->opened_count) > 0);
}

const conformance_case conformance_figure_cases[] = {
    CONFORMANCE_CASE(the_memory_of_a_queue_is_about_that_of_its_tasks),
    CONFORMANCE_CASE(a_brief_look_estimates_what_is_in_groups),
    CONFORMANCE_CASE(a_task_is_told_since_when_it_could_run),
    CONFORMANCE_CASE(connections_are_counted),
    { 0 },
};
