/* SPDX-License-Identifier: MIT */
/* take.c - making attempts of what was delivered. */
#include "base/clock.h"
#include "base/error.h"
#include "worker/internal.h"

#define LARGE_PAYLOAD_BYTES     ((size_t)16 * 1024)
#define SMALL_BEFORE_AHEAD      1024
#define REPLACEMENT_LIMIT_BYTES ((size_t)64 * 1024)

/* Into the archive with what can not be read, so that it stops nobody. When that fails
 * the lease runs out, and the recoverer does it. */
static void quarantine(cq_worker *worker, const cq_delivery *delivery, int64_t now_ns,
                       const char *why)
{
    cq_str queue = worker->queues[delivery->queue];
    cq_recovery item = { .kind = CQ_RECOVER_QUARANTINE,
                         .id = delivery->id,
                         .score = delivery->score };
    cronq_status status;
    cronq_error err;
    cq_buf buf;

    cq_buf_init(&buf, REPLACEMENT_LIMIT_BYTES);
    status =
        cq_message_replace(queue, delivery->id, why, now_ns / CQ_NS_PER_S, &buf, &err);
    item.message = (cronq_bytes){ buf.data, buf.len };
    if (!status)
        status =
            worker->broker->ops->recover(worker->broker, queue, &item, 1, now_ns, &err);
    if (!status && item.status)
        status = cq_fail(&err, item.status, "%s", cronq_status_text(item.status));
    if (!status)
        cq_notices_add(&worker->notices, item.message, item.failure_line, now_ns);
    cq_buf_release(&buf);
    if (status) {
        CQ_WARN(&worker->logger, "cannot quarantine task %.*s of %.*s: %s",
                CQ_FMT(delivery->id), CQ_FMT(queue), err.text);
        return;
    }
    cq_count(&worker->counters.quarantined, 1);
    CQ_METRICS_ADD(worker->metrics, corrupt, 1);
    CQ_ERROR(&worker->logger, "task %.*s of %.*s cannot be read, archived: %s",
             CQ_FMT(delivery->id), CQ_FMT(queue), why);
}

static void note_size(cq_fetcher *fetcher, const cronq_attempt *attempt)
{
    if (attempt->message.payload.len > LARGE_PAYLOAD_BYTES)
        fetcher->small_left = SMALL_BEFORE_AHEAD;
    else if (fetcher->small_left > 0)
        fetcher->small_left--;
}

/* Fill the batch; returns false when memory ran out: the rest is left to be found by its
 * fence. */
static bool make_attempts(cq_fetcher *fetcher, cq_batch *batch,
                          const cq_delivery *deliveries, size_t count, uint32_t fence,
                          int64_t now_ns)
{
    cq_worker *worker = fetcher->worker;
    int64_t until_ns = now_ns + worker->options->lease_ms * CQ_NS_PER_MS;
    int64_t queued_ns = cq_mono_ns();

    batch->attempts = cq_arena_alloc(&batch->arena, count * sizeof *batch->attempts);
    batch->count = 0;
    if (!batch->attempts)
        return false;
    for (size_t i = 0; i < count; i++) {
        cronq_attempt *attempt = &batch->attempts[batch->count];
        cronq_error err;
        cronq_status status =
            cq_attempt_init(attempt, worker, &deliveries[i], &batch->arena, &err);

        if (status == CRONQ_ENOMEM)
            return false;
        if (status) {
            quarantine(worker, &deliveries[i], now_ns, err.text);
            continue;
        }
        attempt->batch = batch;
        attempt->fence = fence;
        attempt->taken_at_ns = now_ns;
        attempt->queued_at_mono_ns = queued_ns;
        attempt->ready_at_ns = deliveries[i].ready_at_ns;
        atomic_store(&attempt->lease_until_ns, until_ns);
        if (worker->ledger)
            attempt->row = cq_ledger_take(worker->ledger, attempt->queue, fence,
                                          attempt->message.id, attempt->type, now_ns);
        note_size(fetcher, attempt);
        batch->count++;
    }
    return true;
}

static bool has_no_retry_left(const cronq_attempt *attempt)
{
    return attempt->message.retried >= attempt->message.max_retry;
}

/* Whoever finds the lease of a task without retries left over must know whether its
 * handler was started: the mark says so. What can not be marked is not started. */
static void mark_started(cq_fetcher *fetcher, cq_batch *batch)
{
    cq_worker *worker = fetcher->worker;
    cq_lease *leases;
    cronq_attempt **marked;
    cronq_status status = CRONQ_ENOMEM;
    size_t count = 0, n = 0;

    for (size_t i = 0; i < batch->count; i++)
        count += has_no_retry_left(&batch->attempts[i]);
    if (count == 0)
        return;
    leases = cq_arena_calloc(&batch->arena, count, sizeof *leases);
    marked = cq_arena_calloc(&batch->arena, count, sizeof(cronq_attempt *));
    for (size_t i = 0; i < batch->count && leases && marked; i++) {
        cronq_attempt *attempt = &batch->attempts[i];

        if (!has_no_retry_left(attempt))
            continue;
        leases[n] = (cq_lease){ worker->queues[attempt->queue], attempt->message.id,
                                attempt->fence, CRONQ_EIO };
        marked[n++] = attempt;
    }
    if (leases && marked)
        status = worker->broker->ops->mark_started(worker->broker, leases, n, NULL);
    for (size_t i = 0; i < n; i++) {
        if (status || leases[i].status == CRONQ_EIO)
            cq_attempt_give_back(marked[i]);
        else if (leases[i].status)
            marked[i]->unwritten = true;
    }
}

