/* SPDX-License-Identifier: MIT */
/* broker/redis/exchange.c - an intake's exchanges: outcomes out, tasks in.
 *
 * Invariants: what is in flight was sent on conn, in the order of the ring; conn is NULL
 * when nothing is connected, and then nothing is in flight. Every failure drops conn: its
 * answers can not be told apart any more. A request is built from the caller's exchange,
 * again when the server had forgotten the script. */
#include "broker/redis/redis.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>

#define YOUNG_NS        CQ_NS_PER_S
#define FORWARD_LIMIT   500
#define COMPLAINT_NS    (60 * CQ_NS_PER_S)
#define FIXED_ARGUMENTS 8

/* ---- opening ---- */

static cronq_status copy_queues(cq_redis_intake *intake, const cq_str *queues,
                                size_t count, cronq_error *err)
{
    cq_arena *arena = &intake->names;

    intake->queues = cq_arena_calloc(arena, count, sizeof *intake->queues);
    if (!intake->queues)
        return cq_fail_nomem(err);
    for (size_t i = 0; i < count; i++) {
        cq_redis_queue *queue = &intake->queues[i];

        queue->prefix = cq_redis_prefix(arena, queues[i]);
        queue->name.data = cq_arena_dup(arena, queues[i].data, queues[i].len);
        queue->name.len = queues[i].len;
        if (!queue->prefix.data || !queue->name.data)
            return cq_fail_nomem(err);
    }
    intake->queue_count = count;
    return CRONQ_OK;
}

cronq_status cq_redis_intake_open(cq_broker *broker, const cq_str *queues,
                                  size_t queue_count, cq_intake **out, cronq_error *err)
{
    cq_redis_intake *intake;
    cronq_status status;

    if (queue_count < 1 || queue_count > CQ_QUEUES_LIMIT)
        return cq_fail(err, CRONQ_EINVAL, "%zu queues: an intake serves 1 to %d",
                       queue_count, CQ_QUEUES_LIMIT);
    intake = calloc(1, sizeof *intake);
    if (!intake)
        return cq_fail_nomem(err);
    intake->redis = cq_redis_of(broker);
    intake->intake =
        (cq_intake){ broker->ops, intake->redis->cluster ? 1 : CQ_REDIS_IN_FLIGHT };
    cq_arena_init(&intake->names, (size_t)1 << 20);
    for (size_t i = 0; i < CQ_REDIS_IN_FLIGHT; i++)
        intake->sent[i].intake = intake;
    status = copy_queues(intake, queues, queue_count, err);
    if (!status)
        status = cq_redis_watch_new(intake, &intake->watch, err);
    if (status) {
        cq_redis_intake_close(&intake->intake);
        return status;
    }
    *out = &intake->intake;
    return CRONQ_OK;
}

void cq_redis_intake_close(cq_intake *base)
{
    cq_redis_intake *intake = cq_redis_intake_of(base);

    if (!base)
        return;
    cq_redis_watch_free(intake->watch);
    cq_conn_free(intake->conn);
    cq_arena_release(&intake->names);
    free(intake);
}

/* ---- sending ---- */

static void use_queue(cq_redis_sent *sent, uint32_t queue)
{
    if (sent->key[queue])
        return;
    sent->queue[sent->key_count++] = queue;
    sent->key[queue] = sent->key_count;
}

/* Sort the outcomes by queue, keeping their order, and number the queues in use. */
cronq_status cq_redis_plan_exchange(cq_redis_sent *sent, cronq_error *err)
{
    const cq_exchange *exchange = sent->exchange;
    size_t queues = sent->intake->queue_count;
    uint32_t start[CQ_QUEUES_LIMIT], at = 0;

    memset(sent->count, 0, sizeof sent->count);
    memset(sent->key, 0, sizeof sent->key);
    sent->key_count = 0;
    if (exchange->outcome_count > CQ_BATCH_LIMIT || exchange->want_count > queues)
        return cq_fail(err, CRONQ_EINVAL, "%zu outcomes and %zu wants in one exchange",
                       exchange->outcome_count, exchange->want_count);
    for (size_t i = 0; i < exchange->outcome_count; i++) {
        if (exchange->outcomes[i].queue >= queues)
            return cq_fail(err, CRONQ_EINVAL, "an outcome of a queue not served");
        use_queue(sent, exchange->outcomes[i].queue);
        sent->count[exchange->outcomes[i].queue]++;
    }
    for (size_t i = 0; i < sent->key_count; i++) {
        start[sent->queue[i]] = at;
        at += sent->count[sent->queue[i]];
    }
    for (uint32_t i = 0; i < exchange->outcome_count; i++)
        sent->order[start[exchange->outcomes[i].queue]++] = i;
    for (size_t i = 0; i < exchange->want_count && exchange->budget; i++) {
        if (exchange->wants[i].queue >= queues)
            return cq_fail(err, CRONQ_EINVAL, "tasks wanted of a queue not served");
        use_queue(sent, exchange->wants[i].queue);
    }
    return CRONQ_OK;
}

