/* SPDX-License-Identifier: MIT */
/* conformance/exchange_cases.c - taking tasks and writing outcomes. */
#include "conformance/cases.h"

static cq_outcome outcome_of(cq_outcome_kind kind, const char *id, uint32_t fence)
{
    return (cq_outcome){ .kind = kind,
                         .fence = fence,
                         .taken_at_ns = CONFORMANCE_NOW_NS,
                         .id = cq_str_of(id) };
}

static void done_is_written_once(void **state)
{
    cq_broker *broker = broker_of(state);
    cq_intake *intake = conformance_intake(broker, "q");
    cq_outcome done = outcome_of(CQ_DONE, "a", 7);
    conformance_exchange x;

    conformance_exchange_init(&x, 7);
    conformance_push(broker, "q", "a");
    assert_int_equal(conformance_take(&x, intake, 1, 1), 1);
    assert_int_equal(conformance_settle(&x, intake, &done), CRONQ_OK);
    assert_int_equal(conformance_settle(&x, intake, &done), CRONQ_ESTATE);
    conformance_push(broker, "q", "a");
    conformance_exchange_release(&x);
    intake->ops->intake_close(intake);
}

const conformance_case conformance_exchange_cases[] = {
    CONFORMANCE_CASE(done_is_written_once),
    { 0 },
};
