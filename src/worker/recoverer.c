/* SPDX-License-Identifier: MIT */
/* recoverer.c - leases that are over, and ids without one. */
#include "worker/recoverer.h"

#include "base/clock.h"
#include "base/error.h"
#include "codec/failures.h"
#include "worker/internal.h"

#include <stdlib.h>

#define PASS_BATCH        100
#define PASS_BATCHES      1000
#define PASS_LIMIT_BYTES  ((size_t)4 << 30)
#define SEEN_LIMIT_BYTES  ((size_t)4 << 20)
#define NO_RETRY_PUT_BACK "put back without a charge: it had not been started"

/* One batch of expired leases of a queue. */
typedef struct pass {
    cq_worker *worker;
    size_t queue;
    int64_t now_ns;
    cq_arena arena;
    cq_expired *expired;
    size_t count;
    cq_recovery *items;
    cronq_attempt *attempts; /* for callbacks */
} pass;

/* ---- what becomes of each ---- */

static cq_recovery_kind kind_of(const cq_expired *expired, const cq_message *message)
{
    if (expired->cancelled)
        return CQ_RECOVER_ARCHIVE;
    if (message->retried < message->max_retry)
        return CQ_RECOVER_RETRY;
    if (!expired->started && !expired->marked)
        return CQ_RECOVER_PUT_BACK;
    return CQ_RECOVER_ARCHIVE;
}

/* The message in the pass's arena; absent when it can not be made. */
static cronq_bytes kept(pass *p, cq_buf *buf, cronq_status status)
{
    cronq_bytes bytes = { NULL, 0 };

    if (!status)
        bytes.data = cq_arena_dup(&p->arena, buf->data, buf->len);
    if (bytes.data)
        bytes.len = buf->len;
    return bytes;
}

static void plan_quarantine(pass *p, size_t i, const char *why)
{
    cq_recovery *item = &p->items[i];
    cq_buf buf;

    cq_buf_init(&buf, CQ_MESSAGE_LIMIT_BYTES);
    item->kind = CQ_RECOVER_QUARANTINE;
    item->message = kept(p, &buf,
                         cq_message_replace(p->worker->queues[p->queue], item->id, why,
                                            p->now_ns / CQ_NS_PER_S, &buf, NULL));
    cq_buf_release(&buf);
}

static const char *text_of(const cq_expired *expired)
{
    return expired->cancelled ? CQ_TEXT_CANCELLED : CQ_TEXT_LEASE_EXPIRED;
}

static void plan_rewrite(pass *p, size_t i, const cq_message *message)
{
    cq_recovery *item = &p->items[i];
    cq_outcome_kind kind = item->kind == CQ_RECOVER_RETRY ? CQ_RETRY : CQ_ARCHIVE;
    cq_buf buf;

    cq_buf_init(&buf, CQ_MESSAGE_LIMIT_BYTES);
    item->message =
        kept(p, &buf,
             cq_outcome_rewrite(message, kind, true, cq_str_of(text_of(&p->expired[i])),
                                p->now_ns / CQ_NS_PER_S, &buf, NULL));
    cq_buf_release(&buf);
    cq_buf_init(&buf, CQ_FAILURE_LINE_LIMIT_BYTES);
    cq_outcome_failure_line(message, cq_str_of(text_of(&p->expired[i])),
                            p->worker->heartbeat.host, p->now_ns, &buf);
    item->failure_line = kept(p, &buf, buf.status);
    cq_buf_release(&buf);
}

/* False: leave it for the next pass, there is no memory. */
static bool plan(pass *p, size_t i)
{
    const cq_expired *expired = &p->expired[i];
    cq_recovery *item = &p->items[i];
    cronq_attempt *attempt = &p->attempts[i];
    cq_delivery delivery = { .queue = (uint32_t)p->queue,
                             .id = expired->id,
                             .message = expired->message,
                             .score = expired->score };
    cronq_status status;
    cronq_error err;

    *item = (cq_recovery){ .id = expired->id, .score = expired->score };
    if (!expired->message.data) {
        item->kind = CQ_RECOVER_DROP;
        return true;
    }
    status = cq_attempt_init(attempt, p->worker, &delivery, &p->arena, &err);
    if (status == CRONQ_ENOMEM)
        return false;
    if (status) {
        plan_quarantine(p, i, err.text);
        return item->message.data != NULL;
    }
    item->kind = kind_of(expired, &attempt->message);
    if (item->kind == CQ_RECOVER_PUT_BACK)
        return true;
    plan_rewrite(p, i, &attempt->message);
    return item->message.data != NULL;
}

/* ---- telling about it ---- */

