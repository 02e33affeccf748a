/* SPDX-License-Identifier: MIT */
/* scheduler.c - pushing tasks by the clock: its life, and its list of entries. */
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/options.h"
#include "base/thread.h"
#include "scheduler/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define HEARTBEAT_MS       10000
#define HEARTBEAT_LIMIT_MS ((int64_t)24 * 3600 * 1000)
/* The scheduler itself tries again, and looks after the other entries in between. */
#define PUSH_TIMEOUT_MS 500

/* ---- its life ---- */

static void make_id(cronq_scheduler *scheduler)
{
    char host[128] = "", uuid[CQ_UUID_LEN + 1];

    if (gethostname(host, sizeof host - 1) != 0 || !*host)
        snprintf(host, sizeof host, "localhost");
    cq_uuid4(&scheduler->random, uuid);
    snprintf(scheduler->id_text, sizeof scheduler->id_text, "%s:%d:%s", host,
             (int)getpid(), uuid);
    scheduler->id = cq_str_of(scheduler->id_text);
}

static cronq_status take_options(cronq_scheduler_options *out,
                                 const cronq_scheduler_options *options, cronq_error *err)
{
    cronq_status status =
        cq_options_copy(out, sizeof *out, options, "cronq_scheduler_options", err);

    if (status)
        return status;
    if (out->heartbeat_interval_ms < 0 || out->heartbeat_interval_ms > HEARTBEAT_LIMIT_MS)
        return cq_fail(
            err, CRONQ_EINVAL, "heartbeat_interval_ms is %lld; from 0 (10,000) to %lld",
            (long long)out->heartbeat_interval_ms, (long long)HEARTBEAT_LIMIT_MS);
    if (!out->heartbeat_interval_ms)
        out->heartbeat_interval_ms = HEARTBEAT_MS;
    return CRONQ_OK;
}

/* The broker stays the caller's when this fails. */
static cronq_status new_on(cq_broker *broker, bool owns_broker,
                           const cronq_scheduler_options *options, bool seed_compat,
                           cronq_scheduler **out, cronq_error *err)
{
    cronq_scheduler *scheduler = calloc(1, sizeof *scheduler);
    cronq_status status;

    if (!scheduler)
        return cq_fail_nomem(err);
    status = cq_client_new_on(
        broker,
        CRONQ_CLIENT_OPTIONS(.payload_limit_bytes = (size_t)512 << 20,
                             .push_timeout_ms = PUSH_TIMEOUT_MS,
                             .metrics = options->metrics, .tracer = options->tracer),
        &scheduler->client, err);
    if (!status && !(scheduler->ticks = calloc(CQ_TICKS_AT_ONCE, sizeof(cq_tick))))
        status = cq_fail_nomem(err);
    if (status) {
        cronq_client_free(scheduler->client);
        free(scheduler);
        return status;
    }
    scheduler->broker = broker;
    scheduler->seed_compat = seed_compat;
    scheduler->logger = options->logger;
    scheduler->metrics = options->metrics;
    scheduler->heartbeat_ms = options->heartbeat_interval_ms;
    pthread_mutex_init(&scheduler->mutex, NULL);
    cq_cond_init(&scheduler->changed);
    cq_cond_init(&scheduler->calm);
    cq_random_init(&scheduler->random);
    make_id(scheduler);
    status = cq_metrics_add_source(options->metrics, cq_scheduler_tell, scheduler, err);
    if (status) {
        cronq_scheduler_free(scheduler);
        return status;
    }
    scheduler->owns_broker = owns_broker;
    *out = scheduler;
    return CRONQ_OK;
}

cronq_status cq_scheduler_new_on(cq_broker *broker,
                                 const cronq_scheduler_options *options, bool seed_compat,
                                 cronq_scheduler **out, cronq_error *err)
{
    cronq_scheduler_options copy;
    cronq_status status = take_options(&copy, options, err);

    return status ? status : new_on(broker, false, &copy, seed_compat, out, err);
}

cronq_status cronq_scheduler_new(const char *uri, const cronq_scheduler_options *options,
                                 cronq_scheduler **out, cronq_error *err)
{
    cq_broker_options broker_options = { .uri = uri };
    cronq_scheduler_options copy;
    cq_broker *broker;
    cronq_status status;

    if (!uri)
        return cq_fail(err, CRONQ_EINVAL, "the URI of the store is NULL");
    status = take_options(&copy, options, err);
    if (status)
        return status;
    broker_options.store = copy.store;
    broker_options.logger = copy.logger;
    status = cq_broker_open(&broker_options, &broker, err);
    if (status)
        return status;
    status = new_on(broker, true, &copy, false, out, err);
    if (status)
        broker->ops->free(broker);
    return status;
}

