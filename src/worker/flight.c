/* SPDX-License-Identifier: MIT */
/* flight.c - sending exchanges and taking in their answers. */
#include "base/clock.h"
#include "base/error.h"
#include "worker/internal.h"

#define PARKED_FOR_NS CQ_NS_PER_S

/* ---- sending ---- */

static void load_outcomes(cq_fetcher *fetcher, cq_flight *flight)
{
    cq_exchange *exchange = &flight->exchange;

    while (exchange->outcome_count < CQ_BATCH_LIMIT) {
        cronq_attempt *attempt = cq_chain_take(&fetcher->outbox);

        if (!attempt)
            return;
        flight->attempts[exchange->outcome_count] = attempt;
        flight->outcomes[exchange->outcome_count] = attempt->outcome;
        flight->outcomes[exchange->outcome_count++].status = CRONQ_EIO;
    }
}

/* Outcomes that were not answered are to be sent again, before younger ones. */
static void unload_outcomes(cq_fetcher *fetcher, cq_flight *flight, bool sent)
{
    cq_chain back = { 0 };

    for (size_t i = 0; i < flight->exchange.outcome_count; i++) {
        flight->attempts[i]->sent |= sent;
        cq_chain_append(&back, flight->attempts[i]);
    }
    cq_chain_prepend(&fetcher->outbox, &back);
}

static bool should_forward(cq_fetcher *fetcher, int64_t now_ns)
{
    int64_t now_s = now_ns / CQ_NS_PER_S;

    if (!fetcher->more_due && now_s == fetcher->forwarded_s)
        return false;
    fetcher->forwarded_s = now_s;
    fetcher->more_due = false;
    return true;
}

static void plan_fetch(cq_fetcher *fetcher, cq_flight *flight, uint32_t budget)
{
    cq_exchange *exchange = &flight->exchange;

    fetcher->fence = fetcher->fence % (CQ_FENCE_LIMIT - 1) + 1;
    exchange->fence = fetcher->fence;
    exchange->budget = budget;
    exchange->wants = flight->wants;
    exchange->want_count = fetcher->shares.count;
    cq_shares_plan(&fetcher->shares, budget, flight->wants);
}

cronq_status cq_flight_send(cq_fetcher *fetcher, uint32_t budget, cronq_error *err)
{
    cq_worker *worker = fetcher->worker;
    size_t slot = (fetcher->oldest + fetcher->in_air) % CQ_FLIGHTS;
    cq_flight *flight = &fetcher->flights[slot];
    cq_exchange *exchange = &flight->exchange;
    cronq_status status;

    flight->batch = cq_live_new_batch(&worker->live);
    if (!flight->batch)
        return cq_fail_nomem(err);
    *exchange = (cq_exchange){ .now_ns = cq_now_ns(worker),
                               .outcomes = flight->outcomes,
                               .arena = &flight->batch->arena };
    exchange->forward = should_forward(fetcher, exchange->now_ns);
    if (budget)
        plan_fetch(fetcher, flight, budget);
    load_outcomes(fetcher, flight);
    status = worker->intake->ops->exchange_send(worker->intake, exchange, err);
    if (status) {
        unload_outcomes(fetcher, flight, false);
        cq_live_return(&worker->live, flight->batch);
        return status;
    }
    flight->sent_at_mono_ns = worker->metrics ? cq_mono_ns() : 0;
    fetcher->in_air++;
    fetcher->asked += budget;
    return CRONQ_OK;
}

/* ---- answers ---- */

void cq_fetcher_retire(cq_fetcher *fetcher, cronq_attempt *attempt)
{
    cq_batch *batch = attempt->batch;

    atomic_store(&attempt->phase, CQ_ANSWERED);
    if (attempt->row)
        cq_ledger_free(fetcher->worker->ledger, attempt->row);
    cq_attempt_release(attempt);
    if (--batch->open == 0)
        cq_live_drop(&fetcher->worker->live, batch);
}