static void report_task(pass *p, size_t i)
{
    cq_worker *worker = p->worker;
    const cronq_server_options *options = worker->options;
    cronq_attempt *attempt = &p->attempts[i];
    cq_log_about about = cq_attempt_about(attempt);
    cq_recovery_kind kind = p->items[i].kind;
    cronq_error why;

    cq_fail(&why, CRONQ_ESTATE, "%s", text_of(&p->expired[i]));
    if (options->on_error && kind != CQ_RECOVER_PUT_BACK)
        options->on_error(attempt, &why, options->on_error_arg);
    CQ_LOG_ABOUT(&worker->logger, CRONQ_LOG_WARN, &about, "lease expired, task %s",
                 kind == CQ_RECOVER_RETRY     ? "put back and charged a retry"
                 : kind == CQ_RECOVER_ARCHIVE ? "archived: no retry left"
                                              : NO_RETRY_PUT_BACK);
}

/* Its worker died, or was cut off from the store: that attempt has failed. */
static void measure_death(pass *p, size_t i)
{
    cronq_metrics *metrics = p->worker->metrics;
    cq_type_cells *cells;

    if (!metrics || p->items[i].kind == CQ_RECOVER_PUT_BACK)
        return;
    cells = cq_type_here(metrics, cq_metrics_type(metrics, p->attempts[i].message.type));
    cq_cell_add(&cells->died, 1);
    cq_cell_add(&cells->consumed[CQ_CONSUMED_FAIL], 1);
}

static void report(pass *p, size_t i)
{
    cq_worker_counters *counters = &p->worker->counters;

    if (p->items[i].kind == CQ_RECOVER_ARCHIVE ||
        p->items[i].kind == CQ_RECOVER_QUARANTINE)
        cq_notices_add(&p->worker->notices, p->items[i].message, p->items[i].failure_line,
                       p->now_ns);
    if (p->items[i].kind == CQ_RECOVER_QUARANTINE) {
        cq_count(&counters->quarantined, 1);
        CQ_METRICS_ADD(p->worker->metrics, corrupt, 1);
        CQ_ERROR(&p->worker->logger, "task %.*s of %.*s cannot be read, archived",
                 CQ_FMT(p->items[i].id), CQ_FMT(p->worker->queues[p->queue]));
        return;
    }
    if (p->items[i].kind == CQ_RECOVER_DROP)
        return;
    cq_count(&counters->recovered, 1);
    CQ_METRICS_ADD(p->worker->metrics, recovered, 1);
    if (p->expired[i].cancelled)
        CQ_METRICS_ADD(p->worker->metrics, cancelled, 1);
    measure_death(p, i);
    report_task(p, i);
}

/* ---- one batch ---- */

static cronq_status read_expired(pass *p, cronq_error *err)
{
    cq_broker *broker = p->worker->broker;
    cronq_status status =
        broker->ops->list_expired(broker, p->worker->queues[p->queue], p->now_ns,
                                  PASS_BATCH, &p->arena, &p->expired, &p->count, err);

    if (status || p->count == 0)
        return status;
    p->items = cq_arena_calloc(&p->arena, p->count, sizeof *p->items);
    p->attempts = cq_arena_calloc(&p->arena, p->count, sizeof *p->attempts);
    return p->items && p->attempts ? CRONQ_OK : cq_fail_nomem(err);
}

static cronq_status write_recoveries(pass *p, size_t *recovered, cronq_error *err)
{
    cq_broker *broker = p->worker->broker;
    size_t planned = 0;
    cronq_status status;

    while (planned < p->count && plan(p, planned))
        planned++;
    if (planned == 0)
        return cq_fail_nomem(err);
    status = broker->ops->recover(broker, p->worker->queues[p->queue], p->items, planned,
                                  p->now_ns, err);
    for (size_t i = 0; i < planned && !status; i++) {
        if (p->items[i].status)
            continue;
        ++*recovered;
        report(p, i);
    }
    for (size_t i = 0; i < planned; i++)
        if (p->attempts[i].worker)
            cq_attempt_release(&p->attempts[i]);
    return status;
}

/* *more: there may be another batch, and this one moved something. */
static cronq_status recover_batch(cq_worker *worker, size_t queue, bool *more,
                                  cronq_error *err)
{
    pass p = { .worker = worker, .queue = queue, .now_ns = cq_now_ns(worker) };
    size_t recovered = 0;
    cronq_status status;

    cq_arena_init(&p.arena, PASS_LIMIT_BYTES);
    status = read_expired(&p, err);
    if (!status && p.count)
        status = write_recoveries(&p, &recovered, err);
    *more = !status && p.count == PASS_BATCH && recovered > 0;
    cq_arena_release(&p.arena);
    return status;
}

