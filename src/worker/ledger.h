/* SPDX-License-Identifier: MIT */
/* worker/ledger.h - what a worker has in hand, in memory that it shares with its
 * supervisor: it survives the worker.
 *
 * A row: FREE -> TAKEN by the fetcher, STARTED and ENDED by the worker thread that runs
 * it (or CRASHED by its signal handler), FREE again by the fetcher when its outcome is
 * answered for. The list of free rows is the fetcher's own. What found no row is only
 * found when its lease runs out. */
#ifndef CQ_WORKER_LEDGER_H
#define CQ_WORKER_LEDGER_H

#include "base/str.h"
#include "base/thread.h"
#include "worker/crash.h"

#define CQ_LEDGER_ID_BYTES   1024 /* CQ_ID_LIMIT_BYTES */
#define CQ_LEDGER_TYPE_BYTES 256

typedef enum cq_row_state {
    CQ_ROW_FREE,
    CQ_ROW_TAKEN,
    CQ_ROW_STARTED,
    CQ_ROW_ENDED,
    CQ_ROW_CRASHED,
} cq_row_state;

typedef struct cq_row {
    _Atomic int state; /* cq_row_state */
    uint32_t queue, fence;
    int64_t taken_at_ns;
    uint32_t id_len;
    char id[CQ_LEDGER_ID_BYTES];
    char type[CQ_LEDGER_TYPE_BYTES]; /* its beginning */
} cq_row;

typedef struct cq_ledger_shared {
    _Atomic uint64_t changes;
    _Atomic uint32_t open, crashed; /* rows that are not FREE; of these, CRASHED */
    atomic_bool reported;           /* a thread has crashed */
    atomic_bool over;               /* the worker ended as it should, with `final` */
    cronq_error final;
    cq_row rows[];
} cq_ledger_shared;

typedef struct cq_ledger {
    cq_ledger_shared *shared;
    uint32_t row_count, *free, free_count;
} cq_ledger;

/* ENOMEM. */
cronq_status cq_ledger_init(cq_ledger *ledger, uint32_t concurrency, cronq_error *err);
void cq_ledger_release(cq_ledger *ledger);
/* The supervisor, between two workers. */
void cq_ledger_clear(cq_ledger *ledger);

/* Numbers are from 1; 0: it has no row. */
uint32_t cq_ledger_take(cq_ledger *ledger, uint32_t queue, uint32_t fence, cq_str id,
                        const char *type, int64_t taken_at_ns);
void cq_ledger_set(cq_ledger *ledger, uint32_t row, cq_row_state state);
void cq_ledger_free(cq_ledger *ledger, uint32_t row);

/* What a crashing thread tells the supervisor, twice: without and with the frames. */
typedef struct cq_report {
    uint32_t row; /* 0: no task's */
    cq_crash crash;
} cq_report;

/* reporter.c: from now on a thread that crashes reports to pipe_fd, sets the event, and
 * parks for ever. One worker a process. */
void cq_reporter_start(cq_ledger *ledger, int pipe_fd, const cq_event *crashed);
/* This thread runs the task of this row; 0: none. */
void cq_reporter_run(uint32_t row);

#endif
