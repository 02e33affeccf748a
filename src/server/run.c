/* SPDX-License-Identifier: MIT */
/* run.c - a server in the foreground: until a signal, or until its queues are empty.
 *
 * Signal handlers reach the server through one descriptor, so one server at a time can be
 * run in a process. */
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/thread.h"
#include "server/server.h"
#include "worker/ledger.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#define DRAIN_LOOK_MS     20
#define STUCK_NS          CQ_NS_PER_S /* without any progress after a crash */
#define DRAIN_PATIENCE_MS 10000       /* for a store that does not answer */

static atomic_int run_fd = -1; /* of the event that signals set; -1: nobody runs */
static volatile sig_atomic_t stop_asked, quiet_asked;
static atomic_bool hurried; /* by a second signal */

static const int signals[] = { SIGTERM, SIGINT, SIGTSTP };
#define SIGNAL_COUNT (sizeof signals / sizeof signals[0])

static void on_signal(int number)
{
    int saved = errno;
    cq_event event = { atomic_load(&run_fd) };

    if (number == SIGTSTP)
        quiet_asked = 1;
    else if (stop_asked)
        atomic_store(&hurried, true);
    else
        stop_asked = 1;
    if (event.fd >= 0)
        cq_event_set(&event);
    errno = saved;
}

static void take_signals(struct sigaction before[SIGNAL_COUNT])
{
    struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };

    stop_asked = quiet_asked = 0;
    atomic_store(&hurried, false);
    sigfillset(&action.sa_mask);
    for (size_t i = 0; i < SIGNAL_COUNT; i++)
        sigaction(signals[i], &action, &before[i]);
}

static void restore_signals(const struct sigaction before[SIGNAL_COUNT])
{
    for (size_t i = 0; i < SIGNAL_COUNT; i++)
        sigaction(signals[i], &before[i], NULL);
}

/* A handler has crashed: the heap cannot be trusted, so nothing is allocated, logged or
 * freed here. What else runs may finish, as long as something moves; the supervisor does
 * the rest. */
static void leave_crashed(cronq_server *server)
{
    cq_ledger_shared *shared = server->supervision->ledger->shared;
    int64_t now_ns = cq_mono_ns(), moved_ns = now_ns;
    int64_t end_ns = now_ns + server->options.shutdown_timeout_ms * CQ_NS_PER_MS;
    uint64_t changes = atomic_load(&shared->changes);

    cq_worker_quiet(server->worker);
    while (atomic_load(&shared->open) > atomic_load(&shared->crashed) &&
           now_ns < end_ns && now_ns - moved_ns < STUCK_NS) {
        cq_sleep_ms(1);
        now_ns = cq_mono_ns();
        if (changes != atomic_load(&shared->changes))
            moved_ns = now_ns;
        changes = atomic_load(&shared->changes);
    }
    _exit(EXIT_FAILURE);
}

static bool has_crashed(const cronq_server *server)
{
    return server->supervision &&
           atomic_load(&server->supervision->ledger->shared->reported);
}

static void wait_for_stop(cronq_server *server, cq_event *event)
{
    while (!stop_asked && !atomic_load(&server->is_over)) {
        cq_event_wait(event, -1);
        cq_event_clear(event);
        if (has_crashed(server))
            leave_crashed(server);
        if (!quiet_asked)
            continue;
        quiet_asked = 0;
        CQ_INFO(&server->options.logger, "quiet: no new tasks are taken");
        cronq_server_quiet(server);
    }
    CQ_INFO(&server->options.logger, "stopping");
}

/* Handlers that did not come back in time end with the process; their tasks must not wait
 * for the leases to run out. */
static void leave(cronq_server *server)
{
    cq_ledger_shared *shared;

    if (has_crashed(server))
        _exit(EXIT_FAILURE);
    CQ_ERROR(&server->options.logger,
             "handlers still run after the shutdown timeout: their "
             "tasks are given back and the process ends");
    cq_worker_give_back_running(server->worker);
    if (server->supervision) {
        shared = server->supervision->ledger->shared;
        cq_fail(&shared->final, CRONQ_ETIMEDOUT,
                "handlers still ran after the shutdown timeout");
        atomic_store(&shared->over, true);
    }
    _exit(EXIT_FAILURE);
}

