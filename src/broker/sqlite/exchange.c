/* SPDX-License-Identifier: MIT */
/* broker/sqlite/exchange.c - an intake's exchanges: outcomes in and tasks out, in one
 * transaction.
 *
 * Nothing can be overlapped with a call into this very process: send only takes the
 * exchange, recv does it. */
#include "broker/sqlite/sqlite.h"

#include "base/error.h"
#include "base/log.h"

#include <stdlib.h>

#define FORWARD_LIMIT 500

/* ---- opening ---- */

static cronq_status copy_queues(cq_sqlite_intake *intake, const cq_str *queues,
                                size_t count, cronq_error *err)
{
    intake->queues = cq_arena_calloc(&intake->names, count, sizeof *intake->queues);
    if (!intake->queues)
        return cq_fail_nomem(err);
    for (size_t i = 0; i < count; i++) {
        intake->queues[i].data =
            cq_arena_dup(&intake->names, queues[i].data, queues[i].len);
        intake->queues[i].len = queues[i].len;
        if (!intake->queues[i].data)
            return cq_fail_nomem(err);
    }
    intake->queue_count = count;
    return CRONQ_OK;
}

cronq_status cq_sqlite_intake_open(cq_broker *broker, const cq_str *queues,
                                   size_t queue_count, cq_intake **out, cronq_error *err)
{
    cq_sqlite_intake *intake;
    cronq_status status;

    if (queue_count < 1 || queue_count > CQ_QUEUES_LIMIT)
        return cq_fail(err, CRONQ_EINVAL, "%zu queues: an intake serves 1 to %d",
                       queue_count, CQ_QUEUES_LIMIT);
    intake = calloc(1, sizeof *intake);
    if (!intake)
        return cq_fail_nomem(err);
    intake->intake = (cq_intake){ broker->ops, 1 };
    intake->store = cq_sqlite_of(broker);
    intake->last_cancel = -1;
    intake->woken.fd = -1;
    cq_arena_init(&intake->names, (size_t)1 << 20);
    status = copy_queues(intake, queues, queue_count, err);
    if (!status)
        status = cq_event_init(&intake->woken, err);
    if (!status)
        status = cq_sqlite_watch_new(intake->store, true, &intake->waiting, err);
    if (!status)
        status = cq_sqlite_watch_new(intake->store, false, &intake->listening, err);
    if (status) {
        cq_sqlite_intake_close(&intake->intake);
        return status;
    }
    *out = &intake->intake;
    return CRONQ_OK;
}

void cq_sqlite_intake_close(cq_intake *base)
{
    cq_sqlite_intake *intake;

    if (!base)
        return;
    intake = cq_sqlite_intake_of(base);
    cq_sqlite_watch_free(intake->waiting);
    cq_sqlite_watch_free(intake->listening);
    if (intake->woken.fd >= 0)
        cq_event_release(&intake->woken);
    cq_arena_release(&intake->names);
    free(intake);
}

/* ---- one exchange ---- */

typedef struct exchange_queue {
    bool known;
    int64_t number, paused_at_s;
    int64_t front; /* the place of the next task that is given back; 0: not known yet */
    int64_t processed, failed;
    bool archived; /* something was */
} exchange_queue;

typedef struct exchange_run {
    cq_sqlite *store;
    cq_sqlite_intake *intake;
    cq_exchange *exchange;
    int64_t now_ms, lease_end_ms;
    exchange_queue *queues; /* as in the intake */
    cq_delivery *deliveries;
    size_t delivery_count;
} exchange_run;

static exchange_queue *queue_of(exchange_run *run, uint32_t index)
{
    exchange_queue *queue = &run->queues[index];

    if (!queue->known) {
        queue->number =
            cq_sqlite_queue(run->store, run->intake->queues[index], &queue->paused_at_s);
        queue->known = true;
    }
    return queue;
}

/* ---- outcomes ---- */

