/* SPDX-License-Identifier: MIT */
/* worker/heartbeat.h - the thread that keeps leases alive and tells what runs.
 *
 * Alone, so that nothing delays it; and leases first, because a late lease costs a task
 * and a late beat only a look. */
#ifndef CQ_WORKER_HEARTBEAT_H
#define CQ_WORKER_HEARTBEAT_H

#include "base/random.h"
#include "worker/batch.h"

typedef struct cq_heartbeat {
    struct cq_worker *worker;
    pthread_t thread;
    bool running;
    char host[256];
    char server_id[CQ_UUID_LEN + 1];
    int64_t started_at_ns;  /* store's clock */
    bool failing;           /* the store did not answer in this beat */
    _Atomic uint64_t turns; /* how often its thread went round */
    bool reported;          /* … and extending failed, which was logged */

    /* Of one beat, kept for the next. */
    cq_batch **batches;
    size_t batch_count, batch_room;
    cq_lease *leases;
    cronq_attempt **attempts; /* of the leases */
    size_t lease_room;
} cq_heartbeat;

void cq_heartbeat_init(cq_heartbeat *heartbeat, struct cq_worker *worker);
void cq_heartbeat_release(cq_heartbeat *heartbeat);

/* Beats until the worker ends, then takes its traces out of the store. */
cronq_status cq_heartbeat_start(cq_heartbeat *heartbeat, cronq_error *err);
void cq_heartbeat_join(cq_heartbeat *heartbeat); /* not running: fine */

#endif