static cronq_status begin(cronq_server *server, cq_event *event, cronq_error *err)
{
    const cronq_server_options *options = &server->options;
    cronq_status status;

    if (server->supervision) {
        cq_reporter_start(server->supervision->ledger, server->supervision->report_fd,
                          event);
        cq_worker_set_ledger(server->worker, server->supervision->ledger);
    }
    status = cronq_server_start(server, err);
    if (status || !options->on_begin)
        return status;
    status = options->on_begin(options->on_begin_arg, err);
    if (status)
        cronq_server_stop(server, NULL);
    return status;
}

void cq_server_end_run(cronq_server *server)
{
    cq_event event = { atomic_load(&run_fd) };

    atomic_store(&server->is_over, true);
    if (event.fd >= 0)
        cq_event_set(&event);
}

cronq_status cq_server_run_here(cronq_server *server, cronq_error *err)
{
    struct sigaction before[SIGNAL_COUNT];
    cq_event event;
    int nobody = -1;
    cronq_status status = cq_event_init(&event, err);

    if (status)
        return status;
    if (!atomic_compare_exchange_strong(&run_fd, &nobody, event.fd)) {
        cq_event_release(&event);
        return cq_fail(err, CRONQ_ESTATE, "run: another server of this process is run");
    }
    take_signals(before);
    cq_worker_set_hurry(server->worker, &hurried);
    status = begin(server, &event, err);
    if (!status) {
        wait_for_stop(server, &event);
        status = cronq_server_stop(server, err);
        if (server->options.on_end)
            server->options.on_end(server->options.on_begin_arg);
    }
    if (server->abandoned)
        leave(server);
    restore_signals(before);
    if (!status && !stop_asked)
        status = cq_fail(err, CRONQ_ECANCELED, "run: the server was stopped");
    atomic_store(&run_fd, -1);
    cq_event_release(&event);
    return status;
}

cronq_status cronq_server_run(cronq_server *server, cronq_error *err)
{
    return server->options.supervise ? cq_server_supervise(server, err)
                                     : cq_server_run_here(server, err);
}

/* Are all served queues empty of what could still run now? */
static cronq_status look(cronq_server *server, bool *empty, cronq_error *err)
{
    cq_broker *broker = server->broker;
    bool idle = cq_worker_idle(server->worker);
    uint64_t left = 0;

    for (size_t i = 0; i < server->options.queue_count; i++) {
        cq_str queue = cq_str_of(server->options.queues[i].name);
        cq_queue_counts counts = { 0 };
        cronq_status status = broker->inspect->counts(
            broker, queue, broker->ops->now_ns(broker), &counts, err);

        if (status && status != CRONQ_ENOENT)
            return status;
        left += counts.pending + counts.active;
    }
    *empty = left == 0 && idle && cq_worker_idle(server->worker);
    return CRONQ_OK;
}

/* The same while nobody stops the server, whose parts must not go meanwhile. */
static cronq_status look_if_active(cronq_server *server, bool *active, bool *empty,
                                   cronq_error *err)
{
    cronq_status status = CRONQ_OK;

    pthread_mutex_lock(&server->mutex);
    *active = server->state == CQ_SERVER_ACTIVE;
    if (*active)
        status = look(server, empty, err);
    pthread_mutex_unlock(&server->mutex);
    return status;
}

static cronq_status work_until_empty(cronq_server *server, cronq_error *err)
{
    int64_t answered_ns = cq_mono_ns();
    bool active = true, empty = false;

    for (;;) {
        cronq_status status = look_if_active(server, &active, &empty, err);

        if (!active)
            return cq_fail(err, CRONQ_ECANCELED,
                           "drain: the server was stopped before its queues were empty");
        if (empty)
            return CRONQ_OK;
        if (!status)
            answered_ns = cq_mono_ns();
        if (cq_mono_ns() - answered_ns > DRAIN_PATIENCE_MS * CQ_NS_PER_MS)
            return status;
        cq_sleep_ms(DRAIN_LOOK_MS);
    }
}

cronq_status cronq_server_drain(cronq_server *server, cronq_error *err)
{
    const cronq_server_options *options = &server->options;
    cronq_status drained, stopped, status;

    if (!cq_worker_has_handlers(server->worker))
        return cq_fail(err, CRONQ_EINVAL, "drain: there is no handler to run tasks");
    status = cq_server_start(server, false, err);
    if (status)
        return status;
    drained =
        options->on_begin ? options->on_begin(options->on_begin_arg, err) : CRONQ_OK;
    if (!drained)
        drained = work_until_empty(server, err);
    stopped = cronq_server_stop(server, drained ? NULL : err);
    if (options->on_end)
        options->on_end(options->on_begin_arg);
    return drained ? drained : stopped;
}