static bool frees_lock(const cq_outcome *outcome)
{
    return (outcome->kind == CQ_DONE || outcome->kind == CQ_COMPLETE) &&
           outcome->unique_key.len > 0;
}

static size_t outcome_arguments(const cq_outcome *outcome)
{
    static const size_t extra[] = { [CQ_DONE] = 0,
                                    [CQ_COMPLETE] = 2,
                                    [CQ_RETRY] = 3,
                                    [CQ_ARCHIVE] = 2,
                                    [CQ_GIVE_BACK] = 0 };

    return 2 + extra[outcome->kind] + frees_lock(outcome);
}

static size_t section_arguments(const cq_redis_sent *sent, size_t at, size_t count)
{
    size_t arguments = 0;

    for (size_t i = at; i < at + count; i++)
        arguments += outcome_arguments(&sent->exchange->outcomes[sent->order[i]]);
    return arguments;
}

static void append_outcome(cq_conn *conn, const cq_outcome *outcome, int64_t now_ns)
{
    int64_t code = (int64_t)outcome->fence * 64 + (int64_t)outcome->kind;

    if (frees_lock(outcome))
        code += 8;
    if (now_ns - outcome->taken_at_ns < YOUNG_NS)
        code += 16;
    if (outcome->failure)
        code += 32;
    cq_conn_arg_str(conn, outcome->id);
    cq_conn_arg_int(conn, code);
    if (outcome->kind == CQ_COMPLETE || outcome->kind == CQ_RETRY ||
        outcome->kind == CQ_ARCHIVE)
        cq_conn_arg(conn, outcome->message.data, outcome->message.len);
    if (outcome->kind == CQ_COMPLETE || outcome->kind == CQ_RETRY)
        cq_conn_arg_int(conn, cq_seconds_up(outcome->at_ms));
    if (outcome->kind == CQ_RETRY || outcome->kind == CQ_ARCHIVE)
        cq_conn_arg(conn, outcome->failure_line.data, outcome->failure_line.len);
    if (frees_lock(outcome))
        cq_conn_arg_str(conn, outcome->unique_key);
}

/* The sections of outcomes, one a queue. */
static void append_sections(cq_conn *conn, const cq_redis_sent *sent)
{
    const cq_exchange *exchange = sent->exchange;
    size_t at = 0;

    for (uint32_t key = 1; key <= sent->key_count; key++) {
        size_t count = sent->count[sent->queue[key - 1]];

        if (!count)
            continue;
        cq_conn_arg_int(conn, key);
        cq_conn_arg_int(conn, (int64_t)section_arguments(sent, at, count));
        cq_conn_arg_int(conn, (int64_t)count);
        for (size_t end = at + count; at < end; at++)
            append_outcome(conn, &exchange->outcomes[sent->order[at]], exchange->now_ns);
    }
}

void cq_redis_score(char out[40], int64_t end_s, uint32_t fence)
{
    /* k / 2^20 in units of 10^-7, rounded: exact enough to be told from k +- 1. */
    uint64_t fraction = ((uint64_t)fence * 10000000 + (1u << 19)) >> 20;

    snprintf(out, 40, "%lld.%07llu", (long long)end_s, (unsigned long long)fraction);
}

static void score_text(char out[40], const cq_redis_sent *sent)
{
    int64_t end_ns =
        sent->exchange->now_ns + sent->intake->redis->lease_ms * CQ_NS_PER_MS;

    cq_redis_score(out, cq_ns_to_s(end_ns), sent->exchange->fence);
}

