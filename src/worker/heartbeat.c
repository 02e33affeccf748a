/* SPDX-License-Identifier: MIT */
/* heartbeat.c - extending leases and writing the server's state. */
#include "worker/heartbeat.h"

#include "base/clock.h"
#include "base/error.h"
#include "codec/info.h"
#include "worker/internal.h"

#include <stdlib.h>
#include <unistd.h>

#define EXTEND_BATCH        500
#define RETRY_MS            1000
#define SHOWN_PAYLOAD_BYTES 4096
#define BEAT_LIMIT_BYTES    ((size_t)256 << 20)

/* ---- leases ---- */

static bool make_room(cq_heartbeat *beat, size_t count)
{
    cq_lease *leases;
    cronq_attempt **attempts;

    if (count <= beat->lease_room)
        return true;
    leases = realloc(beat->leases, count * sizeof *leases);
    if (leases)
        beat->leases = leases;
    attempts = realloc(beat->attempts, count * sizeof(cronq_attempt *));
    if (attempts)
        beat->attempts = attempts;
    if (!leases || !attempts)
        return false;
    beat->lease_room = count;
    return true;
}

/* All that is in flight: taken ahead, running, and finished but not answered. */
static size_t list_leases(cq_heartbeat *beat)
{
    cq_worker *worker = beat->worker;
    size_t most = 0, count = 0;

    for (size_t i = 0; i < beat->batch_count; i++)
        most += beat->batches[i]->count;
    if (!make_room(beat, most))
        return 0;
    for (size_t i = 0; i < beat->batch_count; i++) {
        for (size_t j = 0; j < beat->batches[i]->count; j++) {
            cronq_attempt *attempt = &beat->batches[i]->attempts[j];

            if (cq_attempt_phase(attempt) == CQ_ANSWERED || atomic_load(&attempt->lost))
                continue;
            beat->attempts[count] = attempt;
            beat->leases[count++] =
                (cq_lease){ worker->queues[attempt->queue], attempt->message.id,
                            attempt->fence, CRONQ_EIO };
        }
    }
    return count;
}

/* One whose outcome was written meanwhile has no lease either: only who still runs has
 * lost something. */
static void lose(cronq_attempt *attempt)
{
    cq_log_about about = cq_attempt_about(attempt);

    if (cq_attempt_phase(attempt) >= CQ_FINISHED)
        return;
    atomic_store(&attempt->lost, true);
    if (cq_attempt_cancel(attempt, CRONQ_ESTATE))
        CQ_LOG_ABOUT(&attempt->worker->logger, CRONQ_LOG_WARN, &about,
                     "lease lost while the task runs: cancelled");
}

static void must_be_over(cronq_attempt *attempt)
{
    cq_log_about about = cq_attempt_about(attempt);

    if (cq_attempt_cancel(attempt, CRONQ_ESTATE))
        CQ_LOG_ABOUT(&attempt->worker->logger, CRONQ_LOG_WARN, &about,
                     "lease ran out without an answer of the store: cancelled");
}

/* With a mark that it is cancelled, whose message we may have missed. */
static bool is_extended(cronq_status status)
{
    return status == CRONQ_OK || status == CRONQ_ECANCELED;
}

static void extend_some(cq_heartbeat *beat, cq_lease *leases, cronq_attempt **attempts,
                        size_t count)
{
    cq_worker *worker = beat->worker;
    int64_t now_ns = cq_now_ns(worker);
    int64_t until_ns = now_ns + worker->options->lease_ms * CQ_NS_PER_MS;
    int64_t sent_ns = cq_mono_ns();
    uint64_t extended = 0;
    cronq_error err;
    cronq_status status =
        worker->broker->ops->extend(worker->broker, leases, count, now_ns, &err);

    if (status && status != CRONQ_EIO && !beat->reported)
        CQ_WARN(&worker->logger, "cannot extend leases, trying again: %s", err.text);
    beat->reported = beat->failing = status != CRONQ_OK;
    if (!status)
        cq_metrics_round_trip(worker->metrics, CQ_TRIP_EXTEND, cq_mono_ns() - sent_ns);
    now_ns = cq_now_ns(worker);
    for (size_t i = 0; i < count; i++) {
        extended += !status && leases[i].status == CRONQ_OK;
        if (!status && is_extended(leases[i].status))
            atomic_store(&attempts[i]->lease_until_ns, until_ns);
        if (!status && leases[i].status == CRONQ_ECANCELED)
            cq_attempt_cancel(attempts[i], CRONQ_ECANCELED);
        if (!status && is_extended(leases[i].status))
            continue;
        if (!status && leases[i].status == CRONQ_ESTATE)
            lose(attempts[i]);
        else if (now_ns >= atomic_load(&attempts[i]->lease_until_ns))
            must_be_over(attempts[i]);
    }
    CQ_METRICS_ADD(worker->metrics, leases_extended, extended);
}

