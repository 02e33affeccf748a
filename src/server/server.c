/* SPDX-License-Identifier: MIT */
/* server.c - a worker and a scheduler on one broker: making, filling, starting, stopping.
 */
#include "server/server.h"

#include "base/error.h"
#include "base/log.h"
#include "base/options.h"
#include "codec/key.h"

#include <stdlib.h>
#include <string.h>

static cronq_status open_parts(cronq_server *server, const char *uri, cronq_error *err)
{
    const cronq_server_options *options = &server->options;
    cq_broker_options broker = {
        .uri = uri,
        .store = options->store,
        .logger = options->logger,
        .lease_ms = options->lease_ms,
        .task_check_interval_ms = options->task_check_interval_ms,
        .set_age_ms = options->group_set_age_ms,
    };
    cronq_scheduler_options scheduler = { .struct_size = sizeof scheduler,
                                          .logger = options->logger,
                                          .metrics = options->metrics,
                                          .tracer = options->tracer };
    cronq_status status = cq_broker_open(&broker, &server->broker, err);

    if (status)
        return status;
    status = cq_worker_new(server->broker, options, &server->worker, err);
    if (status)
        return status;
    status = cq_scheduler_new_on(server->broker, &scheduler, options->seed_compat,
                                 &server->scheduler, err);
    return status ? status : cq_server_tell_begin(server, err);
}

/* Nobody looks at them any more before they end: a scrape holds the registry while it
 * looks, and they leave the registry when they end. */
static void close_parts(cronq_server *server)
{
    cronq_scheduler *scheduler = server->scheduler;
    cq_worker *worker = server->worker;
    cq_broker *broker = server->broker;

    if (server->abandoned)
        return;
    pthread_mutex_lock(&server->looking);
    server->scheduler = NULL;
    server->worker = NULL;
    server->broker = NULL;
    pthread_mutex_unlock(&server->looking);
    cronq_scheduler_free(scheduler);
    cq_worker_free(worker);
    if (broker)
        broker->ops->free(broker);
}

cronq_status cronq_server_new(const char *uri, const cronq_server_options *options,
                              cronq_server **out, cronq_error *err)
{
    cronq_server *server;
    cronq_status status;

    if (!uri)
        return cq_fail(err, CRONQ_EINVAL, "uri: is NULL");
    server = calloc(1, sizeof *server);
    if (!server)
        return cq_fail_nomem(err);
    pthread_mutex_init(&server->mutex, NULL);
    pthread_mutex_init(&server->looking, NULL);
    status = cq_server_resolve(options, &server->arena, &server->options, err);
    if (!status)
        status = open_parts(server, uri, err);
    if (status) {
        cronq_server_free(server);
        return status;
    }
    server->options.store = NULL; /* was borrowed for this call */
    *out = server;
    return CRONQ_OK;
}

void cronq_server_free(cronq_server *server)
{
    if (!server)
        return;
    if (server->state == CQ_SERVER_ACTIVE)
        cronq_server_stop(server, NULL);
    cq_server_tell_end(server);
    if (server->abandoned && !cq_worker_has_ended(server->worker))
        return; /* its threads still use all of this */
    server->abandoned = false;
    close_parts(server);
    cq_arena_release(&server->arena);
    pthread_mutex_destroy(&server->mutex);
    pthread_mutex_destroy(&server->looking);
    free(server);
}

const char *cq_server_pattern(cronq_server *server, const char *pattern)
{
    const char *prefix = server->options.namespace_name;
    size_t prefix_len = prefix ? strlen(prefix) + 1 : 0, len = strlen(pattern);
    char *full = cq_arena_alloc(&server->arena, prefix_len + len + 1);

    if (!full)
        return NULL;
    if (prefix) {
        memcpy(full, prefix, prefix_len - 1);
        full[prefix_len - 1] = ':';
    }
    memcpy(full + prefix_len, pattern, len + 1);
    return full;
}

static cronq_status check_new(cronq_server *server, const char *what, cronq_error *err)
{
    if (server->state != CQ_SERVER_NEW)
        return cq_fail(err, CRONQ_ESTATE, "%s: the server has been started", what);
    return CRONQ_OK;
}