/* As the store reads it. */
static double lease_score(const cq_redis_sent *sent)
{
    char text[40];

    score_text(text, sent);
    return strtod(text, NULL);
}

static void append_head(cq_conn *conn, const cq_redis_sent *sent, int64_t sections)
{
    const cq_exchange *exchange = sent->exchange;
    const cq_broker *limits = &sent->intake->redis->broker;
    int64_t now_s = cq_ns_to_s(exchange->now_ns);
    uint32_t budget =
        exchange->budget < CQ_BATCH_LIMIT ? exchange->budget : CQ_BATCH_LIMIT;
    char score[40], date[16];

    score_text(score, sent);
    cq_redis_date(date, now_s);
    for (uint32_t i = 0; i < sent->key_count; i++)
        cq_conn_arg_str(conn, sent->intake->queues[sent->queue[i]].prefix);
    cq_conn_arg_int(conn, now_s);
    cq_conn_arg_text(conn, score);
    cq_conn_arg_text(conn, date);
    cq_conn_arg_int(conn, now_s + CQ_STATISTICS_AGE_S);
    cq_conn_arg_int(conn, limits->archive_count);
    cq_conn_arg_int(conn, now_s - limits->archive_age_s);
    cq_conn_arg_int(conn, budget);
    cq_conn_arg_int(conn, sections);
}

void cq_redis_encode_exchange(cq_conn *conn, const cq_script *script, const cq_call *call)
{
    const cq_redis_sent *sent = call->arg;
    const cq_exchange *exchange = sent->exchange;
    size_t wants = exchange->budget ? exchange->want_count : 0, sections = 0;

    for (uint32_t i = 0; i < sent->key_count; i++)
        sections += sent->count[sent->queue[i]] > 0;
    cq_script_call(conn, script, sent->key_count,
                   FIXED_ARGUMENTS + 3 * sections +
                       section_arguments(sent, 0, exchange->outcome_count) + 1 +
                       2 * wants);
    append_head(conn, sent, (int64_t)sections);
    append_sections(conn, sent);
    cq_conn_arg_int(conn, (int64_t)wants);
    for (size_t i = 0; i < wants; i++) {
        cq_conn_arg_int(conn, sent->key[exchange->wants[i].queue]);
        cq_conn_arg_int(conn, exchange->wants[i].share);
    }
}

/* The calls of this exchange: forwards first. */
static cronq_status make_calls(cq_redis_sent *sent, cronq_error *err)
{
    cq_exchange *exchange = sent->exchange;
    cq_redis_intake *intake = sent->intake;
    size_t forwards = exchange->forward ? intake->queue_count : 0;
    cq_redis_forward *forward = cq_arena_alloc(exchange->arena, sizeof *forward);

    sent->has_exchange = sent->key_count > 0;
    sent->call_count = forwards + sent->has_exchange;
    sent->calls =
        cq_arena_calloc(exchange->arena, sent->call_count + 1, sizeof *sent->calls);
    if (!sent->calls || !forward)
        return cq_fail_nomem(err);
    *forward = (cq_redis_forward){ exchange->now_ns, FORWARD_LIMIT };
    for (size_t i = 0; i < forwards; i++)
        sent->calls[i] = (cq_call){ .lua = CQ_LUA_forward,
                                    .encode = cq_redis_encode_forward,
                                    .arg = forward,
                                    .prefix = intake->queues[i].prefix };
    if (sent->has_exchange)
        sent->calls[forwards] = (cq_call){ .lua = CQ_LUA_exchange,
                                           .encode = cq_redis_encode_exchange,
                                           .arg = sent };
    return CRONQ_OK;
}

static void drop_conn(cq_redis_intake *intake)
{
    cq_conn_free(intake->conn);
    intake->conn = NULL;
    intake->in_flight = 0;
}

static void outcomes_unknown(cq_exchange *exchange)
{
    for (size_t i = 0; i < exchange->outcome_count; i++)
        exchange->outcomes[i].status = CRONQ_EIO;
}

/* With the scripts loaded: a forward that is refused would run after its exchange. */
static cronq_status connect_intake(cq_redis_intake *intake, cq_arena *arena,
                                   cronq_error *err)
{
    static const cq_lua used[] = { CQ_LUA_forward, CQ_LUA_exchange };
    const cq_redis *redis = intake->redis;
    cronq_status status;

    if (intake->conn)
        return CRONQ_OK;
    status = cq_pool_dial(redis->pool, &intake->conn, err);
    if (status) {
        intake->conn = NULL;
        return status;
    }
    for (size_t i = 0; i < 2 && !status; i++)
        status = cq_script_load(
            intake->conn, cq_redis_script(redis, intake->conn, used[i]), arena, err);
    if (status)
        drop_conn(intake);
    return status;
}

