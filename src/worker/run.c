/* SPDX-License-Identifier: MIT */
/* run.c - running an attempt on a worker thread, and judging how it ended. */
#include "base/clock.h"
#include "base/error.h"
#include "worker/internal.h"
#include "worker/retry.h"
#include "worker/trace.h"

#include <unistd.h>

/* Why an attempt did not succeed: the whole text, and what callbacks get of it. The text
 * is out of the attempt's hands, because callbacks may set another. */
typedef struct failing {
    cronq_error error;
    cq_str text;
    cq_buf said;
} failing;

static void begin(cronq_attempt *attempt)
{
    int64_t end_ns;

    attempt->started_at_mono_ns = cq_mono_ns();
    attempt->started_at_ns = cq_now_ns(attempt->worker);
    end_ns = cq_deadline_ns(&attempt->message, attempt->started_at_ns);
    attempt->deadline_at_ns = end_ns;
    if (end_ns != INT64_MAX)
        atomic_store(&attempt->deadline_mono_ns,
                     cq_add_saturating(attempt->started_at_mono_ns,
                                       end_ns - attempt->started_at_ns));
    if (end_ns <= attempt->started_at_ns)
        cq_attempt_cancel(attempt, CRONQ_ETIMEDOUT);
    atomic_store(&attempt->phase, CQ_RUNNING);
}

static void forget_cancel_fd(cronq_attempt *attempt)
{
    cq_worker *worker = attempt->worker;

    if (attempt->cancel_fd < 0)
        return;
    pthread_mutex_lock(&worker->cancel_mutex);
    close(attempt->cancel_fd);
    attempt->cancel_fd = -1;
    pthread_mutex_unlock(&worker->cancel_mutex);
}

static void log_end(const cronq_attempt *attempt, cronq_log_level level, const char *what,
                    cq_str text)
{
    cq_log_about about = cq_attempt_about(attempt);

    about.duration_ms =
        (attempt->ended_at_mono_ns - attempt->started_at_mono_ns) / CQ_NS_PER_MS;
    cq_attempt_trace_tell(attempt, &about.trace_id, &about.span_id);
    CQ_LOG_ABOUT(&attempt->worker->logger, level, &about, "%s%s%.*s", what,
                 text.len ? ": " : "", CQ_FMT(text));
}

static const char *reason_text(int reason)
{
    if (reason == CRONQ_ETIMEDOUT)
        return CQ_TEXT_TIMED_OUT;
    return reason == CRONQ_ESTATE ? CQ_TEXT_LEASE_EXPIRED : CQ_TEXT_CANCELED;
}

/* What ends the attempt from outside beats what the handler said, unless that was ok, or
 * a panic. */
static cronq_status judge(cronq_attempt *attempt, cronq_status status, failing *why)
{
    int reason = atomic_load(&attempt->reason);

    if (status == CRONQ_ERETRYIN && !attempt->retry_asked)
        status = CRONQ_EFAILED;
    why->said = attempt->error_text;
    cq_buf_init(&attempt->error_text, CQ_ERROR_TEXT_LIMIT_BYTES);
    why->text = cq_buf_str(&why->said);
    if (why->text.len == 0)
        why->text = cq_str_of(cronq_status_text(status));
    if (reason && reason != CQ_ABORTED && status != CRONQ_EPANIC) {
        status = (cronq_status)reason;
        why->text = cq_str_of(reason_text(reason));
    }
    cq_fail(&why->error, status, "%.*s", CQ_FMT(why->text));
    return status;
}

static bool counts_as_failure(cronq_attempt *attempt, cronq_status status,
                              const failing *why)
{
    const cronq_server_options *options = attempt->worker->options;

    if (status == CRONQ_ERETRYIN)
        return attempt->retry_counted ||
               cq_deferred_count(&attempt->message) >= CQ_DEFERRED_LIMIT;
    if (status == CRONQ_ENORETRY || status == CRONQ_EPANIC || !options->is_failure)
        return true;
    return options->is_failure(&why->error, options->is_failure_arg);
}

static int64_t retry_at_ms(cronq_attempt *attempt, cronq_status status,
                           const failing *why, int64_t now_ns, cq_random *random)
{
    int64_t delay_ms = attempt->retry_in_ms;

    if (status != CRONQ_ERETRYIN || delay_ms < 0)
        delay_ms = cq_retry_delay_ms(attempt->worker->options, attempt->message.retried,
                                     &why->error, attempt->type, random);
    return cq_add_saturating(now_ns / CQ_NS_PER_MS, delay_ms);
}

static void set_outcome(cronq_attempt *attempt, cq_outcome_kind kind, bool failure)
{
    attempt->outcome = (cq_outcome){ .kind = kind,
                                     .failure = failure,
                                     .queue = attempt->queue,
                                     .fence = attempt->fence,
                                     .taken_at_ns = attempt->taken_at_ns,
                                     .id = attempt->message.id,
                                     .unique_key = attempt->message.unique_key };
}

