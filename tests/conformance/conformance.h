/* SPDX-License-Identifier: MIT */
/* conformance/conformance.h - what every broker must do: one list of cases, run over
 * each.
 *
 * A test program gives a store that opens brokers over one and the same data and wipes it
 * before each case. What only one kind of store can do (forget its scripts, be restarted)
 * is tested beside that store. */
#ifndef CQ_TEST_CONFORMANCE_H
#define CQ_TEST_CONFORMANCE_H

#include "broker/broker.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

typedef struct conformance_store conformance_store;
struct conformance_store {
    /* Fails the test when it can not. options: without URI and logger. */
    cq_broker *(*open)(conformance_store *store, const cq_broker_options *options);
    void (*wipe)(conformance_store *store);
    bool polls;        /* waiting is looking now and then: its cases are left out */
    cq_broker *broker; /* of the case that runs, with the periods of a test */
};

/* Run the list; the number of failed cases, as main returns it. */
int conformance_run(const char *name, conformance_store *store);

/* ---- for cases ---- */

/* Leases last so long there. */
#define CONFORMANCE_LEASE_MS 10000

/* A moment that is not a whole second, the same in all cases that need no real clock. */
#define CONFORMANCE_NOW_NS INT64_C(2000000000123456789)

/* An encoded message of the task id in the queue, of type "t", in a static ring. */
cronq_bytes conformance_message(const char *queue, const char *id);

/* Push one task now, and expect a status. */
void conformance_push(cq_broker *broker, const char *queue, const char *id);
cronq_status conformance_push_item(cq_broker *broker, cq_push *item);

/* An intake of queues that are separated by spaces. */
cq_intake *conformance_intake(cq_broker *broker, const char *queues);

/* One exchange, all of it. Deliveries stay until the next call. */
typedef struct conformance_exchange {
    cq_exchange exchange;
    cq_want wants[16];
    cq_arena arena;
} conformance_exchange;

void conformance_exchange_init(conformance_exchange *x, uint32_t fence);
void conformance_exchange_release(conformance_exchange *x);
/* Take up to budget, queues in their order with no shares. */
size_t conformance_take(conformance_exchange *x, cq_intake *intake, size_t queues,
                        uint32_t budget);
/* Write one outcome of a task taken with x's fence; its status. */
cronq_status conformance_settle(conformance_exchange *x, cq_intake *intake,
                                cq_outcome *outcome);
/* As many outcomes at once. */
void conformance_settle_all(conformance_exchange *x, cq_intake *intake,
                            cq_outcome *outcomes, size_t count);
/* An outcome of a task of queue 0 taken at CONFORMANCE_NOW_NS. */
cq_outcome conformance_outcome(cq_outcome_kind kind, const char *id, uint32_t fence);
cq_queue_counts conformance_counts(cq_broker *broker, const char *queue);

/* The ids taken, separated by spaces, in a static buffer. */
const char *conformance_ids(const conformance_exchange *x);

#endif
