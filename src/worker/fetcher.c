/* SPDX-License-Identifier: MIT */
/* fetcher.c - the loop: when to exchange, how much to take, when to sleep. */
#include "base/clock.h"
#include "base/error.h"
#include "worker/internal.h"

#include <sched.h>
#include <stdlib.h>

#define AHEAD_WORK_NS        (5 * CQ_NS_PER_MS)
#define AHEAD_PATIENCE_NS    (100 * CQ_NS_PER_MS)
#define MEAN_SHIFT           4 /* the running mean forgets a sixteenth with each task */
#define REST_LEAST_NS        CQ_NS_PER_MS
#define BATCH_WORK_NS        (500 * 1000)
#define BATCH_PATIENCE_MS    1
#define BRIEF_NS             (10 * 1000) /* about what waking a thread costs */
#define BRIEF_PATIENCE_NS    CQ_NS_PER_MS
#define RETRY_FIRST_MS       50
#define RETRY_LIMIT_MS       1000 /* the broker spaces out its dialling itself */
#define RETRY_DOUBLINGS      5
#define BAD_ANSWERS_REPORTED 2

/* ---- how much ---- */

static size_t ahead(const cq_fetcher *fetcher)
{
    const cronq_server_options *options = fetcher->worker->options;
    int64_t fits;

    if (options->strict_priority || options->no_take_ahead || fetcher->small_left ||
        fetcher->mean_ns < 0)
        return 0;
    fits = AHEAD_WORK_NS / (fetcher->mean_ns + 1);
    return fits < CQ_AHEAD_LIMIT ? (size_t)fits : CQ_AHEAD_LIMIT;
}

static size_t capacity(const cq_fetcher *fetcher)
{
    return fetcher->worker->options->concurrency + ahead(fetcher);
}

/* Tasks that may be asked for now. None while outcomes pile up: what can not be answered
 * for is not taken. And none without handlers: each would only lose a retry here. */
static uint32_t free_slots(cq_fetcher *fetcher)
{
    size_t may = capacity(fetcher), used = fetcher->in_hand + fetcher->asked, slots;
    size_t unanswered = fetcher->outbox.count + fetcher->parked.count;

    if (atomic_load(&fetcher->worker->quiet) || used >= may)
        return 0;
    if (cq_mux_is_empty(&fetcher->worker->mux))
        return 0;
    if (unanswered > fetcher->worker->options->concurrency + CQ_BATCH_LIMIT)
        return 0;
    slots = may - used;
    return slots < CQ_BATCH_LIMIT ? (uint32_t)slots : CQ_BATCH_LIMIT;
}

static bool overlaps(const cq_fetcher *fetcher)
{
    return fetcher->flow && fetcher->worker->intake->max_in_flight > 1;
}

/* Two exchanges share the slots between them. */
static uint32_t next_budget(cq_fetcher *fetcher)
{
    size_t slots = free_slots(fetcher), half = (capacity(fetcher) + 1) / 2;

    if (overlaps(fetcher) && slots > half)
        slots = half;
    return (uint32_t)slots;
}

/* With one in the air another is sent only when it is worth a round trip. */
static bool should_send(cq_fetcher *fetcher, uint32_t budget)
{
    size_t outcomes = fetcher->outbox.count;

    if (cq_mono_ns() < fetcher->retry_at_mono_ns)
        return false;
    if (fetcher->in_air == 0)
        return outcomes || (budget && fetcher->more_work) || fetcher->more_due;
    if (fetcher->in_air >= CQ_FLIGHTS || !overlaps(fetcher))
        return false;
    return outcomes + budget > capacity(fetcher) / 4;
}

/* ---- what came back ---- */

static void note_duration(cq_fetcher *fetcher, const cronq_attempt *attempt)
{
    int64_t ns = attempt->ended_at_mono_ns - attempt->started_at_mono_ns;

    if (fetcher->mean_ns < 0)
        fetcher->mean_ns = ns;
    else
        fetcher->mean_ns += (ns - fetcher->mean_ns) / (1 << MEAN_SHIFT);
}

static bool is_brief(const cq_fetcher *fetcher)
{
    return fetcher->mean_ns >= 0 && fetcher->mean_ns < BRIEF_NS;
}