static void count_written(cq_worker *worker, const cq_outcome *outcome)
{
    cq_worker_counters *counters = &worker->counters;

    if (outcome->kind == CQ_DONE || outcome->kind == CQ_COMPLETE)
        cq_count(&counters->done, 1);
    if (outcome->kind == CQ_RETRY)
        cq_count(&counters->retried, 1);
    if (outcome->kind == CQ_ARCHIVE) {
        cq_count(&counters->archived, 1);
        cq_notices_add(&worker->notices, outcome->message, outcome->failure_line,
                       cq_now_ns(worker));
    }
    if (outcome->kind == CQ_GIVE_BACK) {
        cq_count(&counters->given_back, 1);
        CQ_METRICS_ADD(worker->metrics, given_back, 1);
    }
    if (outcome->kind == CQ_ARCHIVE || (outcome->kind == CQ_RETRY && outcome->failure))
        cq_count(&counters->failed, 1);
}

static void report_lost(cq_fetcher *fetcher, cronq_attempt *attempt)
{
    cq_worker *worker = fetcher->worker;
    cq_log_about about = cq_attempt_about(attempt);

    if (attempt->sent) {
        CQ_LOG_ABOUT(&worker->logger, CRONQ_LOG_INFO, &about,
                     "outcome was sent twice: written or lost the first time");
        return;
    }
    cq_count(&worker->counters.lost, 1);
    CQ_METRICS_ADD(worker->metrics, leases_lost, 1);
    CQ_LOG_ABOUT(&worker->logger, CRONQ_LOG_WARN, &about,
                 "lease lost, outcome not written: somebody else has the task");
}

/* The queue refuses: try again in a while, as long as the lease may be ours. */
static void park(cq_fetcher *fetcher, cronq_attempt *attempt)
{
    cq_worker *worker = fetcher->worker;
    cq_log_about about = cq_attempt_about(attempt);

    if (cq_now_ns(worker) >= atomic_load(&attempt->lease_until_ns)) {
        CQ_LOG_ABOUT(&worker->logger, CRONQ_LOG_ERROR, &about,
                     "outcome given up: its queue refused it until the lease was over");
        cq_count(&worker->counters.lost, 1);
        CQ_METRICS_ADD(worker->metrics, leases_lost, 1);
        cq_fetcher_retire(fetcher, attempt);
        return;
    }
    if (fetcher->parked.count == 0)
        fetcher->parked_until_mono_ns = cq_mono_ns() + PARKED_FOR_NS;
    cq_chain_append(&fetcher->parked, attempt);
}

/* It was cancelled for good while it ran: not to be retried, nor given back. False when
 * memory ends; the lease then runs out, and the recoverer archives it. */
static bool archive_cancelled(cq_fetcher *fetcher, cronq_attempt *attempt)
{
    cq_worker *worker = fetcher->worker;
    cq_outcome *outcome = &attempt->outcome;
    cq_log_about about = cq_attempt_about(attempt);
    size_t message_len;

    cq_buf_reset(&attempt->rewritten);
    outcome->kind = CQ_ARCHIVE;
    outcome->failure = true;
    if (cq_outcome_rewrite(&attempt->message, CQ_ARCHIVE, true, CQ_STR(CQ_TEXT_CANCELLED),
                           cq_now_ns(worker) / CQ_NS_PER_S, &attempt->rewritten, NULL))
        return false;
    message_len = attempt->rewritten.len;
    outcome->failure_line = cq_outcome_failure_line(
        &attempt->message, CQ_STR(CQ_TEXT_CANCELLED), worker->heartbeat.host,
        cq_now_ns(worker), &attempt->rewritten);
    outcome->message = (cronq_bytes){ attempt->rewritten.data, message_len };
    CQ_METRICS_ADD(worker->metrics, cancelled, 1);
    CQ_LOG_ABOUT(&worker->logger, CRONQ_LOG_INFO, &about, "cancelled, archived");
    return true;
}

