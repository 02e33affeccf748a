/* SPDX-License-Identifier: MIT */
/* worker/mourn.h - what becomes of the tasks that a dead worker had in hand. */
#ifndef CQ_WORKER_MOURN_H
#define CQ_WORKER_MOURN_H

#include "worker/ledger.h"
#include "worker/worker.h"

#define CQ_DEATHS_LIMIT 3 /* then a task is poison */

/* A row that was left behind, and of a culprit its crash. */
typedef struct cq_dead {
    cq_row row;
    cq_report report; /* row 0: it did not crash */
} cq_dead;

/* In a process of its own. Archive culprits, and tell on_archive of them; give back the
 * rest, uncharged, through a connection of its own. When nobody reported (any other
 * death), what was started is charged a death, and archived at the third. Tried again for
 * as long as the leases last. */
cronq_status cq_worker_mourn(cq_worker *worker, const cq_dead *dead, size_t count,
                             bool reported, cronq_error *err);

/* How long it goes on trying, but for a call to the store that hangs. */
int64_t cq_worker_mourn_ms(const cq_worker *worker);

#endif
