/* SPDX-License-Identifier: MIT */
/* worker.c - a worker's life: putting its parts together, starting and stopping. */
#include "worker/worker.h"

#include "base/clock.h"
#include "base/error.h"
#include "worker/internal.h"

#include <stdlib.h>

#define HURRY_LOOK_MS     50
#define MISSED_BEATS      6
#define ABORT_PATIENCE_MS 1000 /* for handlers that were cancelled by the stop */
#define GIVE_BACK_BYTES   ((size_t)16 << 20)

/* ---- making ---- */

static cronq_status copy_queues(cq_worker *worker, cronq_error *err)
{
    const cronq_server_options *options = worker->options;

    worker->queues = calloc(options->queue_count, sizeof *worker->queues);
    if (!worker->queues)
        return cq_fail_nomem(err);
    for (size_t i = 0; i < options->queue_count; i++)
        worker->queues[i] = cq_str_of(options->queues[i].name);
    return CRONQ_OK;
}

static void init_locks(cq_worker *worker)
{
    pthread_mutex_init(&worker->state_mutex, NULL);
    pthread_mutex_init(&worker->cancel_mutex, NULL);
    cq_live_init(&worker->live);
    cq_desk_init(&worker->desk);
    cq_deadlines_init(&worker->deadlines, worker);
    cq_heartbeat_init(&worker->heartbeat, worker);
    cq_mux_init(&worker->mux);
    cq_isolation_init(&worker->isolation, worker);
}

static void destroy(cq_worker *worker)
{
    if (worker->intake)
        worker->intake->ops->intake_close(worker->intake);
    cq_recoverer_release(&worker->recoverer);
    cq_fetcher_release(&worker->fetcher);
    cq_aggregator_release(&worker->aggregator);
    cq_notices_release(&worker->notices);
    cq_event_release(&worker->ended);
    cq_isolation_release(&worker->isolation);
    cq_mux_release(&worker->mux);
    cq_heartbeat_release(&worker->heartbeat);
    cq_deadlines_release(&worker->deadlines);
    cq_desk_release(&worker->desk);
    cq_live_release(&worker->live);
    pthread_mutex_destroy(&worker->cancel_mutex);
    pthread_mutex_destroy(&worker->state_mutex);
    free(worker->hands);
    free(worker->queues);
    free(worker);
}

cronq_status cq_worker_new(cq_broker *broker, const cronq_server_options *options,
                           cq_worker **out, cronq_error *err)
{
    cq_worker *worker = calloc(1, sizeof *worker);
    cronq_status status;

    if (!worker)
        return cq_fail_nomem(err);
    worker->broker = broker;
    worker->options = options;
    worker->logger = options->logger;
    worker->metrics = options->metrics;
    worker->tracer = options->tracer;
    worker->ended.fd = -1;
    init_locks(worker);
    status = copy_queues(worker, err);
    if (!status)
        status = cq_event_init(&worker->ended, err);
    if (!status)
        status = cq_fetcher_init(&worker->fetcher, worker, err);
    if (!status)
        status = cq_recoverer_init(&worker->recoverer, worker, err);
    if (status) {
        destroy(worker);
        return status;
    }
    *out = worker;
    return CRONQ_OK;
}

static cronq_status check_new(cq_worker *worker, const char *what, cronq_error *err)
{
    cq_worker_state state;

    pthread_mutex_lock(&worker->state_mutex);
    state = worker->state;
    pthread_mutex_unlock(&worker->state_mutex);
    if (state == CQ_WORKER_NEW)
        return CRONQ_OK;
    return cq_fail(err, CRONQ_ESTATE, "%s: the server has been started", what);
}

cronq_status cq_worker_add(cq_worker *worker, const char *pattern, cronq_handler *handler,
                           void *arg, cronq_error *err)
{
    cronq_status status = check_new(worker, "handler", err);

    return status ? status : cq_mux_add(&worker->mux, pattern, handler, arg, err);
}

void cq_worker_remove(cq_worker *worker, const char *pattern)
{
    cq_mux_remove(&worker->mux, pattern);
}

cronq_status cq_worker_isolate(cq_worker *worker, const char *pattern,
                               const cronq_handler_options *options, cronq_error *err)
{
    const cq_route *route = cq_mux_find(&worker->mux, cq_str_of(pattern));
    cronq_status status = check_new(worker, "handler", err);
    cq_crew *crew;

    if (status)
        return status;
    status = cq_isolation_add(&worker->isolation, pattern, route->handler, route->arg,
                              options, &crew, err);
    if (!status)
        cq_mux_isolate(&worker->mux, pattern, crew);
    return status;
}

cronq_status cq_worker_use(cq_worker *worker, cronq_middleware *middleware, void *arg,
                           cronq_error *err)
{
    cronq_status status = check_new(worker, "middleware", err);

    return status ? status : cq_mux_use(&worker->mux, middleware, arg, err);
}

