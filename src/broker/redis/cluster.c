/* SPDX-License-Identifier: MIT */
/* broker/redis/cluster.c - an exchange in a cluster, where no script spans queues.
 *
 * The exchange is cut into parts, one a queue, each a script call of its own. The first
 * round sends all outcomes and asks for all shares, all nodes at the same time. What of
 * the budget is then left is asked for queue by queue in the order of the wants, so that
 * no more is taken than wanted; with strict priority (no shares) that is all there is.
 *
 * A queue that can not be served now (its slot is on the move, its node is away) does not
 * keep the others from being served: its outcomes are refused. When an answer was lost
 * the exchange fails as a whole, since what it took has to be looked for. */
#include "broker/redis/redis.h"

#include "base/error.h"

#define FORWARD_LIMIT 500

/* What one queue has in the exchange. */
typedef struct part {
    cq_redis_sent sent;
    cq_exchange exchange;
    cq_want want;
    uint32_t *places; /* of its outcomes in the whole */
} part;

typedef struct whole {
    cq_redis_intake *intake;
    cq_exchange *exchange;
    part **parts; /* by queue; NULL: not in this round */
    size_t answered;
    cq_delivery *deliveries;
    uint32_t taken[CQ_QUEUES_LIMIT];
    bool asked[CQ_QUEUES_LIMIT];
} whole;

static part *part_of(whole *w, uint32_t queue)
{
    cq_arena *arena = w->exchange->arena;
    part *p = w->parts[queue];

    if (p)
        return p;
    p = cq_arena_alloc(arena, sizeof *p);
    if (!p)
        return NULL;
    p->exchange = (cq_exchange){ .now_ns = w->exchange->now_ns,
                                 .fence = w->exchange->fence,
                                 .wants = &p->want,
                                 .arena = arena };
    p->want = (cq_want){ .queue = queue };
    p->sent.intake = w->intake;
    p->sent.exchange = &p->exchange;
    p->places = NULL;
    w->parts[queue] = p;
    return p;
}

static cronq_status add_want(whole *w, uint32_t queue, uint32_t share, cronq_error *err)
{
    part *p = part_of(w, queue);

    if (!p)
        return cq_fail_nomem(err);
    p->want.share = p->exchange.budget = share;
    p->exchange.want_count = 1;
    w->asked[queue] = true;
    return CRONQ_OK;
}

/* Outcomes of the whole, copied to the parts. */
static cronq_status add_outcomes(whole *w, cronq_error *err)
{
    const cq_exchange *all = w->exchange;
    uint32_t counts[CQ_QUEUES_LIMIT] = { 0 };

    for (uint32_t i = 0; i < all->outcome_count; i++)
        counts[all->outcomes[i].queue]++;
    for (uint32_t i = 0; i < all->outcome_count; i++) {
        uint32_t queue = all->outcomes[i].queue;
        part *p = part_of(w, queue);

        if (p && !p->places) {
            p->places = cq_arena_calloc(all->arena, counts[queue], sizeof *p->places);
            p->exchange.outcomes =
                cq_arena_calloc(all->arena, counts[queue], sizeof *all->outcomes);
        }
        if (!p || !p->places || !p->exchange.outcomes)
            return cq_fail_nomem(err);
        p->places[p->exchange.outcome_count] = i;
        p->exchange.outcomes[p->exchange.outcome_count++] = all->outcomes[i];
    }
    return CRONQ_OK;
}

/* ---- answers ---- */

static void write_statuses(const whole *w, const part *p, cronq_status refused)
{
    for (size_t i = 0; i < p->exchange.outcome_count; i++)
        w->exchange->outcomes[p->places[i]].status =
            refused ? refused : p->exchange.outcomes[i].status;
}

/* The answer to a part; what can not be read is a failure of all. */
static cronq_status take_answer(whole *w, part *p, const cq_call *call, cronq_error *err)
{
    cronq_error why = { .code = CRONQ_OK };
    cronq_status status;

    if (!call->reply && call->sent)
        return cq_fail(err, CRONQ_EIO, "an answer was lost");
    if (!call->reply || call->reply->type == CQ_REPLY_ERROR) {
        write_statuses(w, p, CRONQ_EPROTO);
        if (call->reply)
            cq_conn_reply_failure(call->reply, &why);
        cq_redis_complain(w->intake, cq_str_of(why.text), 0);
        return CRONQ_OK;
    }
    status = cq_redis_read_exchange(&p->sent, call->reply, err);
    if (status)
        return status;
    w->answered++;
    write_statuses(w, p, CRONQ_OK);
    for (size_t i = 0; i < p->exchange.delivery_count; i++)
        w->deliveries[w->exchange->delivery_count++] = p->exchange.deliveries[i];
    w->taken[p->want.queue] += (uint32_t)p->exchange.delivery_count;
    return CRONQ_OK;
}

static void take_forward(whole *w, const cq_call *call)
{
    cronq_error why = { .code = CRONQ_OK };
    size_t moved = 0;

    if (!call->reply)
        return;
    if (cq_redis_forward_reply(w->intake->redis, call, &moved, &why))
        cq_redis_complain(w->intake, cq_str_of(why.text), 0);
    if (moved >= FORWARD_LIMIT)
        w->exchange->more_due = true;
}

/* ---- a round ---- */

