/* SPDX-License-Identifier: MIT */
/* mourn.c - archiving culprits and giving back the rest. */
#include "worker/mourn.h"

#include "base/clock.h"
#include "base/error.h"
#include "worker/internal.h"

#include <stdio.h>
#include <stdlib.h>

#define ARENA_BYTES ((size_t)1 << 30)
#define AGAIN_MS    200
#define NOTICES_NS  (60 * CQ_NS_PER_S) /* for on_archive, of all culprits */

typedef struct mourning {
    cq_worker *worker;
    const cq_dead *dead;
    size_t count;
    bool reported;
    cq_arena arena;
    cq_outcome *outcomes;
    uint32_t *deaths; /* of each, this one too; 0: not to be counted */
} mourning;

static cq_str id_of(const cq_dead *dead)
{
    return (cq_str){ dead->row.id, dead->row.id_len };
}

static cq_log_about about_of(mourning *m, const cq_dead *dead)
{
    return (cq_log_about){
        .task_id = cq_arena_dup(&m->arena, dead->row.id, dead->row.id_len),
        .task_type = dead->row.type,
        .queue = m->worker->queues[dead->row.queue].data,
        .duration_ms = -1,
    };
}

/* From the message in the store; one that can not be read is left to its lease. */
static cronq_status archive(mourning *m, const cq_dead *dead, const char *text,
                            cq_outcome *out, cronq_error *err)
{
    cq_broker *broker = m->worker->broker;
    cq_str queue = m->worker->queues[dead->row.queue];
    cronq_bytes line;
    cq_record record;
    cq_message message;
    cq_buf buf;
    cronq_status status =
        broker->inspect->task(broker, queue, id_of(dead), &m->arena, &record, err);

    if (!status)
        status = cq_message_check(record.message, queue, id_of(dead), &m->arena, &message,
                                  err);
    if (status)
        return status;
    cq_buf_init(&buf, CQ_MESSAGE_LIMIT_BYTES);
    status = cq_outcome_rewrite(&message, CQ_ARCHIVE, true, cq_str_of(text),
                                cq_now_ns(m->worker) / CQ_NS_PER_S, &buf, err);
    if (!status) {
        out->kind = CQ_ARCHIVE;
        out->failure = true;
        out->message =
            (cronq_bytes){ cq_arena_dup(&m->arena, buf.data, buf.len), buf.len };
        if (!out->message.data)
            status = cq_fail_nomem(err);
        cq_buf_reset(&buf);
        line =
            cq_outcome_failure_line(&message, cq_str_of(text), m->worker->heartbeat.host,
                                    cq_now_ns(m->worker), &buf);
        line.data = line.len ? cq_arena_dup(&m->arena, line.data, line.len) : NULL;
        if (line.data)
            out->failure_line = line;
    }
    cq_buf_release(&buf);
    return status;
}

static cronq_status plan(mourning *m, size_t i, cq_outcome *out, cronq_error *err)
{
    const cq_dead *dead = &m->dead[i];
    char crash[CQ_CRASH_TEXT_BYTES], text[CQ_CRASH_TEXT_BYTES + 64];
    cq_log_about about = about_of(m, dead);
    cronq_status status;

    *out = (cq_outcome){ .kind = CQ_GIVE_BACK,
                         .queue = dead->row.queue,
                         .fence = dead->row.fence,
                         .taken_at_ns = dead->row.taken_at_ns,
                         .id = id_of(dead) };
    if (dead->report.row)
        snprintf(text, sizeof text, CQ_PANIC_PREFIX "%s",
                 cq_crash_text(&dead->report.crash, 0, crash));
    else if (m->deaths[i] >= CQ_DEATHS_LIMIT)
        snprintf(text, sizeof text, "poison: its worker died %u times while it ran",
                 m->deaths[i]);
    else {
        if (atomic_load(&dead->row.state) != CQ_ROW_TAKEN)
            CQ_LOG_ABOUT(&m->worker->logger, CRONQ_LOG_WARN, &about,
                         "given back: its worker died while it ran, or before its "
                         "outcome was written");
        return CRONQ_OK;
    }
    status = archive(m, dead, text, out, err);
    if (status == CRONQ_EIO)
        return status;
    if (!status)
        CQ_LOG_ABOUT(&m->worker->logger, CRONQ_LOG_ERROR, &about, "archived: %s", text);
    return CRONQ_OK;
}