void cq_attempt_give_back(cronq_attempt *attempt)
{
    set_outcome(attempt, CQ_GIVE_BACK, false);
    atomic_store(&attempt->phase, CQ_FINISHED);
}

static void rewrite(cronq_attempt *attempt, cq_str text, int64_t now_s)
{
    cq_outcome *outcome = &attempt->outcome;
    cq_message message = attempt->message;
    size_t message_len;
    cronq_error err;
    cronq_status status = CRONQ_OK;

    if (attempt->retry_asked && outcome->kind == CQ_RETRY && !outcome->failure)
        status = cq_count_deferral(&message, &attempt->memory, &err);
    if (!status)
        status = cq_outcome_rewrite(&message, outcome->kind, outcome->failure, text,
                                    now_s, &attempt->rewritten, &err);
    if (status) {
        attempt->unwritten = true;
        log_end(attempt, CRONQ_LOG_ERROR, "outcome cannot be written",
                cq_str_of(err.text));
        return;
    }
    message_len = attempt->rewritten.len;
    if (outcome->kind != CQ_COMPLETE)
        outcome->failure_line = cq_outcome_failure_line(
            &attempt->message, text, attempt->worker->heartbeat.host,
            cq_now_ns(attempt->worker), &attempt->rewritten);
    outcome->message = (cronq_bytes){ attempt->rewritten.data, message_len };
}

/* The retention is what some peer wrote. */
static int64_t kept_until_ms(int64_t now_s, int64_t retention_s)
{
    int64_t until_s = cq_add_saturating(now_s, retention_s);

    return until_s > INT64_MAX / CQ_MS_PER_S ? INT64_MAX : until_s * CQ_MS_PER_S;
}

static void conclude_ok(cronq_attempt *attempt)
{
    static const cq_ending ok = { .status = CRONQ_OK };
    cq_outcome_kind kind = cq_outcome_kind_of(&ok, &attempt->message);
    int64_t now_s;

    if (cronq_attempt_cancel_reason(attempt) == CRONQ_ETIMEDOUT)
        log_end(attempt, CRONQ_LOG_WARN, "done, but late: after its deadline",
                (cq_str){ 0 });
    set_outcome(attempt, kind, false);
    if (kind == CQ_DONE)
        return;
    now_s = cq_now_ns(attempt->worker) / CQ_NS_PER_S;
    attempt->outcome.at_ms = kept_until_ms(now_s, attempt->message.retention_s);
    rewrite(attempt, (cq_str){ 0 }, now_s);
}

static void conclude_not_ok(cronq_attempt *attempt, cronq_status status,
                            cq_random *random)
{
    static const char *const words[] = {
        [CQ_DONE] = "dropped by its handler", [CQ_COMPLETE] = "completed",
        [CQ_RETRY] = "failed, to be retried", [CQ_ARCHIVE] = "failed, archived",
        [CQ_GIVE_BACK] = "given back",
    };
    const cronq_server_options *options = attempt->worker->options;
    int64_t now_ns = cq_now_ns(attempt->worker);
    failing why = { 0 };
    cq_ending ending = { .aborted = atomic_load(&attempt->reason) == CQ_ABORTED };
    cq_outcome_kind kind;

    ending.status = judge(attempt, status, &why);
    ending.failure = counts_as_failure(attempt, ending.status, &why);
    kind = cq_outcome_kind_of(&ending, &attempt->message);
    if (options->on_error && kind != CQ_GIVE_BACK)
        options->on_error(attempt, &why.error, options->on_error_arg);
    set_outcome(attempt, kind, ending.failure);
    log_end(attempt,
            ending.status == CRONQ_EPANIC ? CRONQ_LOG_ERROR
            : kind == CQ_ARCHIVE          ? CRONQ_LOG_WARN
                                          : CRONQ_LOG_INFO,
            words[kind], why.text);
    if (kind == CQ_RETRY)
        attempt->outcome.at_ms =
            retry_at_ms(attempt, ending.status, &why, now_ns, random);
    if (kind == CQ_RETRY || kind == CQ_ARCHIVE)
        rewrite(attempt, why.text, now_ns / CQ_NS_PER_S);
    if (kind == CQ_RETRY || kind == CQ_ARCHIVE)
        cq_attempt_trace_fail(attempt, ending.status, why.text);
    cq_buf_release(&why.said);
}

/* Somebody else has the task, or will. Only a success is still worth a try while the
 * store has not said so: the fence decides. */
static bool is_lost(cronq_attempt *attempt, cronq_status status)
{
    if (atomic_load(&attempt->lost))
        return true;
    return status && cronq_attempt_cancel_reason(attempt) == CRONQ_ESTATE;
}

