/* SPDX-License-Identifier: MIT */
/* worker/counters.h - what a worker has done since it started, for whoever measures. */
#ifndef CQ_WORKER_COUNTERS_H
#define CQ_WORKER_COUNTERS_H

#include <stdatomic.h>
#include <stdint.h>

/* Read and written without order: each is right by itself. */
typedef struct cq_worker_counters {
    _Atomic uint64_t fetched;
    _Atomic uint64_t done;        /* completed and dropped ones too */
    _Atomic uint64_t failed;      /* attempts that counted as failures */
    _Atomic uint64_t retried;     /* put into retry, counted or not */
    _Atomic uint64_t archived;    /* by an outcome */
    _Atomic uint64_t given_back;  /* uncharged, not started or at the stop */
    _Atomic uint64_t lost;        /* the lease was lost, the outcome not written */
    _Atomic uint64_t recovered;   /* leases of the dead that this worker put back */
    _Atomic uint64_t quarantined; /* could not be read */
    _Atomic uint64_t stuck;       /* handlers that ran on well after their deadline */
} cq_worker_counters;

static inline void cq_count(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

#endif