static cronq_status send_exchange(cq_redis_intake *intake, cq_redis_sent *sent,
                                  cronq_error *err)
{
    cronq_status status = cq_redis_plan_exchange(sent, err);

    if (!status)
        status = make_calls(sent, err);
    if (!status)
        status = connect_intake(intake, sent->exchange->arena, err);
    if (status)
        return status;
    cq_redis_send_calls(intake->redis, intake->conn, sent->calls, sent->call_count);
    return cq_conn_flush(intake->conn, err);
}

cronq_status cq_redis_exchange_send(cq_intake *base, cq_exchange *exchange,
                                    cronq_error *err)
{
    cq_redis_intake *intake = cq_redis_intake_of(base);
    uint32_t slot = (intake->oldest + intake->in_flight) % CQ_REDIS_IN_FLIGHT;
    cq_redis_sent *sent = &intake->sent[slot];
    cronq_status status;

    exchange->deliveries = NULL;
    exchange->delivery_count = 0;
    exchange->more_due = false;
    outcomes_unknown(exchange);
    if (intake->in_flight == CQ_REDIS_IN_FLIGHT)
        return cq_fail(err, CRONQ_ESTATE, "%d exchanges are in flight already",
                       CQ_REDIS_IN_FLIGHT);
    sent->exchange = exchange;
    if (intake->redis->cluster) { /* it is made when its answer is wanted */
        intake->in_flight++;
        return CRONQ_OK;
    }
    status = send_exchange(intake, sent, err);
    if (status && intake->conn && cq_conn_broken(intake->conn) && !intake->in_flight)
        drop_conn(intake);
    if (!status)
        intake->in_flight++;
    return status;
}

/* ---- receiving ---- */

/* What is wrong with the data of a queue is said, but not with every exchange. */
void cq_redis_complain(cq_redis_intake *intake, cq_str text, int64_t dropped)
{
    int64_t now = cq_mono_ns();

    if (dropped > 0)
        CQ_WARN(&intake->redis->logger, "dropped %lld ids of tasks that do not exist",
                (long long)dropped);
    if (!text.len ||
        (intake->complained_mono_ns && now - intake->complained_mono_ns < COMPLAINT_NS))
        return;
    intake->complained_mono_ns = now;
    CQ_ERROR(&intake->redis->logger, "a queue can not be served: %.*s", CQ_FMT(text));
}

static cronq_status read_statuses(const cq_redis_sent *sent, cq_str letters,
                                  cronq_error *err)
{
    cq_exchange *exchange = sent->exchange;

    if (letters.len != exchange->outcome_count)
        return cq_fail(err, CRONQ_EPROTO, "%zu outcomes were answered with %zu statuses",
                       exchange->outcome_count, letters.len);
    for (size_t i = 0; i < letters.len; i++)
        exchange->outcomes[sent->order[i]].status =
            letters.data[i] == 'o'   ? CRONQ_OK
            : letters.data[i] == 'c' ? CRONQ_ECANCELED
            : letters.data[i] == 's' ? CRONQ_ESTATE
                                     : CRONQ_EPROTO;
    return CRONQ_OK;
}

static cronq_status bad_deliveries(cronq_error *err)
{
    return cq_fail(err, CRONQ_EPROTO, "the tasks of an exchange can not be read");
}

/* Portions, from the fourth element on: key, count, since when the first was pending, and
 * (id, message)s. */