void cq_worker_set_user_data(cq_worker *worker, void *user_data)
{
    worker->user_data = user_data;
}

const cq_worker_counters *cq_worker_counts(const cq_worker *worker)
{
    return &worker->counters;
}

/* ---- starting ---- */

static const cq_route *route_of(cq_worker *worker, const cronq_attempt *attempt)
{
    return cq_mux_find(&worker->mux, attempt->message.type);
}

static bool has_same_crew(cronq_attempt *attempt, void *crew)
{
    const cq_route *route = route_of(attempt->worker, attempt);

    return route && route->crew == crew;
}

static void end_in_parcel(void *arg, cronq_attempt *attempt, cronq_status status)
{
    cq_hand *hand = arg;
    cq_worker *worker = hand->worker;

    if (status == CQ_WITHDRAWN) {
        cq_attempt_undo_begin(attempt);
        cq_desk_put_back(&worker->desk, attempt);
        return;
    }
    cq_attempt_end(attempt, status, &hand->random);
    cq_desk_finish(&worker->desk, attempt);
    cq_fetcher_wake(&worker->fetcher);
}

/* Of short tasks a child gets several at once: handing over costs more than they do. */
static void run_parcel(cq_hand *hand, cq_crew *crew, cronq_attempt *attempt)
{
    cronq_attempt *parcel[CQ_PARCEL_LIMIT];
    cq_worker *worker = hand->worker;
    uint32_t most = crew->options.child_task_count;
    size_t count = 0;

    if (most == 0 || most > CQ_PARCEL_LIMIT)
        most = CQ_PARCEL_LIMIT;
    while (attempt) {
        if (cq_attempt_begin(attempt))
            parcel[count++] = attempt;
        else
            end_in_parcel(hand, attempt, cronq_attempt_cancel_reason(attempt));
        attempt =
            count < most ? cq_desk_take_more(&worker->desk, has_same_crew, crew) : NULL;
    }
    if (count)
        cq_crew_run(crew, parcel, count, end_in_parcel, hand);
}

static void run_attempt(cq_hand *hand, cronq_attempt *attempt)
{
    cq_worker *worker = hand->worker;
    const cq_route *route = worker->isolation.crews && worker->mux.wrapper_count == 0 &&
                                    !worker->tracer && cq_desk_is_brief(&worker->desk)
                                ? route_of(worker, attempt)
                                : NULL;

    if (route && route->crew) {
        run_parcel(hand, route->crew, attempt);
        return;
    }
    cq_attempt_run(attempt, &hand->random);
    cq_desk_finish(&worker->desk, attempt);
    cq_fetcher_wake(&worker->fetcher);
}

static void *run_hand(void *arg)
{
    cq_hand *hand = arg;
    cq_worker *worker = hand->worker;
    cronq_attempt *attempt;
    void *stack = worker->ledger ? cq_crash_stack_new() : NULL;

    attempt = cq_desk_take(&worker->desk, false);
    while (attempt) {
        run_attempt(hand, attempt);
        attempt = cq_desk_try(&worker->desk);
        if (!attempt) {
            cq_fetcher_run_dry(&worker->fetcher);
            attempt = cq_desk_take(&worker->desk, true);
        }
    }
    cq_crash_stack_free(stack);
    return NULL;
}

static cronq_status start_hands(cq_worker *worker, cronq_error *err)
{
    uint32_t count = worker->options->concurrency;
    cronq_status status = CRONQ_OK;

    worker->hands = calloc(count, sizeof *worker->hands);
    if (!worker->hands)
        return cq_fail_nomem(err);
    while (worker->hand_count < count && !status) {
        cq_hand *hand = &worker->hands[worker->hand_count];

        hand->worker = worker;
        cq_random_init(&hand->random);
        status = cq_thread_start(&hand->thread, "cronq-worker", run_hand, hand, err);
        worker->hand_count += !status;
    }
    return status;
}

/* Those that hand out work last: nothing is taken before everyone is in place. */
static cronq_status start_threads(cq_worker *worker, cronq_error *err)
{
    cronq_status status = cq_isolation_start(&worker->isolation, err);

    if (!status)
        status = cq_notices_start(&worker->notices, worker, err);
    if (!status)
        status = worker->broker->ops->intake_open(worker->broker, worker->queues,
                                                  worker->options->queue_count,
                                                  &worker->intake, err);
    if (!status)
        status = start_hands(worker, err);
    if (!status)
        status = cq_deadlines_start(&worker->deadlines, err);
    if (!status)
        status = cq_heartbeat_start(&worker->heartbeat, err);
    if (!status)
        status = cq_components_start(worker, err);
    if (!status)
        status = cq_aggregator_start(&worker->aggregator, worker, err);
    if (status)
        return status;
    status = cq_thread_start(&worker->listener, "cronq-listener", cq_listener_run, worker,
                             err);
    worker->listening = !status;
    return status ? status : cq_fetcher_start(&worker->fetcher, err);
}