static void collect(cq_fetcher *fetcher)
{
    cq_worker *worker = fetcher->worker;
    cronq_attempt *attempt = cq_desk_collect(&worker->desk);

    if (!attempt)
        return;
    for (cronq_attempt *next; attempt; attempt = next) {
        next = attempt->next;
        fetcher->in_hand--;
        note_duration(fetcher, attempt);
        if (attempt->unwritten) {
            cq_count(&worker->counters.lost, 1);
            CQ_METRICS_ADD(worker->metrics, leases_lost, 1);
            cq_fetcher_retire(fetcher, attempt);
        } else {
            cq_chain_append(&fetcher->outbox, attempt);
        }
    }
    cq_desk_set_brief(&worker->desk, is_brief(fetcher));
}

/* One thread does all brief tasks; when one of them was not brief after all, others must
 * come. */
static void nudge(cq_fetcher *fetcher)
{
    cq_desk *desk = &fetcher->worker->desk;

    fetcher->must_nudge = fetcher->in_hand && is_brief(fetcher) &&
                          cq_desk_nudge(desk, cq_mono_ns() - BRIEF_PATIENCE_NS);
}

static void unpark(cq_fetcher *fetcher)
{
    if (fetcher->parked.count && cq_mono_ns() >= fetcher->parked_until_mono_ns)
        cq_chain_prepend(&fetcher->outbox, &fetcher->parked);
}

/* Give back what waits for a thread: when we are quiet, or when the oldest has lost its
 * patience and every thread is busy. Then handlers are slower than they were, so nothing
 * more is taken ahead until they are short again. */
static void give_back_waiting(cq_fetcher *fetcher)
{
    cq_desk *desk = &fetcher->worker->desk;
    bool quiet = atomic_load(&fetcher->worker->quiet);
    cronq_attempt *attempt;

    if (fetcher->in_hand == 0)
        return;
    if (!quiet && cq_desk_oldest_mono_ns(desk) > cq_mono_ns() - AHEAD_PATIENCE_NS)
        return;
    attempt = cq_desk_take_back(desk, !quiet);
    if (attempt && !quiet)
        fetcher->mean_ns = AHEAD_PATIENCE_NS;
    for (cronq_attempt *next; attempt; attempt = next) {
        next = attempt->next;
        fetcher->in_hand--;
        cq_attempt_give_back(attempt);
        cq_chain_append(&fetcher->outbox, attempt);
    }
}

/* ---- the store goes and comes ---- */

static void back_off(cq_fetcher *fetcher)
{
    uint32_t doublings =
        fetcher->failures < RETRY_DOUBLINGS ? fetcher->failures : RETRY_DOUBLINGS;
    int64_t delay_ms = (int64_t)RETRY_FIRST_MS << doublings;

    if (delay_ms > RETRY_LIMIT_MS)
        delay_ms = RETRY_LIMIT_MS;
    delay_ms -= (int64_t)cq_random_below(&fetcher->random, (uint64_t)delay_ms / 2);
    if (fetcher->failures++ == 0)
        fetcher->down_since_mono_ns = cq_mono_ns();
    fetcher->more_work = true;
    fetcher->retry_at_mono_ns = cq_mono_ns() + delay_ms * CQ_NS_PER_MS;
}

/* Something was asked and badly answered, or not at all. One lost connection is nobody's
 * worry, and of a store that cannot be reached its broker speaks. */
static void failed(cq_fetcher *fetcher, const cronq_error *err)
{
    back_off(fetcher);
    if (++fetcher->bad_answers == BAD_ANSWERS_REPORTED)
        CQ_WARN(&fetcher->worker->logger, "cannot fetch tasks, trying again: %s",
                err->text);
}

static void succeeded(cq_fetcher *fetcher)
{
    if (fetcher->bad_answers >= BAD_ANSWERS_REPORTED)
        CQ_INFO(&fetcher->worker->logger, "fetching tasks again, after %lld ms",
                (long long)((cq_mono_ns() - fetcher->down_since_mono_ns) / CQ_NS_PER_MS));
    fetcher->bad_answers = 0;
    fetcher->failures = 0;
    fetcher->retry_at_mono_ns = 0;
}