static void conclude_lost(cronq_attempt *attempt)
{
    const cronq_server_options *options = attempt->worker->options;
    cronq_error why;

    attempt->unwritten = true;
    cq_fail(&why, CRONQ_ESTATE, "%s", CQ_TEXT_LEASE_EXPIRED);
    if (options->on_error)
        options->on_error(attempt, &why, options->on_error_arg);
    cq_attempt_trace_fail(attempt, CRONQ_ESTATE, CQ_STR(CQ_TEXT_LEASE_EXPIRED));
    log_end(attempt, CRONQ_LOG_WARN, "lease lost, outcome not written", (cq_str){ 0 });
}

/* ---- metrics ---- */

static void measure_begin(cronq_attempt *attempt)
{
    cronq_metrics *metrics = attempt->worker->metrics;

    if (!metrics)
        return;
    attempt->measures = cq_metrics_type(metrics, attempt->message.type);
    cq_cell_add(&cq_type_here(metrics, attempt->measures)->started, 1);
    if (attempt->ready_at_ns)
        cq_histogram_add(cq_metrics_common(metrics)->pickup_ns, &cq_wait_bounds,
                         attempt->started_at_ns - attempt->ready_at_ns);
}

/* What is given back was not consumed. */
static void measure_end(const cronq_attempt *attempt, cronq_status status)
{
    cronq_metrics *metrics = attempt->worker->metrics;
    cq_outcome_kind kind = attempt->outcome.kind;
    cq_consumed how = CQ_CONSUMED_FAIL;
    cq_type_cells *cells;

    if (!metrics)
        return;
    cells = cq_type_here(metrics, attempt->measures);
    cq_cell_add(&cells->ended, 1);
    if (!attempt->unwritten && kind == CQ_GIVE_BACK)
        return;
    if (!attempt->unwritten && (kind == CQ_DONE || kind == CQ_COMPLETE))
        how = CQ_CONSUMED_OK;
    else if (status == CRONQ_ENORETRY)
        how = CQ_CONSUMED_SKIP;
    cq_cell_add(&cells->consumed[how], 1);
    cq_histogram_add(cells->consume_ns, &cq_consume_bounds,
                     attempt->ended_at_mono_ns - attempt->started_at_mono_ns);
    cq_histogram_add(cells->consume_bytes, &cq_bytes_bounds,
                     (int64_t)attempt->message.payload.len);
    if (status == CRONQ_EPANIC)
        cq_cell_add(&cells->died, 1);
    if (!attempt->unwritten && kind == CQ_RETRY)
        cq_cell_add(&cells->retried, 1);
}

bool cq_attempt_begin(cronq_attempt *attempt)
{
    if (attempt->row)
        cq_ledger_set(attempt->worker->ledger, attempt->row, CQ_ROW_STARTED);
    begin(attempt);
    measure_begin(attempt);
    if (cronq_attempt_cancelled(attempt))
        return false;
    cq_deadlines_watch(&attempt->worker->deadlines, attempt);
    return true;
}

void cq_attempt_undo_begin(cronq_attempt *attempt)
{
    cronq_metrics *metrics = attempt->worker->metrics;

    if (attempt->row)
        cq_ledger_set(attempt->worker->ledger, attempt->row, CQ_ROW_TAKEN);
    atomic_store(&attempt->deadline_mono_ns, INT64_MAX);
    atomic_store(&attempt->phase, CQ_QUEUED);
    if (metrics)
        cq_cell_add(&cq_type_here(metrics, attempt->measures)->ended, 1);
}

void cq_attempt_end(cronq_attempt *attempt, cronq_status status, cq_random *random)
{
    if (!attempt->ended_at_mono_ns)
        attempt->ended_at_mono_ns = cq_mono_ns();
    if (is_lost(attempt, status))
        conclude_lost(attempt);
    else if (status == CRONQ_OK)
        conclude_ok(attempt);
    else
        conclude_not_ok(attempt, status, random);
    measure_end(attempt, status);
    if (attempt->trace)
        cq_attempt_trace_end(attempt);
    forget_cancel_fd(attempt);
    cq_arena_release(&attempt->memory);
    if (attempt->row)
        cq_ledger_set(attempt->worker->ledger, attempt->row, CQ_ROW_ENDED);
    atomic_store(&attempt->phase, CQ_FINISHED);
}

void cq_attempt_run(cronq_attempt *attempt, cq_random *random)
{
    cq_attempt_trace trace;
    bool runs = cq_attempt_begin(attempt);
    cronq_status status = cronq_attempt_cancel_reason(attempt);

    cq_reporter_run(attempt->row);
    if (attempt->worker->tracer)
        cq_attempt_trace_begin(attempt, &trace);
    if (runs)
        status = cq_mux_run(&attempt->worker->mux, attempt);
    cq_attempt_end(attempt, status, random);
    cq_reporter_run(0);
}