static void bind_lease(cq_sql *sql, const exchange_queue *queue,
                       const cq_outcome *outcome)
{
    cq_sql_int(sql, queue->number);
    cq_sql_str(sql, outcome->id);
    cq_sql_int(sql, CQ_SQLITE_FENCE_BASE + outcome->fence);
}

static bool write_outcome(exchange_run *run, const exchange_queue *queue,
                          const cq_outcome *outcome)
{
    static const int64_t states[] = { [CQ_COMPLETE] = CQ_SQLITE_COMPLETED,
                                      [CQ_RETRY] = CQ_SQLITE_RETRY,
                                      [CQ_ARCHIVE] = CQ_SQLITE_ARCHIVED };
    cq_sql sql =
        cq_sql_of(run->store, outcome->kind == CQ_DONE ? CQ_SQL_done : CQ_SQL_settle);

    bind_lease(&sql, queue, outcome);
    if (outcome->kind != CQ_DONE) {
        cq_sql_int(&sql, states[outcome->kind]);
        cq_sql_int(&sql, outcome->kind == CQ_ARCHIVE ? run->now_ms : outcome->at_ms);
        cq_sql_bytes(&sql, outcome->message);
    }
    return cq_sql_run(&sql) > 0;
}

/* Why it was not written: the lease is another's, or the task is cancelled. */
static cronq_status refusal(exchange_run *run, const exchange_queue *queue,
                            const cq_outcome *outcome)
{
    cq_sql sql = cq_sql_of(run->store, CQ_SQL_is_cancelled);

    bind_lease(&sql, queue, outcome);
    return cq_sql_value(&sql, 0) ? CRONQ_ECANCELED : CRONQ_ESTATE;
}

static void settle(exchange_run *run, cq_outcome *outcome)
{
    exchange_queue *queue = queue_of(run, outcome->queue);

    outcome->status = CRONQ_ESTATE;
    if (!outcome->fence)
        return;
    if (!write_outcome(run, queue, outcome)) {
        outcome->status = refusal(run, queue, outcome);
        return;
    }
    outcome->status = CRONQ_OK;
    if (outcome->kind == CQ_RETRY)
        run->store->ring = true; /* the next due time may be another */
    queue->processed += outcome->kind != CQ_RETRY || outcome->failure;
    queue->failed +=
        outcome->kind == CQ_ARCHIVE || (outcome->kind == CQ_RETRY && outcome->failure);
    queue->archived |= outcome->kind == CQ_ARCHIVE;
    cq_sqlite_remember(run->store, queue->number, outcome->id, outcome->failure_line);
    if (outcome->unique_key.len &&
        (outcome->kind == CQ_DONE || outcome->kind == CQ_COMPLETE))
        cq_sqlite_free_lock(run->store, outcome->unique_key, outcome->id);
}

/* Called from the last to the first, each going before those that are there. */
static void give_back(exchange_run *run, cq_outcome *outcome)
{
    exchange_queue *queue = queue_of(run, outcome->queue);
    cq_sql sql;

    if (!queue->front)
        queue->front = cq_sqlite_front(run->store, queue->number);
    sql = cq_sql_of(run->store, CQ_SQL_give_back);
    bind_lease(&sql, queue, outcome);
    cq_sql_int(&sql, queue->front);
    outcome->status = CRONQ_ESTATE;
    if (!outcome->fence)
        return;
    if (cq_sql_run(&sql) == 0) {
        outcome->status = refusal(run, queue, outcome);
        return;
    }
    outcome->status = CRONQ_OK;
    queue->front--;
    run->store->ring = true;
}