static cronq_status read_deliveries(const cq_redis_sent *sent, const cq_reply *reply,
                                    cronq_error *err)
{
    cq_exchange *exchange = sent->exchange;
    double score = lease_score(sent);
    cq_delivery *out =
        cq_arena_alloc(exchange->arena, reply->count / 2 * sizeof *out + 1);
    size_t n = 0;

    if (!out)
        return cq_fail_nomem(err);
    for (size_t i = 3; i + 2 < reply->count;) {
        int64_t key = cq_reply_int(&reply->elements[i], 0);
        int64_t count = cq_reply_int(&reply->elements[i + 1], -1);
        int64_t ready_at_ns = cq_reply_int(&reply->elements[i + 2], 0);

        i += 3;
        if (key < 1 || key > sent->key_count || count < 0 ||
            (uint64_t)count > (reply->count - i) / 2)
            return bad_deliveries(err);
        for (; count > 0; count--, i += 2) {
            cq_str text = reply->elements[i + 1].text;

            out[n++] = (cq_delivery){ .queue = sent->queue[key - 1],
                                      .id = reply->elements[i].text,
                                      .message = { text.data, text.len },
                                      .score = score,
                                      .ready_at_ns = ready_at_ns };
            ready_at_ns = 0;
        }
    }
    exchange->deliveries = out;
    exchange->delivery_count = n;
    sent->intake->delivered += n;
    return CRONQ_OK;
}

cronq_status cq_redis_read_exchange(const cq_redis_sent *sent, const cq_reply *reply,
                                    cronq_error *err)
{
    cronq_status status;

    if (reply->type == CQ_REPLY_ERROR)
        return cq_conn_reply_failure(reply, err);
    if (reply->type != CQ_REPLY_ARRAY || reply->count < 3)
        return cq_fail(err, CRONQ_EPROTO, "an exchange was not answered with an array");
    status = read_statuses(sent, reply->elements[0].text, err);
    if (status)
        return status;
    cq_redis_complain(sent->intake, reply->elements[2].text,
                      cq_reply_int(&reply->elements[1], 0));
    return read_deliveries(sent, reply, err);
}

/* All answers of the oldest exchange. Before anything can be sent again, those of the one
 * behind it have to be read. */
static cronq_status read_sent(cq_redis_intake *intake, cq_redis_sent *sent,
                              cronq_error *err)
{
    cq_redis_sent *other = &intake->sent[(intake->oldest + 1) % CQ_REDIS_IN_FLIGHT];
    cq_arena *arena = sent->exchange->arena;
    cronq_status status;

    status = cq_redis_read_calls(intake->conn, sent->calls, sent->call_count, arena, err);
    if (status || !cq_redis_refused(sent->calls, sent->call_count))
        return status;
    if (intake->in_flight > 1)
        status = cq_redis_read_calls(intake->conn, other->calls, other->call_count,
                                     other->exchange->arena, err);
    if (status)
        return status;
    return cq_redis_heal_calls(intake->redis, intake->conn, sent->calls, sent->call_count,
                               arena, err);
}

/* A queue whose delayed tasks can not be moved does not stop the others. */
static void read_forwards(const cq_redis_sent *sent)
{
    size_t count = sent->call_count - sent->has_exchange, moved;
    cronq_error err;

    for (size_t i = 0; i < count; i++) {
        moved = 0;
        err.text[0] = '\0';
        if (cq_redis_forward_reply(sent->intake->redis, &sent->calls[i], &moved, &err))
            cq_redis_complain(sent->intake, cq_str_of(err.text), 0);
        if (moved >= FORWARD_LIMIT)
            sent->exchange->more_due = true;
    }
}

cronq_status cq_redis_exchange_recv(cq_intake *base, cq_exchange *exchange,
                                    cronq_error *err)
{
    cq_redis_intake *intake = cq_redis_intake_of(base);
    cq_redis_sent *sent = &intake->sent[intake->oldest];
    cronq_status status;

    if (!intake->in_flight || sent->exchange != exchange)
        return cq_fail(err, CRONQ_EIO, "the connection was lost with the answer");
    if (intake->redis->cluster)
        status = cq_redis_cluster_exchange(intake, exchange, err);
    else
        status = read_sent(intake, sent, err);
    if (!status && !intake->redis->cluster) {
        read_forwards(sent);
        if (sent->has_exchange)
            status = cq_redis_read_exchange(sent, sent->calls[sent->call_count - 1].reply,
                                            err);
    }
    if (status) {
        outcomes_unknown(exchange);
        exchange->delivery_count = 0;
        drop_conn(intake);
        return status;
    }
    intake->oldest = (intake->oldest + 1) % CQ_REDIS_IN_FLIGHT;
    intake->in_flight--;
    intake->fetches += exchange->budget > 0;
    intake->forwards += exchange->forward;
    return CRONQ_OK;
}