static void extend_all(cq_heartbeat *beat)
{
    size_t count = list_leases(beat);

    for (size_t at = 0; at < count && !beat->failing; at += EXTEND_BATCH) {
        size_t some = count - at < EXTEND_BATCH ? count - at : EXTEND_BATCH;

        extend_some(beat, beat->leases + at, beat->attempts + at, some);
    }
}

/* ---- state ---- */

/* Append it, and return its length; 0 when it can not be encoded. */
static size_t worker_info(cq_heartbeat *beat, cronq_attempt *attempt, cq_buf *out)
{
    cq_worker_info info = {
        .host = cq_str_of(beat->host),
        .pid = (int32_t)getpid(),
        .server_id = cq_str_of(beat->server_id),
        .task_id = attempt->message.id,
        .task_type = attempt->message.type,
        .task_payload = attempt->message.payload,
        .queue = attempt->message.queue,
        .start_time = cq_timestamp_of_ns(attempt->started_at_ns),
        .deadline = cq_timestamp_of_ns(attempt->deadline_at_ns),
    };
    size_t before = out->len;

    if (info.task_payload.len > SHOWN_PAYLOAD_BYTES)
        info.task_payload.len = SHOWN_PAYLOAD_BYTES;
    if (cq_worker_info_encode(&info, out, NULL))
        return 0;
    return out->len - before;
}

/* The encodings follow one another in out; pointers are set when it grows no more. */
static size_t list_workers(cq_heartbeat *beat, cq_beat_worker *workers, size_t most,
                           cq_buf *out)
{
    size_t count = 0, at = 0;

    for (size_t i = 0; i < beat->batch_count; i++) {
        for (size_t j = 0; j < beat->batches[i]->count && count < most; j++) {
            cronq_attempt *attempt = &beat->batches[i]->attempts[j];
            size_t len;

            if (cq_attempt_phase(attempt) != CQ_RUNNING)
                continue;
            len = worker_info(beat, attempt, out);
            if (len)
                workers[count++] = (cq_beat_worker){ attempt->message.id, { NULL, len } };
        }
    }
    for (size_t i = 0; i < count; i++) {
        workers[i].info.data = out->data + at;
        at += workers[i].info.len;
    }
    return count;
}

static cronq_status server_info(cq_heartbeat *beat, size_t running, cq_arena *arena,
                                cq_buf *out, cronq_error *err)
{
    const cronq_server_options *options = beat->worker->options;
    bool quiet = atomic_load(&beat->worker->quiet);
    cq_queue_weight *queues =
        cq_arena_calloc(arena, options->queue_count, sizeof *queues);
    cq_server_info info = {
        .host = cq_str_of(beat->host),
        .pid = (int32_t)getpid(),
        .server_id = cq_str_of(beat->server_id),
        .concurrency = (int32_t)options->concurrency,
        .queues = queues,
        .queue_count = options->queue_count,
        .strict_priority = options->strict_priority,
        .status = quiet ? CQ_STR("stopped") : CQ_STR("active"),
        .start_time = cq_timestamp_of_ns(beat->started_at_ns),
        .active_worker_count = (int32_t)running,
    };

    if (!queues)
        return cq_fail_nomem(err);
    for (size_t i = 0; i < options->queue_count; i++)
        queues[i] = (cq_queue_weight){ cq_str_of(options->queues[i].name),
                                       (int32_t)options->queues[i].weight };
    return cq_server_info_encode(&info, out, err);
}