static void settle_all(exchange_run *run)
{
    cq_exchange *exchange = run->exchange;

    for (size_t i = 0; i < exchange->outcome_count; i++)
        if (exchange->outcomes[i].kind != CQ_GIVE_BACK)
            settle(run, &exchange->outcomes[i]);
    for (size_t i = exchange->outcome_count; i-- > 0;)
        if (exchange->outcomes[i].kind == CQ_GIVE_BACK)
            give_back(run, &exchange->outcomes[i]);
    for (size_t i = 0; i < run->intake->queue_count; i++) {
        exchange_queue *queue = &run->queues[i];

        cq_sqlite_count(run->store, queue->number, run->now_ms, queue->processed,
                        queue->failed);
        if (queue->archived)
            cq_sqlite_trim_archive(run->store, queue->number, run->now_ms);
    }
}

/* ---- deliveries ---- */

/* Up to want rows of pending, to the end of the deliveries; their row numbers. Where
 * memory ends, fewer are taken. */
static size_t list_pending(exchange_run *run, uint32_t index, uint32_t want,
                           int64_t *numbers)
{
    cq_arena *arena = run->exchange->arena;
    cq_sql sql = cq_sql_of(run->store, CQ_SQL_take_list);
    size_t count = 0;

    cq_sql_int(&sql, run->queues[index].number);
    cq_sql_int(&sql, want);
    while (count < want && cq_sql_step(&sql)) {
        cq_delivery *delivery = &run->deliveries[run->delivery_count + count];

        delivery->queue = index;
        delivery->score = cq_sqlite_score(run->lease_end_ms,
                                          CQ_SQLITE_FENCE_BASE + run->exchange->fence);
        delivery->id = cq_sql_copy_str(&sql, 1, arena);
        delivery->message = cq_sql_copy_bytes(&sql, 2, arena);
        if (!delivery->id.data || !delivery->message.data) {
            if (run->delivery_count + count == 0)
                cq_sqlite_note(run->store, SQLITE_NOMEM);
            break;
        }
        if (count == 0)
            delivery->ready_at_ns = cq_sql_get_int(&sql, 3);
        numbers[count++] = cq_sql_get_int(&sql, 0);
    }
    cq_sql_end(&sql);
    return count;
}

static uint32_t take(exchange_run *run, uint32_t index, uint32_t want)
{
    int64_t numbers[CQ_BATCH_LIMIT];
    size_t count = list_pending(run, index, want, numbers);

    for (size_t i = 0; i < count; i++) {
        cq_sql sql = cq_sql_of(run->store, CQ_SQL_take);

        cq_sql_int(&sql, numbers[i]);
        cq_sql_int(&sql, run->lease_end_ms);
        cq_sql_int(&sql, CQ_SQLITE_FENCE_BASE + run->exchange->fence);
        cq_sql_run(&sql);
    }
    run->delivery_count += count;
    return (uint32_t)count;
}

static bool is_open(exchange_run *run, uint32_t index)
{
    const exchange_queue *queue = queue_of(run, index);

    return queue->number && !queue->paused_at_s;
}

/* First everyone's share, then what is left in order of preference. */
static void take_all(exchange_run *run)
{
    const cq_exchange *exchange = run->exchange;
    uint32_t budget =
        exchange->budget < CQ_BATCH_LIMIT ? exchange->budget : CQ_BATCH_LIMIT;
    bool emptied[CQ_QUEUES_LIMIT] = { false };

    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < exchange->want_count && budget; i++) {
            const cq_want *wanted = &exchange->wants[i];
            uint32_t want = pass || wanted->share > budget ? budget : wanted->share;
            uint32_t got;

            if (!want || emptied[i] || !is_open(run, wanted->queue))
                continue;
            got = take(run, wanted->queue, want);
            emptied[i] = got < want;
            budget -= got;
        }
    }
}

static void forward_all(exchange_run *run)
{
    for (uint32_t i = 0; i < run->intake->queue_count; i++) {
        const exchange_queue *queue = queue_of(run, i);

        if (queue->number &&
            cq_sqlite_move_due(run->store, queue->number, run->exchange->now_ns,
                               FORWARD_LIMIT) >= FORWARD_LIMIT)
            run->exchange->more_due = true;
    }
}