void cronq_scheduler_free(cronq_scheduler *scheduler)
{
    if (!scheduler)
        return;
    cronq_scheduler_stop(scheduler);
    cq_metrics_remove_source(scheduler->metrics, cq_scheduler_tell, scheduler);
    for (cq_entry *entry = scheduler->entries, *next; entry; entry = next) {
        next = entry->next;
        cq_entry_free(entry);
    }
    cronq_client_free(scheduler->client);
    free(scheduler->ticks);
    if (scheduler->owns_broker)
        scheduler->broker->ops->free(scheduler->broker);
    pthread_cond_destroy(&scheduler->changed);
    pthread_cond_destroy(&scheduler->calm);
    pthread_mutex_destroy(&scheduler->mutex);
    free(scheduler);
}

/* ---- entries ---- */

static cq_entry **find(cronq_scheduler *scheduler, const char *id)
{
    cq_entry **at = &scheduler->entries;

    while (*at && strcmp((*at)->id, id) != 0)
        at = &(*at)->next;
    return at;
}

/* The longest id that a run may get must be allowed, and what goes with it. */
static cronq_status check_run(cronq_scheduler *scheduler, const cq_entry *entry,
                              cronq_error *err)
{
    const char *prefix = entry->task.id ? entry->task.id : entry->id;
    size_t size = strlen(prefix) + 32;
    cronq_task task = entry->task;
    char *id = malloc(size);
    cronq_status status;

    if (!id)
        return cq_fail_nomem(err);
    snprintf(id, size, "%s:%lld", prefix, (long long)1 << 40);
    task.id = id;
    status = cq_client_check(scheduler->client, &task, err);
    free(id);
    return status;
}

/* A spec that was edited is seen only while both are here: the store has no old specs. */
static void warn_of_edit(cronq_scheduler *scheduler, const cq_entry *entry)
{
    const cq_entry *other = scheduler->entries;

    if (entry->named)
        return;
    while (other && (other->named || strcmp(other->likeness, entry->likeness) != 0))
        other = other->next;
    if (other)
        CQ_WARN(&scheduler->logger,
                "entries \"%s\" (%s) and \"%s\" (%s) push the same task %s and have no "
                "names: they are two entries; give an entry a name to edit its spec",
                other->id, other->spec, entry->id, entry->spec, entry->task.type);
}

static cronq_status insert(cronq_scheduler *scheduler, cq_entry *entry, cronq_error *err)
{
    if (scheduler->entry_count >= CQ_ENTRY_LIMIT_COUNT)
        return cq_fail(err, CRONQ_ETOOBIG, "there are %zu entries; at most %d",
                       scheduler->entry_count, CQ_ENTRY_LIMIT_COUNT);
    if (*find(scheduler, entry->id))
        return cq_fail(err, CRONQ_EEXIST, "there is an entry \"%s\" already", entry->id);
    warn_of_edit(scheduler, entry);
    entry->next = scheduler->entries;
    scheduler->entries = entry;
    scheduler->entry_count++;
    scheduler->beat_soon = true;
    pthread_cond_signal(&scheduler->changed);
    return CRONQ_OK;
}

cronq_status cronq_scheduler_add(cronq_scheduler *scheduler, const char *spec,
                                 const char *task_type,
                                 const cronq_entry_options *options,
                                 const char **entry_id, cronq_error *err)
{
    cq_entry *entry = NULL;
    const char *id;
    cronq_status status;

    if (!scheduler)
        return cq_fail(err, CRONQ_EINVAL, "scheduler is NULL");
    status = cq_entry_new(spec, task_type, options, scheduler->seed_compat, &entry, err);
    if (status)
        return status;
    id = entry->id;
    status = check_run(scheduler, entry, err);
    if (!status && !entry->every_s &&
        cq_cron_next(entry->cron, cq_wall_ns() / CQ_NS_PER_S) == CQ_TICK_NEVER)
        CQ_WARN(&scheduler->logger, "entry \"%s\" (%s) never fires", id, spec);
    if (!status) {
        pthread_mutex_lock(&scheduler->mutex);
        status = insert(scheduler, entry, err);
        pthread_mutex_unlock(&scheduler->mutex);
    }
    if (status) {
        cq_entry_free(entry);
        return status;
    }
    if (entry_id)
        *entry_id = id;
    return CRONQ_OK;
}

