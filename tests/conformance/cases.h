/* SPDX-License-Identifier: MIT */
/* conformance/cases.h - the lists of cases, one a file. */
#ifndef CQ_TEST_CONFORMANCE_CASES_H
#define CQ_TEST_CONFORMANCE_CASES_H

#include "conformance/conformance.h"

typedef struct conformance_case {
    const char *name;
    void (*run)(void **state);
} conformance_case;

#define CONFORMANCE_CASE(function) \
    {                              \
#function, function        \
    }

/* Each ends with a row of zeros. */
extern const conformance_case conformance_push_cases[];
extern const conformance_case conformance_exchange_cases[];
extern const conformance_case conformance_lease_cases[];
extern const conformance_case conformance_wait_cases[];
extern const conformance_case conformance_inspect_cases[];
extern const conformance_case conformance_group_cases[];
extern const conformance_case conformance_archive_cases[];
extern const conformance_case conformance_figure_cases[];

static inline cq_broker *broker_of(void **state)
{
    return ((conformance_store *)*state)->broker;
}

#endif
