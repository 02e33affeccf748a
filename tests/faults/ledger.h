/* SPDX-License-Identifier: MIT */
/* faults/ledger.h - what a store was asked and what it answered, and whether it still has
 * what it accepted.
 *
 * The ledger is in memory that child processes share, so that it survives their being
 * killed. A task is a number, which is its id. Each step is noted before it is taken and
 * again when it was answered. */
#ifndef CQ_TEST_FAULTS_LEDGER_H
#define CQ_TEST_FAULTS_LEDGER_H

#include "broker/broker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>

#include <cmocka.h>

enum {
    LEDGER_TRIED = 1,    /* a push was begun */
    LEDGER_ACCEPTED = 2, /* it was answered with OK */
    LEDGER_FINISHED = 4, /* that it is done was sent */
    LEDGER_RECORDED = 8, /* and answered with OK */
    LEDGER_TASKS = 1 << 20,
};

typedef struct ledger {
    _Atomic uint32_t next; /* the number of the next task */
    _Atomic uint8_t tasks[LEDGER_TASKS];
    _Atomic uint32_t runs[LEDGER_TASKS];   /* how often it was taken */
    _Atomic uint32_t causes[LEDGER_TASKS]; /* how often it was put or given back */
} ledger;

ledger *ledger_new(void);
void ledger_free(ledger *l);

/* A broker on the store, with short periods. */
cq_broker *ledger_open(const char *uri, int64_t timeout_ms);

/* Push count new tasks; the status of the whole. */
cronq_status ledger_push(ledger *l, cq_broker *broker, size_t count, cronq_error *err);

/* An intake of their queue, and what it has taken and not finished. */
typedef struct ledger_worker {
    cq_broker *broker;
    cq_intake *intake;
    cq_arena arena;
    cq_outcome outcomes[CQ_BATCH_LIMIT];
    char ids[CQ_BATCH_LIMIT][16], messages[CQ_BATCH_LIMIT][256];
    size_t count;
    uint32_t fence;
} ledger_worker;

void ledger_worker_init(ledger_worker *w, cq_broker *broker, uint32_t fence);
void ledger_worker_release(ledger_worker *w);

/* One exchange: finishes everything in hand (done, but of every eighth something else),
 * and takes up to budget. On failure all stays in hand. */
cronq_status ledger_exchange(ledger *l, ledger_worker *w, uint32_t budget,
                             cronq_error *err);

/* What dead workers had goes back to pending. */
cronq_status ledger_recover(ledger *l, cq_broker *broker, cronq_error *err);

/* The file is whole, by integrity_check and by fsck; every accepted task that was not
 * finished is stored, none that was recorded as done is, and nothing else; none was taken
 * again without a cause. Fails the test, naming when. Nobody else works on
 * the file. */
void ledger_check(const ledger *l, const char *path, const char *when);

/* After a power cut what was not waited for may be undone: tasks that were recorded as
 * done may be back, and with lossy accepted ones may be gone. The file is whole. */
void ledger_check_cut(const ledger *l, const char *path, bool lossy, const char *when);

/* The same of a file on which a writer may have been stopped anywhere. False when what it
 * holds keeps others from reading: to be tried again. */
bool ledger_check_busy(const ledger *l, const char *path, const char *when);

#endif