static void look_for_lost(cq_fetcher *fetcher)
{
    cronq_error err = { .text = "cannot look for the tasks of a lost answer" };

    if (fetcher->lost_count == 0 || fetcher->in_air || fetcher->failures ||
        cq_mono_ns() < fetcher->look_at_mono_ns)
        return;
    if (cq_take_lost(fetcher))
        failed(fetcher, &err);
}

/* ---- sleeping ---- */

static int64_t earlier(int64_t a_ns, int64_t b_ns)
{
    return a_ns < b_ns ? a_ns : b_ns;
}

static int64_t sleep_until(cq_fetcher *fetcher, int64_t now_ns)
{
    cq_worker *worker = fetcher->worker;
    int64_t until_ns = now_ns + worker->options->delayed_check_interval_ms * CQ_NS_PER_MS;

    if (fetcher->retry_at_mono_ns > now_ns)
        until_ns = earlier(until_ns, fetcher->retry_at_mono_ns);
    if (fetcher->parked.count)
        until_ns = earlier(until_ns, fetcher->parked_until_mono_ns);
    if (fetcher->lost_count && !fetcher->failures)
        until_ns = earlier(until_ns, fetcher->look_at_mono_ns);
    if (fetcher->in_hand)
        until_ns =
            earlier(until_ns, cq_add_saturating(cq_desk_oldest_mono_ns(&worker->desk),
                                                AHEAD_PATIENCE_NS));
    if (fetcher->must_nudge)
        until_ns = now_ns;
    return until_ns > now_ns + REST_LEAST_NS ? until_ns : now_ns + REST_LEAST_NS;
}

static void wait_for_work(cq_fetcher *fetcher, int64_t until_ns)
{
    cq_intake *intake = fetcher->worker->intake;
    cq_wait wait = { .until_mono_ns = until_ns };
    cronq_error err;

    if (fetcher->in_hand)
        sched_yield(); /* whoever was woken for it may have been put on our core */
    if (intake->ops->wait(intake, &wait, &err)) {
        atomic_store(&fetcher->idle, false);
        failed(fetcher, &err);
        return;
    }
    if (wait.work || wait.due)
        atomic_store(&fetcher->idle, false);
    fetcher->more_work = wait.work || wait.due;
    fetcher->more_due = wait.due;
}

/* While nobody leads: begin to. */
static bool lead(cq_fetcher *fetcher)
{
    int batching = CQ_BATCHING;

    return atomic_compare_exchange_strong(&fetcher->sleep, &batching, CQ_AWAKE);
}

static void hand_back(cq_fetcher *fetcher)
{
    atomic_store(&fetcher->handed_back, true);
    cq_event_set(&fetcher->nap);
}

/* Nobody leads; the worker thread that runs dry will. Until it hands the lead back, or
 * nobody has had it for a while: a handler may be stuck. */
static void stand_by(cq_fetcher *fetcher)
{
    uint32_t leads = atomic_load(&fetcher->leads), before;

    do {
        before = leads;
        if (cq_desk_is_empty(&fetcher->worker->desk) || atomic_load(&fetcher->poked)) {
            if (lead(fetcher))
                return;
        }
        cq_event_wait(&fetcher->nap, BATCH_PATIENCE_MS);
        cq_event_clear(&fetcher->nap);
        if (atomic_exchange(&fetcher->handed_back, false))
            return;
        leads = atomic_load(&fetcher->leads);
    } while (leads != before || !lead(fetcher));
}

static void batch(cq_fetcher *fetcher)
{
    atomic_store(&fetcher->sleep, CQ_BATCHING);
    stand_by(fetcher);
}

static bool has_news(cq_fetcher *fetcher)
{
    return atomic_load(&fetcher->poked) || cq_desk_has_finished(&fetcher->worker->desk);
}

/* Without a free slot there is nothing to wait for in the store; without a store neither.
 */