static cronq_status check_pattern(const char *pattern, cronq_error *err)
{
    cronq_error why = { 0 };

    if (!pattern)
        return cq_fail(err, CRONQ_EINVAL, "pattern: is NULL");
    if (cq_check_type(cq_str_of(pattern), &why))
        return cq_fail(err, CRONQ_EINVAL, "pattern: %s", why.text);
    return CRONQ_OK;
}

/* options: NULL for a handler that runs on a thread. */
static cronq_status add_handler(cronq_server *server, const char *pattern,
                                cronq_handler *handler, void *arg,
                                const cronq_handler_options *options, cronq_error *err)
{
    const char *full = cq_server_pattern(server, pattern);
    cronq_status status;

    if (!full)
        return cq_fail_nomem(err);
    status = cq_worker_add(server->worker, full, handler, arg, err);
    if (status || !options || options->isolation == CRONQ_ISOLATION_THREAD)
        return status;
    status = cq_worker_isolate(server->worker, full, options, err);
    if (status)
        cq_worker_remove(server->worker, full);
    return status;
}

/* The entry's queue: the user's, else the namespace, else default. */
static cronq_status add_entry(cronq_server *server, const char *spec, const char *pattern,
                              bool own, const cronq_entry_options *options,
                              const char **entry_id, cronq_error *err)
{
    const char *full = cq_server_pattern(server, pattern);
    cq_own_entry *entry = cq_arena_alloc(&server->arena, sizeof *entry);
    cronq_entry_options mine;
    cronq_task task = { 0 };
    cronq_status status;

    if (!full || !entry)
        return cq_fail_nomem(err);
    status = cq_options_copy(&mine, sizeof mine, options, "entry options", err);
    if (!status)
        status = cq_options_copy(&task, sizeof task, mine.task, "task of the entry", err);
    if (status)
        return status;
    if (!task.queue)
        task.queue =
            server->options.namespace_name ? server->options.namespace_name : "default";
    *entry = (cq_own_entry){ .next = server->own_entries, .pattern = full };
    entry->queue = cq_arena_dup(&server->arena, task.queue, strlen(task.queue));
    if (!entry->queue)
        return cq_fail_nomem(err);
    mine.task = &task;
    status = cronq_scheduler_add(server->scheduler, spec, full, &mine, entry_id, err);
    if (!status && own)
        server->own_entries = entry;
    return status;
}

/* The one that was just added, whose handler was refused. */
static void withdraw_entry(cronq_server *server, const char *id)
{
    server->own_entries = server->own_entries->next;
    cronq_scheduler_remove(server->scheduler, id, NULL);
}

cronq_status cronq_server_add(cronq_server *server, const char *pattern,
                              cronq_handler *handler, void *arg,
                              const cronq_handler_options *options, cronq_error *err)
{
    cronq_handler_options mine;
    const char *id;
    cronq_status status = check_new(server, "add", err);

    if (!status)
        status = check_pattern(pattern, err);
    if (!status)
        status = cq_options_copy(&mine, sizeof mine, options, "handler options", err);
    if (status)
        return status;
    if (!handler)
        return cq_fail(err, CRONQ_EINVAL, "handler of pattern %s: is NULL", pattern);
    if (mine.entry && !mine.cron_spec)
        return cq_fail(err, CRONQ_EINVAL, "pattern %s: an entry without a cron_spec",
                       pattern);
    if (mine.isolation > CRONQ_ISOLATION_PROCESS)
        return cq_fail(err, CRONQ_EINVAL, "pattern %s: isolation %d is neither 0 nor 1",
                       pattern, (int)mine.isolation);
    if (!mine.cron_spec)
        return add_handler(server, pattern, handler, arg, &mine, err);
    status = add_entry(server, mine.cron_spec, pattern, true, mine.entry, &id, err);
    if (status)
        return status;
    status = add_handler(server, pattern, handler, arg, &mine, err);
    if (status)
        withdraw_entry(server, id);
    return status;
}

cronq_status cronq_server_cron_add(cronq_server *server, const char *spec,
                                   const char *pattern, cronq_handler *handler, void *arg,
                                   const cronq_entry_options *options,
                                   const char **entry_id, cronq_error *err)
{
    const char *id;
    cronq_status status = check_new(server, "cron_add", err);

    if (!status)
        status = check_pattern(pattern, err);
    if (status)
        return status;
    if (!spec)
        return cq_fail(err, CRONQ_EINVAL, "spec of pattern %s: is NULL", pattern);
    status = add_entry(server, spec, pattern, handler != NULL, options, &id, err);
    if (status)
        return status;
    if (handler)
        status = add_handler(server, pattern, handler, arg, NULL, err);
    if (status)
        withdraw_entry(server, id);
    else if (entry_id)
        *entry_id = id;
    return status;
}