cronq_status cronq_scheduler_remove(cronq_scheduler *scheduler, const char *entry_id,
                                    cronq_error *err)
{
    cq_entry **at, *entry;

    if (!scheduler || !entry_id)
        return cq_fail(err, CRONQ_EINVAL, "%s is NULL",
                       scheduler ? "entry_id" : "scheduler");
    pthread_mutex_lock(&scheduler->mutex);
    while (*(at = find(scheduler, entry_id)) && (*at)->in_use)
        pthread_cond_wait(&scheduler->calm, &scheduler->mutex);
    entry = *at;
    if (entry) {
        *at = entry->next;
        scheduler->entry_count--;
        scheduler->beat_soon = true;
        pthread_cond_signal(&scheduler->changed);
    }
    pthread_mutex_unlock(&scheduler->mutex);
    if (!entry)
        return cq_fail(err, CRONQ_ENOENT, "there is no entry \"%.80s\"", entry_id);
    cq_entry_free(entry);
    return CRONQ_OK;
}

size_t cq_scheduler_count(cronq_scheduler *scheduler)
{
    size_t count;

    pthread_mutex_lock(&scheduler->mutex);
    count = scheduler->entry_count;
    pthread_mutex_unlock(&scheduler->mutex);
    return count;
}

void cq_scheduler_tell(void *arg, cq_collection *out)
{
    cronq_scheduler *scheduler = arg;

    cq_collection_tell(out, CQ_TOLD_ENTRIES, (double)cq_scheduler_count(scheduler));
    if (scheduler->owns_broker)
        cq_collection_tell(out, CQ_TOLD_CONNECTIONS,
                           (double)atomic_load(&scheduler->broker->opened_count));
}

/* ---- start and stop ---- */

static void forget_ticks(cronq_scheduler *scheduler)
{
    for (cq_entry *entry = scheduler->entries; entry; entry = entry->next) {
        entry->next_s = CQ_TICK_UNKNOWN;
        entry->phase_known = false;
        entry->retry_at_ns = 0;
    }
}

cronq_status cronq_scheduler_start(cronq_scheduler *scheduler, cronq_error *err)
{
    cronq_status status;

    if (!scheduler)
        return cq_fail(err, CRONQ_EINVAL, "scheduler is NULL");
    pthread_mutex_lock(&scheduler->mutex);
    if (scheduler->state != CQ_SCHEDULER_STOPPED) {
        pthread_mutex_unlock(&scheduler->mutex);
        return cq_fail(err, CRONQ_ESTATE, "the scheduler has been started already");
    }
    forget_ticks(scheduler);
    scheduler->failure.code = CRONQ_OK;
    scheduler->clock_known = false;
    scheduler->failed_delay_ms = 0;
    scheduler->retry_at_ns = scheduler->sync_at_ns = scheduler->beat_at_ns = 0;
    status = cq_thread_start(&scheduler->thread, "cronq-sched", cq_scheduler_run,
                             scheduler, err);
    if (!status)
        scheduler->state = CQ_SCHEDULER_RUNNING;
    pthread_mutex_unlock(&scheduler->mutex);
    return status;
}

void cronq_scheduler_stop(cronq_scheduler *scheduler)
{
    if (!scheduler)
        return;
    pthread_mutex_lock(&scheduler->mutex);
    while (scheduler->state == CQ_SCHEDULER_STOPPING)
        pthread_cond_wait(&scheduler->calm, &scheduler->mutex);
    if (scheduler->state == CQ_SCHEDULER_RUNNING) {
        scheduler->state = CQ_SCHEDULER_STOPPING;
        pthread_cond_signal(&scheduler->changed);
        pthread_mutex_unlock(&scheduler->mutex);
        pthread_join(scheduler->thread, NULL);
        pthread_mutex_lock(&scheduler->mutex);
        scheduler->state = CQ_SCHEDULER_STOPPED;
        pthread_cond_broadcast(&scheduler->calm);
    }
    pthread_mutex_unlock(&scheduler->mutex);
}