static void rest(cq_fetcher *fetcher)
{
    int64_t now_ns = cq_mono_ns(), until_ns = sleep_until(fetcher, now_ns);
    bool nap = free_slots(fetcher) == 0 || fetcher->retry_at_mono_ns > now_ns;
    bool idle = !nap && fetcher->in_hand == 0 && fetcher->parked.count == 0;
    bool batches = nap && fetcher->in_hand && is_brief(fetcher);

    if (idle)
        cq_live_trim(&fetcher->worker->live);
    atomic_store(&fetcher->idle, idle);
    if (batches) { /* until the desk is empty, not until the first is done */
        batch(fetcher);
        return;
    }
    atomic_store(&fetcher->sleep, nap ? CQ_NAPPING : CQ_WAITING);
    if (has_news(fetcher)) {
        atomic_store(&fetcher->sleep, CQ_AWAKE);
        return;
    }
    if (nap)
        cq_event_wait(&fetcher->nap, (until_ns - now_ns) / CQ_NS_PER_MS + 1);
    else
        wait_for_work(fetcher, until_ns);
    atomic_store(&fetcher->sleep, CQ_AWAKE);
    cq_event_clear(&fetcher->nap);
}

/* While an exchange is under way and the tasks at hand are short, wait until they are
 * done: then the next exchange is on its way before this one is answered, and the store
 * is never without work. */
static bool should_batch(cq_fetcher *fetcher)
{
    return overlaps(fetcher) && fetcher->in_air < CQ_FLIGHTS && !fetcher->batched &&
           fetcher->in_hand && fetcher->mean_ns >= 0 &&
           fetcher->mean_ns * (int64_t)fetcher->in_hand < BATCH_WORK_NS;
}

static void wake(cq_fetcher *fetcher)
{
    cq_intake *intake = fetcher->worker->intake;
    int was = atomic_exchange(&fetcher->sleep, CQ_AWAKE);

    if (was == CQ_WAITING)
        intake->ops->wake(intake);
    else if (was == CQ_BATCHING)
        hand_back(fetcher);
    else if (was != CQ_AWAKE)
        cq_event_set(&fetcher->nap);
}

void cq_fetcher_wake(cq_fetcher *fetcher)
{
    int sleep = atomic_load(&fetcher->sleep);

    if (sleep == CQ_NAPPING || sleep == CQ_WAITING)
        wake(fetcher);
}

void cq_fetcher_poke(cq_fetcher *fetcher)
{
    atomic_store(&fetcher->poked, true);
    wake(fetcher);
}

/* ---- the loop ---- */

static void send_next(cq_fetcher *fetcher, uint32_t budget)
{
    cronq_error err;
    cronq_status status;

    atomic_store(&fetcher->idle, false);
    status = cq_flight_send(fetcher, budget, &err);
    if (status == CRONQ_EIO || status == CRONQ_EAUTH)
        back_off(fetcher);
    else if (status)
        failed(fetcher, &err);
}

static void receive_next(cq_fetcher *fetcher)
{
    cronq_error err;

    fetcher->batched = false;
    if (cq_flight_receive(fetcher, &err))
        failed(fetcher, &err);
    else
        succeeded(fetcher);
}

static void step(cq_fetcher *fetcher)
{
    uint32_t budget = next_budget(fetcher);

    if (should_send(fetcher, budget))
        send_next(fetcher, budget);
    else if (fetcher->in_air == 0)
        rest(fetcher);
    else if (should_batch(fetcher)) {
        fetcher->batched = true;
        batch(fetcher);
    } else
        receive_next(fetcher);
}

/* What there is to do before each step. */
static void attend(cq_fetcher *fetcher)
{
    collect(fetcher);
    unpark(fetcher);
    give_back_waiting(fetcher);
}

/* The steps that a worker thread makes: up to the next task, as long as there is nothing
 * to wait for but an answer and nothing out of the ordinary. True: it has found tasks. */
static bool lead_to_tasks(cq_fetcher *fetcher)
{
    while (!atomic_load(&fetcher->poked)) {
        uint32_t budget;

        attend(fetcher);
        atomic_store(&fetcher->in_hand_seen, fetcher->in_hand);
        if (!is_brief(fetcher) || fetcher->lost_count || fetcher->failures)
            return false;
        budget = next_budget(fetcher);
        if (should_send(fetcher, budget))
            send_next(fetcher, budget);
        else if (!cq_desk_is_empty(&fetcher->worker->desk))
            return true;
        else if (fetcher->in_air)
            receive_next(fetcher);
        else
            return false;
    }
    return false;
}