/* ---- active without a lease ---- */

static bool was_seen(const cq_seen *seen, cq_str id)
{
    for (size_t i = 0; i < seen->count; i++)
        if (cq_str_eq(seen->ids[i], id))
            return true;
    return false;
}

static void remember(cq_seen *seen, const cq_str *ids, size_t count)
{
    cq_arena_release(&seen->arena);
    seen->count = 0;
    if (count == 0)
        return;
    seen->ids = cq_arena_calloc(&seen->arena, count, sizeof *seen->ids);
    for (size_t i = 0; i < count && seen->ids; i++) {
        cq_str *id = &seen->ids[seen->count];

        *id = (cq_str){ cq_arena_dup(&seen->arena, ids[i].data, ids[i].len), ids[i].len };
        if (!id->data)
            return;
        seen->count++;
    }
}

/* A lease may be on its way, so only what a pass ago had none either is an orphan. */
static cronq_status adopt_orphans(cq_worker *worker, size_t queue, cq_seen *seen,
                                  cronq_error *err)
{
    cq_broker *broker = worker->broker;
    cq_str *ids, *orphans, name = worker->queues[queue];
    size_t count, orphan_count = 0;
    cronq_status status;
    cq_arena arena;

    cq_arena_init(&arena, SEEN_LIMIT_BYTES);
    status =
        broker->ops->list_unleased(broker, name, PASS_BATCH, &arena, &ids, &count, err);
    orphans = status ? NULL : cq_arena_calloc(&arena, count, sizeof *orphans);
    for (size_t i = 0; orphans && i < count; i++)
        if (was_seen(seen, ids[i]))
            orphans[orphan_count++] = ids[i];
    if (!status)
        remember(seen, ids, count);
    if (orphan_count) {
        CQ_WARN(&worker->logger, "adopting %zu active tasks of %.*s without a lease",
                orphan_count, CQ_FMT(name));
        status = broker->ops->adopt(broker, name, orphans, orphan_count,
                                    cq_now_ns(worker), err);
    }
    cq_arena_release(&arena);
    return status;
}

/* ---- the pass ---- */

static cronq_status recover_queue(cq_recoverer *recoverer, size_t queue, cronq_error *err)
{
    cq_worker *worker = recoverer->worker;
    bool more = true;
    cronq_status status = CRONQ_OK;

    for (size_t i = 0; i < PASS_BATCHES && more && !status; i++) {
        if (atomic_load(&worker->ending))
            return CRONQ_OK;
        status = recover_batch(worker, queue, &more, err);
    }
    if (!status)
        status = adopt_orphans(worker, queue, &recoverer->seen[queue], err);
    if (!status)
        status = worker->broker->ops->repair_groups(worker->broker, worker->queues[queue],
                                                    cq_now_ns(worker), err);
    return status;
}

/* A queue that cannot be recovered does not stop the others; a store that is away stops
 * the pass. */
void cq_recoverer_tick(void *arg)
{
    cq_recoverer *recoverer = arg;
    cq_worker *worker = recoverer->worker;

    for (size_t i = 0; i < worker->options->queue_count; i++) {
        cronq_status status;
        cronq_error err;

        if (atomic_load(&worker->ending))
            return;
        status = recover_queue(recoverer, i, &err);
        if (status == CRONQ_EIO) /* the broker speaks of it, and the others fail too */
            return;
        if (status && !recoverer->failing[i])
            CQ_WARN(&worker->logger, "cannot recover tasks of %.*s, trying again: %s",
                    CQ_FMT(worker->queues[i]), err.text);
        recoverer->failing[i] = status != CRONQ_OK;
    }
}

cronq_status cq_recoverer_init(cq_recoverer *recoverer, cq_worker *worker,
                               cronq_error *err)
{
    size_t count = worker->options->queue_count;

    *recoverer = (cq_recoverer){ .worker = worker };
    recoverer->seen = calloc(count, sizeof *recoverer->seen);
    recoverer->failing = calloc(count, sizeof *recoverer->failing);
    if (!recoverer->seen || !recoverer->failing)
        return cq_fail_nomem(err);
    for (size_t i = 0; i < count; i++)
        cq_arena_init(&recoverer->seen[i].arena, SEEN_LIMIT_BYTES);
    return CRONQ_OK;
}

void cq_recoverer_release(cq_recoverer *recoverer)
{
    for (size_t i = 0; recoverer->seen && i < recoverer->worker->options->queue_count;
         i++)
        cq_arena_release(&recoverer->seen[i].arena);
    free(recoverer->seen);
    free(recoverer->failing);
}