static void end_threads(cq_worker *worker, bool join_hands)
{
    atomic_store(&worker->ending, true);
    cq_event_set(&worker->ended);
    cq_desk_close(&worker->desk);
    while (join_hands && worker->hand_count > 0)
        pthread_join(worker->hands[--worker->hand_count].thread, NULL);
    cq_heartbeat_join(&worker->heartbeat);
    cq_aggregator_quiet(&worker->aggregator);
    cq_aggregator_join(&worker->aggregator, join_hands);
    cq_ticker_stop(worker->ticker);
    worker->ticker = NULL;
    if (worker->listening)
        pthread_join(worker->listener, NULL);
    worker->listening = false;
    cq_notices_end(&worker->notices, 0);
    if (join_hands)
        cq_notices_join(&worker->notices);
    cq_deadlines_stop(&worker->deadlines);
    if (worker->hand_count == 0)
        cq_isolation_stop(&worker->isolation);
}

void cq_worker_set_ledger(cq_worker *worker, cq_ledger *ledger)
{
    worker->ledger = ledger;
}

bool cq_worker_has_handlers(const cq_worker *worker)
{
    return !cq_mux_is_empty(&worker->mux);
}

cronq_status cq_worker_start(cq_worker *worker, cronq_error *err)
{
    cronq_status status;

    pthread_mutex_lock(&worker->state_mutex);
    if (worker->state == CQ_WORKER_NEW) {
        status = start_threads(worker, err);
        if (status)
            end_threads(worker, true);
        worker->state = status ? CQ_WORKER_STOPPED : CQ_WORKER_ACTIVE;
    } else {
        status = cq_fail(err, CRONQ_ESTATE, "the server has been started already");
    }
    pthread_mutex_unlock(&worker->state_mutex);
    return status;
}

/* ---- stopping ---- */

void cq_worker_quiet(cq_worker *worker)
{
    atomic_store(&worker->quiet, true);
    if (worker->intake)
        cq_fetcher_poke(&worker->fetcher);
}

bool cq_worker_idle(cq_worker *worker)
{
    return atomic_load(&worker->fetcher.idle);
}

static bool has_pulse(cq_pulse *pulse, uint64_t turns, int64_t patience_ns)
{
    int64_t now_ns = cq_mono_ns();

    if (pulse->since_ns == 0 || pulse->turns != turns)
        *pulse = (cq_pulse){ turns, now_ns };
    return now_ns - pulse->since_ns <= patience_ns;
}

/* An idle fetcher sleeps for as long as nothing happens: it is woken when it has slept
 * for half of the patience. */
bool cq_worker_is_alive(cq_worker *worker)
{
    int64_t patience_ns = worker->options->heartbeat_ms * MISSED_BEATS * CQ_NS_PER_MS;
    cq_pulse *fetcher = &worker->pulses[0], *heartbeat = &worker->pulses[1];
    uint64_t turns = atomic_load(&worker->fetcher.turns);
    bool fetches, beats;

    if (fetcher->turns == turns && cq_mono_ns() - fetcher->since_ns > patience_ns / 2)
        cq_fetcher_poke(&worker->fetcher);
    /* Both are looked at each time: that is how their pulse is known. */
    fetches = has_pulse(fetcher, turns, patience_ns);
    beats = has_pulse(heartbeat, atomic_load(&worker->heartbeat.turns), patience_ns);
    return fetches && beats;
}

static void abort_attempt(cronq_attempt *attempt, void *arg)
{
    (void)arg;
    cq_attempt_cancel(attempt, CQ_ABORTED);
}

void cq_worker_set_hurry(cq_worker *worker, const atomic_bool *hurried)
{
    worker->hurried = hurried;
}

static bool is_hurried(const cq_worker *worker)
{
    return worker->hurried && atomic_load(worker->hurried);
}

/* In slices: who hurries it may not wake anybody. */
static bool wait_for_handlers(cq_worker *worker, int64_t until_ns)
{
    bool ended = false;

    while (!ended && !is_hurried(worker) && cq_mono_ns() < until_ns) {
        int64_t slice_ns = cq_mono_ns() + HURRY_LOOK_MS * CQ_NS_PER_MS;

        ended = cq_fetcher_wait_end(&worker->fetcher,
                                    slice_ns < until_ns ? slice_ns : until_ns);
    }
    return ended;
}

