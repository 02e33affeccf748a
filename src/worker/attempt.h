/* SPDX-License-Identifier: MIT */
/* worker/attempt.h - one run of one task, from the fetch to the answer for its outcome.
 *
 * Phases, and who makes the step:
 *
 *   QUEUED ──worker thread──> RUNNING ──worker thread──> FINISHED ──fetcher──> ANSWERED
 *      └──────────────── fetcher, giving it back ───────────^
 *
 * The fetcher makes an attempt in the arena of its batch and owns it but for the time
 * between the desk's take and finish, when it is the worker thread's. What others may
 * touch meanwhile, as long as they hold the live list or a reference to the batch: what
 * never changes after the making (message, id, type, queue, fence), and the atomics. */
#ifndef CQ_WORKER_ATTEMPT_H
#define CQ_WORKER_ATTEMPT_H

#include "base/random.h"
#include "worker/outcome.h"

#include <cronq/server.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdatomic.h>

/* A reason beside the statuses: the server stops, it is not the task's fault. Handlers
 * are told ECANCELED. */
#define CQ_ABORTED 1

typedef enum cq_phase { CQ_QUEUED, CQ_RUNNING, CQ_FINISHED, CQ_ANSWERED } cq_phase;

struct cq_attempt_trace;
struct cq_batch;
struct cq_inside;
struct cq_seat;
struct cq_type;
struct cq_worker;

/* Where a panic leads: the innermost call of user code. */
typedef struct cq_escape {
    struct cq_escape *outer;
    pthread_t thread;
    jmp_buf frame;
} cq_escape;

struct cronq_attempt {
    struct cq_worker *worker;
    struct cq_batch *batch;
    cronq_attempt *next; /* on the desk, among the finished or in the outbox */

    cq_message message;
    cronq_bytes raw;       /* the message as it was delivered */
    const char *id, *type; /* NUL-terminated */
    const cronq_header *headers;
    uint32_t queue, fence;
    uint32_t row;        /* in the ledger; 0: none */
    int64_t taken_at_ns; /* store's clock */
    int64_t queued_at_mono_ns;
    int64_t ready_at_ns; /* store's clock: since when it could run; 0: unknown */

    _Atomic int phase;  /* cq_phase */
    _Atomic int reason; /* why it is cancelled: a cronq_status or CQ_ABORTED; 0: not */
    atomic_bool lost;   /* the store said that the lease is not ours any more */
    _Atomic int64_t deadline_mono_ns;
    _Atomic int64_t lease_until_ns; /* store's clock, as far as we know */
    bool stuck;                     /* the deadline thread's: it was reported */
    int cancel_fd;                  /* under the worker's cancel mutex; -1: none */

    struct cq_seat *seat;     /* of its child; under the cancel mutex */
    uint32_t run;             /* its number there */
    struct cq_inside *inside; /* in a child: the way to the worker; else NULL */

    /* The worker thread's, then the fetcher's. */
    struct cq_type *measures;       /* of its type; NULL without metrics */
    struct cq_attempt_trace *trace; /* while it runs; NULL without a tracer */
    int64_t started_at_mono_ns, ended_at_mono_ns, started_at_ns, deadline_at_ns;
    int64_t retry_in_ms; /* negative: the server's own delay */
    bool retry_asked, retry_counted;
    bool unwritten;    /* there is no outcome to write: the lease is lost */
    bool sent;         /* the outcome was sent, the answer lost */
    cq_escape *escape; /* while user code runs */
    cq_buf error_text;
    cq_arena memory;
    cq_buf rewritten; /* the message of the outcome, and the line of its failure */
    cq_outcome outcome;
};

/* A delivered task; the bytes and the arena live as long as the attempt. EPROTO when the
 * message can not be used, with the reason; ENOMEM. */
cronq_status cq_attempt_init(cronq_attempt *attempt, struct cq_worker *worker,
                             const cq_delivery *delivery, cq_arena *arena,
                             cronq_error *err);
/* Frees what the handler and the outcome needed. */
void cq_attempt_release(cronq_attempt *attempt);

static inline cq_phase cq_attempt_phase(cronq_attempt *attempt)
{
    return (cq_phase)atomic_load(&attempt->phase);
}

/* Set the flag and the descriptor, unless it is set already or the attempt has ended. Any
 * thread; the caller keeps the attempt alive. True when this call did it. */
bool cq_attempt_cancel(cronq_attempt *attempt, int reason);

/* Run it on this thread: the handler unless it is cancelled or too late, callbacks, and
 * the outcome. */
void cq_attempt_run(cronq_attempt *attempt, cq_random *random);

/* The same in steps: false when the handler must not be called; what the handler
 * returned; or it was not started after all. */
bool cq_attempt_begin(cronq_attempt *attempt);
void cq_attempt_end(cronq_attempt *attempt, cronq_status status, cq_random *random);
void cq_attempt_undo_begin(cronq_attempt *attempt);

/* While a child runs it, cancelling reaches it there. */
void cq_attempt_enter_seat(cronq_attempt *attempt, struct cq_seat *seat, uint32_t run);
void cq_attempt_leave_seat(cronq_attempt *attempt);

/* What the handler said, as cronq_attempt_fail keeps it. */
void cq_attempt_set_text(cronq_attempt *attempt, const char *prefix, const char *text,
                         size_t len);

/* Make the outcome of one that is to go back unstarted. */
void cq_attempt_give_back(cronq_attempt *attempt);

#endif
