/* SPDX-License-Identifier: MIT */
/* worker/worker.h - fetching tasks and running handlers, without schedulers or signals.
 *
 * States: new -> active (start) -> quiet -> stopped (stop). quiet and stop may follow
 * start in any order; stop is final. add, use and set_user_data only while new. */
#ifndef CQ_WORKER_WORKER_H
#define CQ_WORKER_WORKER_H

#include "broker/broker.h"
#include "worker/counters.h"

#include <cronq/server.h>

typedef struct cq_worker cq_worker;

/* options have every default filled in (queues, concurrency, periods); they, the names in
 * them and the broker are borrowed until cq_worker_free. Starts nothing. */
cronq_status cq_worker_new(cq_broker *broker, const cronq_server_options *options,
                           cq_worker **out, cronq_error *err);
void cq_worker_free(cq_worker *worker); /* stops; NULL is fine */

/* pattern is the full one, namespace included. Contracts as cronq_server_add and _use. */
cronq_status cq_worker_add(cq_worker *worker, const char *pattern, cronq_handler *handler,
                           void *arg, cronq_error *err);
/* Take back what was just added; before the start. */
void cq_worker_remove(cq_worker *worker, const char *pattern);
/* The handler of this pattern, which was added, runs in child processes. pattern is
 * borrowed until cq_worker_free. */
cronq_status cq_worker_isolate(cq_worker *worker, const char *pattern,
                               const cronq_handler_options *options, cronq_error *err);
cronq_status cq_worker_use(cq_worker *worker, cronq_middleware *middleware, void *arg,
                           cronq_error *err);
void cq_worker_set_user_data(cq_worker *worker, void *user_data);

/* What is in hand is written to this ledger (worker/ledger.h), and crashes are reported;
 * before the start. Borrowed. */
struct cq_ledger;
void cq_worker_set_ledger(cq_worker *worker, struct cq_ledger *ledger);

/* Has it a handler, or a middleware that may stand for one? Else it takes no tasks. */
bool cq_worker_has_handlers(const cq_worker *worker);

cronq_status cq_worker_start(cq_worker *worker, cronq_error *err);
void cq_worker_quiet(cq_worker *worker);

/* Does its engine, the fetcher and the heartbeat, still go round? Asked by one thread at
 * a time, now and then; false once one of them did not for six beats. */
bool cq_worker_is_alive(cq_worker *worker);

/* A stop waits for no handler any longer once this is true. Borrowed; before the start.
 */
void cq_worker_set_hurry(cq_worker *worker, const atomic_bool *hurried);

/* What it has done so far; lives as long as the worker. */
const cq_worker_counters *cq_worker_counts(const cq_worker *worker);

/* Nothing taken that has not been answered for, and the last fetch found nothing. */
bool cq_worker_idle(cq_worker *worker);

/* Ends fetching, waits for handlers up to shutdown_timeout_ms, cancels them and waits a
 * little more, gives back what has not started, writes the outcomes, ends the threads.
 * With *running > 0 handlers are still in their threads: ETIMEDOUT, and the worker can be
 * freed only once they have returned (cq_worker_free before that leaks on purpose). */
cronq_status cq_worker_stop(cq_worker *worker, size_t *running, cronq_error *err);

/* After a stop: has every handler returned since? */
bool cq_worker_has_ended(cq_worker *worker);

/* Give back, uncharged, what handlers are still running after a stop: only when the
 * process ends right afterwards. */
void cq_worker_give_back_running(cq_worker *worker);

#endif