/* Deaths are counted once, however often the rest is tried. */
static cronq_status count_deaths(mourning *m, cronq_error *err)
{
    cq_broker *broker = m->worker->broker;
    cq_lease *leases = cq_arena_calloc(&m->arena, m->count, sizeof *leases);
    uint32_t *deaths = cq_arena_calloc(&m->arena, m->count, sizeof *deaths);
    size_t *from = cq_arena_calloc(&m->arena, m->count, sizeof *from), n = 0;
    cronq_status status;

    if (!leases || !deaths || !from)
        return cq_fail_nomem(err);
    for (size_t i = 0; i < m->count; i++) {
        if (m->reported || atomic_load(&m->dead[i].row.state) != CQ_ROW_STARTED)
            continue;
        leases[n] = (cq_lease){ m->worker->queues[m->dead[i].row.queue],
                                id_of(&m->dead[i]), m->dead[i].row.fence, CRONQ_EIO };
        from[n++] = i;
    }
    status = n ? broker->ops->count_deaths(broker, leases, n, deaths, err) : CRONQ_OK;
    for (size_t i = 0; !status && i < n; i++)
        m->deaths[from[i]] = leases[i].status ? 0 : deaths[i];
    return status;
}

static void tell_of_archived(mourning *m, const cq_exchange *exchange)
{
    for (size_t i = 0; i < exchange->outcome_count; i++) {
        const cq_outcome *outcome = &exchange->outcomes[i];

        if (outcome->kind == CQ_ARCHIVE && !outcome->status)
            cq_notices_add(&m->worker->notices, outcome->message, outcome->failure_line,
                           exchange->now_ns);
    }
}

static cronq_status send_outcomes(mourning *m, size_t first, size_t count,
                                  cronq_error *err)
{
    cq_intake *intake = m->worker->intake;
    cq_exchange exchange = { .now_ns = cq_now_ns(m->worker),
                             .outcomes = m->outcomes,
                             .arena = &m->arena };
    cronq_status status = CRONQ_OK;

    for (size_t i = 0; i < count && !status; i++)
        status = plan(m, first + i, &m->outcomes[exchange.outcome_count++], err);
    if (!status)
        status = intake->ops->exchange_send(intake, &exchange, err);
    if (!status)
        status = intake->ops->exchange_recv(intake, &exchange, err);
    if (!status)
        tell_of_archived(m, &exchange);
    return status;
}

static cronq_status mourn_once(mourning *m, bool *counted, cronq_error *err)
{
    cq_broker *broker = m->worker->broker;
    cronq_status status = broker->ops->ping(broker, err);

    cq_arena_reset(&m->arena);
    if (!status && !*counted) {
        status = count_deaths(m, err);
        *counted = !status;
    }
    m->outcomes = cq_arena_calloc(&m->arena, CQ_BATCH_LIMIT, sizeof *m->outcomes);
    if (!m->outcomes)
        return cq_fail_nomem(err);
    for (size_t done = 0; done < m->count && !status; done += CQ_BATCH_LIMIT)
        status = send_outcomes(
            m, done, m->count - done < CQ_BATCH_LIMIT ? m->count - done : CQ_BATCH_LIMIT,
            err);
    return status;
}

int64_t cq_worker_mourn_ms(const cq_worker *worker)
{
    return worker->options->lease_ms;
}

cronq_status cq_worker_mourn(cq_worker *worker, const cq_dead *dead, size_t count,
                             bool reported, cronq_error *err)
{
    int64_t until_ns = cq_mono_ns() + cq_worker_mourn_ms(worker) * CQ_NS_PER_MS;
    mourning m = { .worker = worker, .dead = dead, .count = count, .reported = reported };
    bool counted = false;
    cronq_status status = worker->broker->ops->intake_open(worker->broker, worker->queues,
                                                           worker->options->queue_count,
                                                           &worker->intake, err);

    m.deaths = calloc(count + 1, sizeof *m.deaths);
    if (!status && !m.deaths)
        status = cq_fail_nomem(err);
    if (!status)
        status = cq_notices_start(&worker->notices, worker, err);
    cq_arena_init(&m.arena, ARENA_BYTES);
    while (!status) {
        status = mourn_once(&m, &counted, err);
        if (!status || cq_mono_ns() > until_ns)
            break;
        status = CRONQ_OK;
        cq_sleep_ms(AGAIN_MS);
    }
    cq_notices_end(&worker->notices, cq_mono_ns() + NOTICES_NS);
    cq_arena_release(&m.arena);
    free(m.deaths);
    return status;
}