cronq_status cronq_server_use(cronq_server *server, cronq_middleware *middleware,
                              void *arg, cronq_error *err)
{
    cronq_status status = check_new(server, "use", err);

    if (status)
        return status;
    if (!middleware)
        return cq_fail(err, CRONQ_EINVAL, "middleware: is NULL");
    return cq_worker_use(server->worker, middleware, arg, err);
}

void cronq_server_set_base_context(cronq_server *server, void *user_data)
{
    if (server->state == CQ_SERVER_NEW)
        cq_worker_set_user_data(server->worker, user_data);
}

static bool serves(const cronq_server *server, const char *queue)
{
    for (size_t i = 0; i < server->options.queue_count; i++)
        if (strcmp(server->options.queues[i].name, queue) == 0)
            return true;
    return false;
}

static cronq_status check_own_entries(const cronq_server *server, cronq_error *err)
{
    for (const cq_own_entry *e = server->own_entries; e; e = e->next)
        if (!serves(server, e->queue))
            return cq_fail(err, CRONQ_EINVAL,
                           "entry for %s: its queue %s is not served by this server",
                           e->pattern, e->queue);
    return CRONQ_OK;
}

/* With the mutex held. */
static cronq_status start_parts(cronq_server *server, bool with_scheduler,
                                cronq_error *err)
{
    cronq_status status = check_own_entries(server, err);

    if (status)
        return status;
    if (server->state != CQ_SERVER_NEW)
        return cq_fail(err, CRONQ_ESTATE, "start: the server was started before");
    status = cq_worker_start(server->worker, err);
    if (status)
        return status;
    server->state = CQ_SERVER_ACTIVE;
    atomic_store(&server->started, true);
    if (!cq_worker_has_handlers(server->worker))
        CQ_INFO(&server->options.logger, "there is no handler: no tasks are taken");
    if (!with_scheduler || cq_scheduler_count(server->scheduler) == 0)
        return CRONQ_OK;
    return cronq_scheduler_start(server->scheduler, err);
}

cronq_status cq_server_start(cronq_server *server, bool with_scheduler, cronq_error *err)
{
    cronq_status status;

    pthread_mutex_lock(&server->mutex);
    status = start_parts(server, with_scheduler, err);
    pthread_mutex_unlock(&server->mutex);
    return status;
}

cronq_status cronq_server_start(cronq_server *server, cronq_error *err)
{
    return cq_server_start(server, true, err);
}

void cronq_server_quiet(cronq_server *server)
{
    pthread_mutex_lock(&server->mutex);
    if (server->state == CQ_SERVER_ACTIVE) {
        atomic_store(&server->draining, true);
        cq_worker_quiet(server->worker);
    }
    pthread_mutex_unlock(&server->mutex);
}

cronq_status cronq_server_stop(cronq_server *server, cronq_error *err)
{
    const cronq_logger *logger = &server->options.logger;
    size_t running = 0;
    cronq_status status = CRONQ_OK;

    pthread_mutex_lock(&server->mutex);
    if (server->state == CQ_SERVER_ACTIVE) {
        atomic_store(&server->draining, true);
        cronq_scheduler_stop(server->scheduler);
        CQ_DEBUG(logger, "stop: scheduler stopped");
        status = cq_worker_stop(server->worker, &running, err);
        CQ_DEBUG(logger, "stop: worker stopped, %zu handlers still running", running);
        server->abandoned = running > 0;
        close_parts(server);
        if (!server->abandoned)
            CQ_DEBUG(logger, "stop: connections closed");
    }
    server->state = CQ_SERVER_STOPPED;
    cq_server_end_run(server);
    pthread_mutex_unlock(&server->mutex);
    return status;
}

cronq_status cronq_server_ping(cronq_server *server, cronq_error *err)
{
    cronq_status status;

    pthread_mutex_lock(&server->mutex);
    if (server->state == CQ_SERVER_STOPPED)
        status = cq_fail(err, CRONQ_ESTATE, "ping: the server has been stopped");
    else
        status = server->broker->ops->ping(server->broker, err);
    pthread_mutex_unlock(&server->mutex);
    return status;
}
