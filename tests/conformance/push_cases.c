/* SPDX-License-Identifier: MIT */
/* conformance/push_cases.c - pushing. */
#include "conformance/cases.h"

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
    assert_int_equal(x.exchange.deliveries[0].message.len, message.len);
    assert_memory_equal(x.exchange.deliveries[0].message.data, message.data, message.len);
    assert_int_equal(conformance_take(&x, intake, 1, 10), 0);
    conformance_exchange_release(&x);
    intake->ops->intake_close(intake);
}

static void an_id_that_exists_is_refused(void **state)
{
    cq_broker *broker = broker_of(state);
    cq_push item = { .queue = CQ_STR("q"), .id = CQ_STR("a") };

    conformance_push(broker, "q", "a");
    assert_int_equal(conformance_push_item(broker, &item), CRONQ_EEXIST);
    item.kind = CQ_PUSH_LATER;
    item.run_at_s = 2000000060;
    assert_int_equal(conformance_push_item(broker, &item), CRONQ_EEXIST);
    conformance_push(broker, "other", "a");
}

const conformance_case conformance_push_cases[] = {
    CONFORMANCE_CASE(a_task_is_delivered_with_its_bytes),
    CONFORMANCE_CASE(an_id_that_exists_is_refused),
    { 0 },
};