static void settle_outcomes(cq_fetcher *fetcher, cq_flight *flight)
{
    cq_chain unknown = { 0 };

    for (size_t i = 0; i < flight->exchange.outcome_count; i++) {
        cronq_attempt *attempt = flight->attempts[i];

        switch (flight->outcomes[i].status) {
        case CRONQ_OK:
            count_written(fetcher->worker, &flight->outcomes[i]);
            cq_fetcher_retire(fetcher, attempt);
            break;
        case CRONQ_ESTATE:
            report_lost(fetcher, attempt);
            cq_fetcher_retire(fetcher, attempt);
            break;
        case CRONQ_ECANCELED:
            if (archive_cancelled(fetcher, attempt))
                cq_chain_append(&unknown, attempt);
            else
                cq_fetcher_retire(fetcher, attempt);
            break;
        case CRONQ_EIO:
            attempt->sent = true;
            cq_chain_append(&unknown, attempt);
            break;
        default:
            park(fetcher, attempt);
        }
    }
    cq_chain_prepend(&fetcher->outbox, &unknown);
}

static void settle_shares(cq_fetcher *fetcher, const cq_flight *flight)
{
    const cq_exchange *exchange = &flight->exchange;
    uint32_t taken[CQ_QUEUES_LIMIT];

    memset(taken, 0, fetcher->shares.count * sizeof taken[0]);
    for (size_t i = 0; i < exchange->delivery_count; i++)
        taken[exchange->deliveries[i].queue]++;
    cq_shares_settle(&fetcher->shares, flight->wants, taken);
}

static void settle_fetch(cq_fetcher *fetcher, cq_flight *flight)
{
    cq_exchange *exchange = &flight->exchange;

    if (exchange->more_due)
        fetcher->more_due = true;
    if (exchange->forward)
        atomic_store(&fetcher->forwarded_mono_ns, cq_mono_ns());
    if (!exchange->budget) {
        cq_live_return(&fetcher->worker->live, flight->batch);
        return;
    }
    settle_shares(fetcher, flight);
    fetcher->flow = fetcher->more_work = exchange->delivery_count >= exchange->budget;
    cq_count(&fetcher->worker->counters.fetched, exchange->delivery_count);
    if (fetcher->worker->metrics)
        cq_histogram_add(cq_metrics_common(fetcher->worker->metrics)->fetch_tasks,
                         &cq_fetch_bounds, (int64_t)exchange->delivery_count);
    cq_take_deliveries(fetcher, flight->batch, exchange->deliveries,
                       exchange->delivery_count, exchange->fence, exchange->now_ns);
}

/* Nothing that is in the air will be answered any more. */
static void lose_flight(cq_fetcher *fetcher, cq_flight *flight)
{
    cq_exchange *exchange = &flight->exchange;

    unload_outcomes(fetcher, flight, true);
    if (exchange->budget)
        cq_remember_lost(fetcher, exchange->fence, exchange->now_ns);
    cq_live_return(&fetcher->worker->live, flight->batch);
}

cronq_status cq_flight_receive(cq_fetcher *fetcher, cronq_error *err)
{
    cq_intake *intake = fetcher->worker->intake;
    cq_flight *flight = &fetcher->flights[fetcher->oldest];
    cronq_status status = intake->ops->exchange_recv(intake, &flight->exchange, err);

    if (!status) {
        if (fetcher->worker->metrics)
            cq_metrics_round_trip(fetcher->worker->metrics, CQ_TRIP_EXCHANGE,
                                  cq_mono_ns() - flight->sent_at_mono_ns);
        fetcher->oldest = (fetcher->oldest + 1) % CQ_FLIGHTS;
        fetcher->in_air--;
        fetcher->asked -= flight->exchange.budget;
        settle_outcomes(fetcher, flight);
        settle_fetch(fetcher, flight);
        return CRONQ_OK;
    }
    /* The newest first, so that the outbox gets its order back. */
    while (fetcher->in_air > 0) {
        size_t slot = (fetcher->oldest + --fetcher->in_air) % CQ_FLIGHTS;

        lose_flight(fetcher, &fetcher->flights[slot]);
    }
    fetcher->asked = 0;
    fetcher->more_work = true;
    fetcher->flow = false;
    return status;
}