static cronq_status exchange_work(cq_sqlite *store, void *arg, cronq_error *err)
{
    exchange_run *run = arg;

    (void)err;
    memset(run->queues, 0, run->intake->queue_count * sizeof *run->queues);
    run->delivery_count = 0;
    run->exchange->more_due = false;
    settle_all(run);
    if (run->exchange->forward)
        forward_all(run);
    if (run->exchange->budget && !store->code)
        take_all(run);
    return CRONQ_OK;
}

/* ---- sending and receiving ---- */

static void outcomes_unknown(cq_exchange *exchange)
{
    for (size_t i = 0; i < exchange->outcome_count; i++)
        exchange->outcomes[i].status = CRONQ_EIO;
}

static cronq_status check_exchange(const cq_sqlite_intake *intake,
                                   const cq_exchange *exchange, cronq_error *err)
{
    if (intake->sent)
        return cq_fail(err, CRONQ_ESTATE, "an exchange is in flight already");
    if (exchange->outcome_count > CQ_BATCH_LIMIT ||
        exchange->want_count > intake->queue_count)
        return cq_fail(err, CRONQ_EINVAL, "%zu outcomes and %zu wants in one exchange",
                       exchange->outcome_count, exchange->want_count);
    for (size_t i = 0; i < exchange->outcome_count; i++)
        if (exchange->outcomes[i].queue >= intake->queue_count)
            return cq_fail(err, CRONQ_EINVAL, "an outcome of a queue not served");
    for (size_t i = 0; i < exchange->want_count; i++)
        if (exchange->wants[i].queue >= intake->queue_count)
            return cq_fail(err, CRONQ_EINVAL, "tasks wanted of a queue not served");
    return CRONQ_OK;
}

cronq_status cq_sqlite_exchange_send(cq_intake *base, cq_exchange *exchange,
                                     cronq_error *err)
{
    cq_sqlite_intake *intake = cq_sqlite_intake_of(base);
    cronq_status status;

    exchange->deliveries = NULL;
    exchange->delivery_count = 0;
    exchange->more_due = false;
    outcomes_unknown(exchange);
    status = check_exchange(intake, exchange, err);
    if (!status)
        intake->sent = exchange;
    return status;
}

static cronq_status run_exchange(exchange_run *run, cronq_error *err)
{
    cq_exchange *exchange = run->exchange;
    size_t room = exchange->budget < CQ_BATCH_LIMIT ? exchange->budget : CQ_BATCH_LIMIT;

    run->queues =
        cq_arena_calloc(exchange->arena, run->intake->queue_count, sizeof *run->queues);
    run->deliveries = cq_arena_calloc(exchange->arena, room + 1, sizeof *run->deliveries);
    if (!run->queues || !run->deliveries)
        return cq_fail_nomem(err);
    return cq_sqlite_do(run->store, CQ_SQLITE_EXCHANGES, exchange_work, run, err);
}

cronq_status cq_sqlite_exchange_recv(cq_intake *base, cq_exchange *exchange,
                                     cronq_error *err)
{
    cq_sqlite_intake *intake = cq_sqlite_intake_of(base);
    exchange_run run = { .store = intake->store, .intake = intake, .exchange = exchange };
    cronq_status status;

    if (intake->sent != exchange)
        return cq_fail(err, CRONQ_EIO, "this exchange was not sent");
    intake->sent = NULL;
    run.now_ms = cq_ns_to_ms(exchange->now_ns);
    run.lease_end_ms = cq_sqlite_lease_end_ms(intake->store, exchange->now_ns);
    status = run_exchange(&run, err);
    if (status) {
        outcomes_unknown(exchange);
        exchange->more_due = false;
        return status;
    }
    exchange->deliveries = run.deliveries;
    exchange->delivery_count = run.delivery_count;
    return CRONQ_OK;
}
