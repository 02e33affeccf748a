/* SPDX-License-Identifier: MIT */
/* worker/fetcher.h - the loop that brings outcomes to the store and tasks from it.
 *
 * Everything here belongs to the thread that leads, but for what is atomic, and but for
 * the time before its start and after its end. The fetcher's thread leads. While it has
 * nothing to do until the desk is empty it puts the lead down (sleep is CQ_BATCHING): who
 * changes that has the lead then, and puts it down likewise or hands it back.
 *
 * Where an attempt is: on the desk or with a worker thread (in_hand counts both), then
 * among the finished, in the outbox, in a flight, and answered; or parked, when its queue
 * refuses outcomes. So in_hand + asked for + ahead never exceeds what may be taken.
 *
 * A fetch whose answer was lost may have taken tasks: its k is kept until the leases that
 * it made are over, and they are looked for once a beat. */
#ifndef CQ_WORKER_FETCHER_H
#define CQ_WORKER_FETCHER_H

#include "base/thread.h"
#include "worker/batch.h"
#include "worker/shares.h"

#define CQ_FLIGHTS      2
#define CQ_AHEAD_LIMIT  240
#define CQ_LOST_FETCHES 64

/* One exchange under way. */
typedef struct cq_flight {
    cq_exchange exchange;
    cq_batch *batch;         /* for what it fetches; NULL with no budget */
    int64_t sent_at_mono_ns; /* with metrics */
    cq_want wants[CQ_QUEUES_LIMIT];
    cq_outcome outcomes[CQ_BATCH_LIMIT];
    cronq_attempt *attempts[CQ_BATCH_LIMIT]; /* whose outcomes these are */
} cq_flight;

typedef struct cq_chain {
    cronq_attempt *first, *last;
    size_t count;
} cq_chain;

typedef struct cq_lost_fetch {
    uint32_t fence;
    int64_t until_ns; /* store's clock */
} cq_lost_fetch;

typedef enum cq_sleep {
    CQ_AWAKE,
    CQ_NAPPING,  /* until any news */
    CQ_WAITING,  /* in the intake's wait, until any news */
    CQ_BATCHING, /* until a worker thread has run dry: nobody leads */
} cq_sleep;

typedef struct cq_fetcher {
    struct cq_worker *worker;
    pthread_t thread;
    bool running;

    cq_flight *flights; /* CQ_FLIGHTS of them, a ring */
    size_t oldest, in_air;
    cq_chain outbox, parked;
    int64_t parked_until_mono_ns;
    size_t in_hand, asked; /* asked: budgets in the air */

    uint32_t fence; /* of the last fetch */
    cq_shares shares;
    bool more_work; /* a fetch may find something */
    bool flow;      /* the last fetch was full: overlap two */
    bool more_due;
    bool batched;        /* has waited for a batch since the last answer */
    int64_t forwarded_s; /* store's second of the last forward */
    int64_t mean_ns;     /* running mean of handlers; negative: unknown */
    bool must_nudge;     /* something waits for the thread that does brief tasks */
    uint32_t small_left; /* deliveries until taking ahead is allowed again */

    cq_lost_fetch lost[CQ_LOST_FETCHES];
    size_t lost_count;
    int64_t look_at_mono_ns;

    uint32_t failures;    /* in a row */
    uint32_t bad_answers; /* among them */
    int64_t retry_at_mono_ns;
    int64_t down_since_mono_ns;
    cq_random random;

    /* For other threads. */
    cq_event nap;
    _Atomic int sleep;       /* cq_sleep */
    atomic_bool handed_back; /* the lead, to the fetcher's thread */
    _Atomic uint32_t leads;  /* how often a worker thread has led */
    atomic_bool poked;       /* something below has changed */
    atomic_bool stopping, give_up;
    atomic_bool idle;
    _Atomic int64_t forwarded_mono_ns;
    _Atomic uint64_t turns; /* how often its thread went round */
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool finished;               /* under mutex: the loop has ended */
    _Atomic size_t in_hand_seen; /* a copy of in_hand */
} cq_fetcher;

cronq_status cq_fetcher_init(cq_fetcher *fetcher, struct cq_worker *worker,
                             cronq_error *err);
void cq_fetcher_release(cq_fetcher *fetcher);
cronq_status cq_fetcher_start(cq_fetcher *fetcher, cronq_error *err);

/* A worker thread: an attempt has ended. Costs nothing unless the fetcher sleeps. */
void cq_fetcher_wake(cq_fetcher *fetcher);
/* A worker thread: there is no more to run. Where handlers are brief it makes the next
 * exchanges itself, while the fetcher's thread stands by: nobody has to be woken. */
void cq_fetcher_run_dry(cq_fetcher *fetcher);
/* Any thread: a flag has changed. */
void cq_fetcher_poke(cq_fetcher *fetcher);

/* Wait until the loop has ended, or until_mono_ns: false. */
bool cq_fetcher_wait_end(cq_fetcher *fetcher, int64_t until_mono_ns);
void cq_fetcher_join(cq_fetcher *fetcher);

/* flight.c: send an exchange with what is in the outbox and this budget; take the answer
 * of the oldest. On failure everything in it is as before, or known to be lost. */
cronq_status cq_flight_send(cq_fetcher *fetcher, uint32_t budget, cronq_error *err);
cronq_status cq_flight_receive(cq_fetcher *fetcher, cronq_error *err);

/* take.c: make attempts of deliveries and put them on the desk. The batch is used up. */
void cq_take_deliveries(cq_fetcher *fetcher, cq_batch *batch,
                        const cq_delivery *deliveries, size_t count, uint32_t fence,
                        int64_t now_ns);
/* take.c: start what lost fetches took. Nothing may be in the air. */
cronq_status cq_take_lost(cq_fetcher *fetcher);
void cq_remember_lost(cq_fetcher *fetcher, uint32_t fence, int64_t now_ns);

/* The answer for its outcome is here, or nobody waits for it. */
void cq_fetcher_retire(cq_fetcher *fetcher, cronq_attempt *attempt);

static inline void cq_chain_append(cq_chain *chain, cronq_attempt *attempt)
{
    attempt->next = NULL;
    if (chain->count++ == 0)
        chain->first = attempt;
    else
        chain->last->next = attempt;
    chain->last = attempt;
}

static inline cronq_attempt *cq_chain_take(cq_chain *chain)
{
    cronq_attempt *attempt = chain->first;

    if (!attempt)
        return NULL;
    chain->first = attempt->next;
    chain->count--;
    return attempt;
}

/* All of head before all of chain. */
static inline void cq_chain_prepend(cq_chain *chain, cq_chain *head)
{
    if (head->count == 0)
        return;
    head->last->next = chain->count ? chain->first : NULL;
    if (chain->count == 0)
        chain->last = head->last;
    chain->first = head->first;
    chain->count += head->count;
    *head = (cq_chain){ 0 };
}

#endif