/* Those that may start go to the desk in their order; the others are over already. */
static void put_on_desk(cq_fetcher *fetcher, cq_batch *batch)
{
    cq_chain chain = { 0 };

    for (size_t i = 0; i < batch->count; i++) {
        cronq_attempt *attempt = &batch->attempts[i];

        if (attempt->unwritten)
            cq_fetcher_retire(fetcher, attempt);
        else if (cq_attempt_phase(attempt) == CQ_FINISHED)
            cq_chain_append(&fetcher->outbox, attempt);
        else
            cq_chain_append(&chain, attempt);
    }
    if (chain.count == 0)
        return;
    fetcher->in_hand += chain.count;
    cq_desk_put(&fetcher->worker->desk, chain.first, chain.last);
}

void cq_take_deliveries(cq_fetcher *fetcher, cq_batch *batch,
                        const cq_delivery *deliveries, size_t count, uint32_t fence,
                        int64_t now_ns)
{
    cq_live *live = &fetcher->worker->live;

    if (count && !make_attempts(fetcher, batch, deliveries, count, fence, now_ns))
        cq_remember_lost(fetcher, fence, now_ns);
    if (batch->count == 0) {
        cq_live_return(live, batch);
        return;
    }
    mark_started(fetcher, batch);
    batch->open = batch->count + 1; /* ours, until all are placed */
    cq_live_add(live, batch);
    put_on_desk(fetcher, batch);
    if (--batch->open == 0)
        cq_live_drop(live, batch);
}

/* ---- what lost answers took ---- */

static void remember(cq_fetcher *fetcher, cq_lost_fetch fetch)
{
    for (size_t i = 0; i < fetcher->lost_count; i++)
        if (fetcher->lost[i].fence == fetch.fence)
            return;
    if (fetcher->lost_count == CQ_LOST_FETCHES) /* the recoverer gets the oldest */
        memmove(fetcher->lost, fetcher->lost + 1,
                --fetcher->lost_count * sizeof fetcher->lost[0]);
    fetcher->lost[fetcher->lost_count++] = fetch;
}

void cq_remember_lost(cq_fetcher *fetcher, uint32_t fence, int64_t now_ns)
{
    int64_t lease_ns = fetcher->worker->options->lease_ms * CQ_NS_PER_MS;

    remember(fetcher, (cq_lost_fetch){ fence, now_ns + lease_ns });
    fetcher->look_at_mono_ns = 0;
}

typedef struct search {
    cq_worker *worker;
    const cq_delivery *delivery;
    uint32_t fence;
    bool found;
} search;

static void compare(cronq_attempt *attempt, void *arg)
{
    search *s = arg;

    if (attempt->fence == s->fence && attempt->queue == s->delivery->queue &&
        cq_str_eq(attempt->message.id, s->delivery->id))
        s->found = true;
}

/* Drop from the list what we have already. */
static size_t without_known(cq_fetcher *fetcher, cq_delivery *deliveries, size_t count,
                            uint32_t fence)
{
    size_t kept = 0;

    for (size_t i = 0; i < count; i++) {
        search s = { fetcher->worker, &deliveries[i], fence, false };

        cq_live_each(&fetcher->worker->live, compare, &s);
        if (!s.found)
            deliveries[kept++] = deliveries[i];
    }
    return kept;
}

static cronq_status take_lost(cq_fetcher *fetcher, uint32_t fence)
{
    cq_worker *worker = fetcher->worker;
    cq_batch *batch = cq_live_new_batch(&worker->live);
    int64_t now_ns = cq_now_ns(worker);
    cq_delivery *deliveries;
    cronq_status status;
    size_t count;

    if (!batch)
        return CRONQ_ENOMEM;
    status = worker->intake->ops->find_leased(worker->intake, fence, &batch->arena,
                                              &deliveries, &count, NULL);
    if (status) {
        cq_live_return(&worker->live, batch);
        return status;
    }
    count = without_known(fetcher, deliveries, count, fence);
    if (count)
        CQ_INFO(&worker->logger, "found %zu tasks of a fetch whose answer was lost",
                count);
    cq_take_deliveries(fetcher, batch, deliveries, count, fence, now_ns);
    return CRONQ_OK;
}

cronq_status cq_take_lost(cq_fetcher *fetcher)
{
    cq_worker *worker = fetcher->worker;
    int64_t now_ns = cq_now_ns(worker);
    size_t count = fetcher->lost_count;
    cq_lost_fetch lost[CQ_LOST_FETCHES];
    cronq_status status = CRONQ_OK;

    memcpy(lost, fetcher->lost, count * sizeof lost[0]);
    fetcher->lost_count = 0;
    for (size_t i = 0; i < count; i++) {
        if (!status)
            status = take_lost(fetcher, lost[i].fence);
        if (now_ns < lost[i].until_ns)
            remember(fetcher, lost[i]);
    }
    fetcher->look_at_mono_ns =
        cq_mono_ns() + worker->options->heartbeat_ms * CQ_NS_PER_MS;
    return status;
}