void cq_fetcher_run_dry(cq_fetcher *fetcher)
{
    if (!lead(fetcher))
        return;
    atomic_fetch_add(&fetcher->leads, 1);
    if (!lead_to_tasks(fetcher)) {
        hand_back(fetcher);
        return;
    }
    atomic_store(&fetcher->sleep, CQ_BATCHING);
    if (atomic_load(&fetcher->poked) && lead(fetcher))
        hand_back(fetcher);
}

static bool has_ended(cq_fetcher *fetcher)
{
    bool nothing_left =
        fetcher->in_hand == 0 && fetcher->outbox.count == 0 && fetcher->parked.count == 0;
    bool look_first = fetcher->lost_count && fetcher->look_at_mono_ns == 0;

    if (!atomic_load(&fetcher->stopping) || fetcher->in_air)
        return false;
    if (atomic_load(&fetcher->give_up))
        return fetcher->failures || fetcher->outbox.count == 0;
    return nothing_left && (!look_first || fetcher->failures);
}

static void *run(void *arg)
{
    cq_fetcher *fetcher = arg;

    while (!has_ended(fetcher)) {
        atomic_store(&fetcher->poked, false);
        atomic_fetch_add(&fetcher->turns, 1);
        attend(fetcher);
        nudge(fetcher);
        look_for_lost(fetcher);
        step(fetcher);
        atomic_store(&fetcher->in_hand_seen, fetcher->in_hand);
    }
    collect(fetcher);
    atomic_store(&fetcher->in_hand_seen, fetcher->in_hand);
    pthread_mutex_lock(&fetcher->mutex);
    fetcher->finished = true;
    pthread_cond_broadcast(&fetcher->changed);
    pthread_mutex_unlock(&fetcher->mutex);
    return NULL;
}

/* ---- life ---- */

cronq_status cq_fetcher_init(cq_fetcher *fetcher, cq_worker *worker, cronq_error *err)
{
    const cronq_server_options *options = worker->options;
    cronq_status status;

    *fetcher = (cq_fetcher){ .worker = worker, .mean_ns = -1, .more_work = true };
    fetcher->nap.fd = -1;
    status = cq_event_init(&fetcher->nap, err);
    if (status)
        return status;
    fetcher->flights = calloc(CQ_FLIGHTS, sizeof *fetcher->flights);
    if (!fetcher->flights) {
        cq_event_release(&fetcher->nap);
        return cq_fail_nomem(err);
    }
    cq_shares_init(&fetcher->shares, options->queues, options->queue_count,
                   options->strict_priority);
    pthread_mutex_init(&fetcher->mutex, NULL);
    cq_cond_init(&fetcher->changed);
    return CRONQ_OK;
}

void cq_fetcher_release(cq_fetcher *fetcher)
{
    if (!fetcher->flights)
        return;
    pthread_cond_destroy(&fetcher->changed);
    pthread_mutex_destroy(&fetcher->mutex);
    cq_event_release(&fetcher->nap);
    free(fetcher->flights);
    fetcher->flights = NULL;
}

cronq_status cq_fetcher_start(cq_fetcher *fetcher, cronq_error *err)
{
    cronq_status status;

    /* Now, because a supervisor forks many workers from one: no two may have the same. */
    cq_random_init(&fetcher->random);
    fetcher->fence = (uint32_t)cq_random_below(&fetcher->random, CQ_FENCE_LIMIT - 1);
    status = cq_thread_start(&fetcher->thread, "cronq-fetcher", run, fetcher, err);

    fetcher->running = status == CRONQ_OK;
    return status;
}

bool cq_fetcher_wait_end(cq_fetcher *fetcher, int64_t until_mono_ns)
{
    bool finished, in_time = true;

    pthread_mutex_lock(&fetcher->mutex);
    while (!fetcher->finished && in_time)
        in_time = cq_cond_wait_until(&fetcher->changed, &fetcher->mutex, until_mono_ns);
    finished = fetcher->finished;
    pthread_mutex_unlock(&fetcher->mutex);
    return finished;
}

void cq_fetcher_join(cq_fetcher *fetcher)
{
    if (fetcher->running)
        pthread_join(fetcher->thread, NULL);
    fetcher->running = false;
}