/* The fetcher ends by itself once every attempt is answered for. */
static void end_fetching(cq_worker *worker)
{
    cq_fetcher *fetcher = &worker->fetcher;
    int64_t until_ns = cq_mono_ns() + worker->options->shutdown_timeout_ms * CQ_NS_PER_MS;

    atomic_store(&fetcher->stopping, true);
    cq_worker_quiet(worker);
    cq_aggregator_quiet(&worker->aggregator);
    if (!wait_for_handlers(worker, until_ns)) {
        cq_live_each(&worker->live, abort_attempt, NULL);
        until_ns = cq_mono_ns() + ABORT_PATIENCE_MS * CQ_NS_PER_MS;
        if (!cq_fetcher_wait_end(fetcher, until_ns)) {
            atomic_store(&fetcher->give_up, true);
            cq_fetcher_poke(fetcher);
        }
    }
    cq_fetcher_join(fetcher);
    if (is_hurried(worker))
        until_ns = cq_mono_ns() + ABORT_PATIENCE_MS * CQ_NS_PER_MS;
    cq_aggregator_wait(&worker->aggregator, until_ns);
    if (until_ns < cq_mono_ns() + ABORT_PATIENCE_MS * CQ_NS_PER_MS)
        until_ns = cq_mono_ns() + ABORT_PATIENCE_MS * CQ_NS_PER_MS;
    cq_notices_end(&worker->notices, until_ns);
}

static void report_unwritten(cq_worker *worker)
{
    size_t count = worker->fetcher.outbox.count + worker->fetcher.parked.count;

    if (count)
        CQ_ERROR(&worker->logger,
                 "%zu outcomes could not be written: those tasks will run again", count);
}

cronq_status cq_worker_stop(cq_worker *worker, size_t *running, cronq_error *err)
{
    pthread_mutex_lock(&worker->state_mutex);
    if (worker->state == CQ_WORKER_ACTIVE) {
        end_fetching(worker);
        worker->left_running = atomic_load(&worker->fetcher.in_hand_seen) +
                               cq_aggregator_busy(&worker->aggregator) +
                               cq_notices_busy(&worker->notices);
        report_unwritten(worker);
        end_threads(worker, worker->left_running == 0);
    }
    worker->state = CQ_WORKER_STOPPED;
    *running = worker->left_running;
    pthread_mutex_unlock(&worker->state_mutex);
    if (*running == 0)
        return CRONQ_OK;
    return cq_fail(err, CRONQ_ETIMEDOUT, "%zu handlers still run after %lld ms", *running,
                   (long long)worker->options->shutdown_timeout_ms);
}

bool cq_worker_has_ended(cq_worker *worker)
{
    while (worker->hand_count > 0 &&
           pthread_tryjoin_np(worker->hands[worker->hand_count - 1].thread, NULL) == 0)
        worker->hand_count--;
    return worker->hand_count == 0 && cq_aggregator_has_ended(&worker->aggregator) &&
           cq_notices_has_ended(&worker->notices);
}

void cq_worker_free(cq_worker *worker)
{
    size_t running;

    if (!worker)
        return;
    cq_worker_stop(worker, &running, NULL);
    if (cq_worker_has_ended(worker))
        destroy(worker);
}

/* ---- the last resort ---- */

typedef struct giving {
    cq_flight *flight;
    size_t skip; /* given back before */
} giving;

static void collect_running(cronq_attempt *attempt, void *arg)
{
    giving *g = arg;
    cq_exchange *exchange = &g->flight->exchange;

    if (cq_attempt_phase(attempt) != CQ_RUNNING ||
        exchange->outcome_count == CQ_BATCH_LIMIT)
        return;
    if (g->skip > 0) {
        g->skip--;
        return;
    }
    g->flight->outcomes[exchange->outcome_count++] =
        (cq_outcome){ .kind = CQ_GIVE_BACK,
                      .queue = attempt->queue,
                      .fence = attempt->fence,
                      .taken_at_ns = attempt->taken_at_ns,
                      .id = attempt->message.id };
}

/* The fetcher's thread has ended, so its flights and the intake are ours. */
void cq_worker_give_back_running(cq_worker *worker)
{
    cq_flight *flight = &worker->fetcher.flights[0];
    cq_exchange *exchange = &flight->exchange;
    cq_intake *intake = worker->intake;
    cq_arena arena;

    if (!intake || worker->left_running == 0)
        return;
    cq_arena_init(&arena, GIVE_BACK_BYTES);
    for (size_t done = 0; done < worker->left_running; done += exchange->outcome_count) {
        *exchange = (cq_exchange){ .now_ns = cq_now_ns(worker),
                                   .outcomes = flight->outcomes,
                                   .arena = &arena };
        cq_live_each(&worker->live, collect_running, &(giving){ flight, done });
        if (exchange->outcome_count == 0 ||
            intake->ops->exchange_send(intake, exchange, NULL) ||
            intake->ops->exchange_recv(intake, exchange, NULL))
            break;
        cq_arena_reset(&arena);
    }
    cq_arena_release(&arena);
}