static void add_forwards(const whole *w, const cq_redis_forward *forward, cq_call *calls,
                         size_t *count)
{
    for (size_t q = 0; q < w->intake->queue_count; q++)
        calls[(*count)++] = (cq_call){ .lua = CQ_LUA_forward,
                                       .encode = cq_redis_encode_forward,
                                       .arg = forward,
                                       .prefix = w->intake->queues[q].prefix };
}

static cronq_status add_parts(whole *w, cq_call *calls, size_t *count, cronq_error *err)
{
    for (size_t q = 0; q < w->intake->queue_count; q++) {
        cronq_status status;

        if (!w->parts[q])
            continue;
        status = cq_redis_plan_exchange(&w->parts[q]->sent, err);
        if (status)
            return status;
        calls[(*count)++] = (cq_call){ .lua = CQ_LUA_exchange,
                                       .encode = cq_redis_encode_exchange,
                                       .arg = &w->parts[q]->sent,
                                       .prefix = w->intake->queues[q].prefix };
    }
    return CRONQ_OK;
}

/* Send the parts, with forwards before them, and take what comes. */
static cronq_status make_round(whole *w, bool forward, cronq_error *err)
{
    size_t queues = w->intake->queue_count, count = 0, first;
    cq_arena *arena = w->exchange->arena;
    cq_call *calls = cq_arena_calloc(arena, 2 * queues, sizeof *calls);
    cq_redis_forward forwarding = { w->exchange->now_ns, FORWARD_LIMIT };
    cronq_error why = { .code = CRONQ_OK };
    cronq_status status, failure = CRONQ_OK, one;

    if (!calls)
        return cq_fail_nomem(err);
    if (forward)
        add_forwards(w, &forwarding, calls, &count);
    first = count;
    status = add_parts(w, calls, &count, err);
    if (status)
        return status;
    status = cq_redis_run(w->intake->redis, calls, count, false, 0, arena, &why);
    for (size_t i = 0; i < first; i++)
        take_forward(w, &calls[i]);
    for (size_t q = 0, i = first; q < queues; q++) {
        if (!w->parts[q])
            continue;
        one = take_answer(w, w->parts[q], &calls[i++], failure ? NULL : err);
        failure = failure ? failure : one;
        w->parts[q] = NULL;
    }
    if (failure)
        return failure;
    /* Nobody has answered: that is no matter of single queues. */
    if (status && !w->answered)
        return cq_fail(err, status, "%s", why.text);
    return CRONQ_OK;
}

static cronq_status ask_for_the_rest(whole *w, const uint32_t *shares, cronq_error *err)
{
    cq_exchange *all = w->exchange;
    cronq_status status = CRONQ_OK;

    for (size_t i = 0; i < all->want_count && !status; i++) {
        uint32_t queue = all->wants[i].queue;

        if (all->delivery_count >= all->budget)
            break;
        if (w->asked[queue] && w->taken[queue] < shares[queue])
            continue; /* it is empty, or can not be served */
        status = add_want(w, queue, all->budget - (uint32_t)all->delivery_count, err);
        if (!status)
            status = make_round(w, false, err);
    }
    return status;
}

static cronq_status check(const whole *w, cronq_error *err)
{
    size_t queues = w->intake->queue_count;
    const cq_exchange *all = w->exchange;

    if (all->outcome_count > CQ_BATCH_LIMIT || all->want_count > queues)
        return cq_fail(err, CRONQ_EINVAL, "%zu outcomes and %zu wants in one exchange",
                       all->outcome_count, all->want_count);
    for (size_t i = 0; i < all->outcome_count; i++)
        if (all->outcomes[i].queue >= queues)
            return cq_fail(err, CRONQ_EINVAL, "an outcome of a queue not served");
    for (size_t i = 0; i < all->want_count; i++)
        if (all->wants[i].queue >= queues)
            return cq_fail(err, CRONQ_EINVAL, "tasks wanted of a queue not served");
    return CRONQ_OK;
}

cronq_status cq_redis_cluster_exchange(cq_redis_intake *intake, cq_exchange *exchange,
                                       cronq_error *err)
{
    uint32_t budget =
        exchange->budget < CQ_BATCH_LIMIT ? exchange->budget : CQ_BATCH_LIMIT;
    uint32_t shares[CQ_QUEUES_LIMIT] = { 0 }, left = budget;
    whole *w = cq_arena_calloc(exchange->arena, 1, sizeof *w);
    cronq_status status;

    if (!w)
        return cq_fail_nomem(err);
    w->intake = intake;
    w->exchange = exchange;
    w->parts = cq_arena_calloc(exchange->arena, intake->queue_count, sizeof *w->parts);
    w->deliveries = cq_arena_calloc(exchange->arena, budget + 1, sizeof *w->deliveries);
    if (!w->parts || !w->deliveries)
        return cq_fail_nomem(err);
    exchange->deliveries = w->deliveries;
    exchange->budget = budget;
    status = check(w, err);
    if (!status)
        status = add_outcomes(w, err);
    for (size_t i = 0; i < exchange->want_count && left && !status; i++) {
        const cq_want *want = &exchange->wants[i];
        uint32_t share = want->share < left ? want->share : left;

        shares[want->queue] = share;
        left -= share;
        if (share)
            status = add_want(w, want->queue, share, err);
    }
    if (!status && (exchange->forward || left < budget || exchange->outcome_count))
        status = make_round(w, exchange->forward, err);
    if (!status)
        status = ask_for_the_rest(w, shares, err);
    return status;
}