static cq_beat make_beat(cq_heartbeat *beat)
{
    return (cq_beat){ .host = cq_str_of(beat->host),
                      .server_id = cq_str_of(beat->server_id),
                      .pid = (int)getpid(),
                      .now_ns = cq_now_ns(beat->worker),
                      .ttl_s = cq_seconds_up(2 * beat->worker->options->heartbeat_ms) };
}

/* Failures are not reported here: fetcher and extension say enough. */
static void write_state(cq_heartbeat *beat)
{
    cq_worker *worker = beat->worker;
    size_t most = worker->options->concurrency;
    cq_beat state = make_beat(beat);
    cq_beat_worker *workers;
    cq_buf infos, info;
    cq_arena arena;

    cq_arena_init(&arena, BEAT_LIMIT_BYTES);
    cq_buf_init(&infos, BEAT_LIMIT_BYTES);
    cq_buf_init(&info, BEAT_LIMIT_BYTES);
    workers = cq_arena_calloc(&arena, most, sizeof *workers);
    if (workers) {
        state.workers = workers;
        state.worker_count = list_workers(beat, workers, most, &infos);
        if (server_info(beat, state.worker_count, &arena, &info, NULL) == CRONQ_OK) {
            state.info = (cronq_bytes){ info.data, info.len };
            beat->failing = worker->broker->ops->beat(worker->broker, &state, NULL);
        }
    }
    cq_buf_release(&info);
    cq_buf_release(&infos);
    cq_arena_release(&arena);
}

static void beat_once(cq_heartbeat *beat)
{
    cq_worker *worker = beat->worker;

    if (cq_live_snapshot(&worker->live, &beat->batches, &beat->batch_count,
                         &beat->batch_room))
        return;
    beat->failing = false;
    extend_all(beat);
    if (!beat->failing)
        write_state(beat);
    for (size_t i = 0; i < beat->batch_count; i++)
        cq_live_drop(&worker->live, beat->batches[i]);
    beat->batch_count = 0;
}

/* ---- life ---- */

/* A lease that could not be extended is tried again before long. */
static int64_t next_beat_ms(const cq_heartbeat *beat)
{
    int64_t period_ms = beat->worker->options->heartbeat_ms;

    return beat->failing && period_ms > RETRY_MS ? RETRY_MS : period_ms;
}

static void *run(void *arg)
{
    cq_heartbeat *beat = arg;
    cq_worker *worker = beat->worker;
    cq_beat last;

    beat->started_at_ns = cq_now_ns(worker);
    do {
        atomic_fetch_add(&beat->turns, 1);
        beat_once(beat);
    } while (!cq_event_wait(&worker->ended, next_beat_ms(beat)));
    last = make_beat(beat);
    if (!beat->failing) /* a store that is gone must not hold up the stop */
        worker->broker->ops->beat_clear(worker->broker, &last, NULL);
    return NULL;
}

void cq_heartbeat_init(cq_heartbeat *beat, cq_worker *worker)
{
    cq_random random;

    *beat = (cq_heartbeat){ .worker = worker };
    cq_random_init(&random);
    cq_uuid4(&random, beat->server_id);
    if (gethostname(beat->host, sizeof beat->host - 1))
        memcpy(beat->host, "localhost", sizeof "localhost");
}

void cq_heartbeat_release(cq_heartbeat *beat)
{
    free(beat->batches);
    free(beat->leases);
    free(beat->attempts);
}

cronq_status cq_heartbeat_start(cq_heartbeat *beat, cronq_error *err)
{
    cronq_status status =
        cq_thread_start(&beat->thread, "cronq-heartbeat", run, beat, err);

    beat->running = status == CRONQ_OK;
    return status;
}

void cq_heartbeat_join(cq_heartbeat *beat)
{
    if (beat->running)
        pthread_join(beat->thread, NULL);
    beat->running = false;
}
