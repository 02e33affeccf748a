/* SPDX-License-Identifier: MIT */
/* aggregator.c - the dispatcher and the mergers. */
#include "worker/aggregator.h"

#include "base/clock.h"
#include "base/error.h"
#include "worker/aggregation.h"
#include "worker/internal.h"

#include <stdlib.h>

#define LOOK_MS         500
#define LOOK_GROUPS     64
#define RECLAIM_AT_ONCE 100
#define RECORDS_BYTES   ((size_t)4 << 30)
#define FINISH_TRIES    20
#define FINISH_PAUSE_MS 250

/* ---- one merge ---- */

static void set_busy(cq_merger *merger, const char *set_id)
{
    pthread_mutex_lock(&merger->aggregator->mutex);
    memcpy(merger->set_id, set_id, CQ_UUID_LEN + 1);
    merger->extended_mono_ns = cq_mono_ns();
    pthread_mutex_unlock(&merger->aggregator->mutex);
}

/* The answer may get lost: then it is asked again, and a set that is gone was merged, or
 * given back. Neither runs anything twice. */
static cronq_status finish(cq_worker *worker, const cronq_aggregation *a, bool drop,
                           bool *doubtful, cronq_error *err)
{
    cq_broker *broker = worker->broker;
    cronq_bytes merged = { drop ? NULL : a->merged.data, drop ? 0 : a->merged.len };
    cronq_status status = CRONQ_EIO;

    *doubtful = false;
    for (int i = 0; i < FINISH_TRIES && status == CRONQ_EIO; i++) {
        if (i > 0)
            cq_event_wait(&worker->ended, FINISH_PAUSE_MS);
        status = broker->ops->finish_set(broker, a->set, merged, a->misfits,
                                         a->misfit_count, cq_now_ns(worker),
                                         i == FINISH_TRIES - 1 ? err : NULL);
        *doubtful |= status == CRONQ_EIO;
    }
    if (status == CRONQ_ESTATE)
        cq_fail(err, status, "the set is gone");
    else if (status)
        cq_fail(err, status, "%s", cronq_status_text(status));
    return status;
}

static void report(cq_worker *worker, const cronq_aggregation *a, cronq_status status,
                   bool doubtful, const cronq_error *why)
{
    const cronq_logger *logger = &worker->logger;

    for (size_t i = 0; i < a->misfit_count && !status; i++) {
        CQ_ERROR(logger, "task %.*s of group %s cannot be read, archived",
                 CQ_FMT(a->misfits[i].id), a->group);
        cq_notices_add(&worker->notices, a->misfits[i].message, (cronq_bytes){ NULL, 0 },
                       a->now_ns);
    }
    if (!status)
        CQ_INFO(logger, "merged %zu tasks of group %s into task %.*s", a->count, a->group,
                CQ_FMT(a->set->id));
    else if (status == CRONQ_ESTATE && doubtful)
        CQ_WARN(logger,
                "task %.*s of group %s: merged before its answer was lost, or its %zu "
                "tasks were given back",
                CQ_FMT(a->set->id), a->group, a->count);
    else if (status == CRONQ_EIO)
        CQ_WARN(logger,
                "task %.*s of group %s: the store is away; its %zu tasks are merged, or "
                "go back to their group",
                CQ_FMT(a->set->id), a->group, a->count);
    else
        CQ_WARN(logger, "%zu tasks of group %s are not merged, they go back to it: %s",
                a->count, a->group, why->text);
}

static cronq_status call_user(cq_worker *worker, cronq_aggregation *a, bool *drop,
                              cronq_error *err)
{
    const cronq_server_options *options = worker->options;
    cronq_error why = { .text = "" };
    cronq_status status;

    *drop = a->count == 0;
    if (*drop)
        return CRONQ_OK;
    status = options->aggregator(a, options->aggregator_arg, &why);
    *drop = status == CRONQ_EREVOKED;
    if (*drop)
        return CRONQ_OK;
    if (status)
        return cq_fail(err, status, "the aggregator failed: %s",
                       why.text[0] ? why.text : cronq_status_text(status));
    if (a->merged.len == 0)
        return cq_fail(err, CRONQ_EINVAL, "the aggregator has made no task of them");
    return CRONQ_OK;
}

static void merge_set(cq_worker *worker, const cq_set *set, const cq_record *records,
                      size_t count)
{
    bool drop = false, doubtful = false;
    cronq_error why = { .text = "" };
    cronq_aggregation a;
    cronq_status status;

    status = cq_aggregation_init(&a, set, records, count, cq_now_ns(worker), &why);
    if (!status)
        status = call_user(worker, &a, &drop, &why);
    if (!status)
        status = finish(worker, &a, drop, &doubtful, &why);
    if (a.queue && a.group)
        report(worker, &a, status, doubtful, &why);
    cq_aggregation_release(&a);
}

static cronq_status take_and_merge(cq_merger *merger, size_t *taken, cronq_error *err)
{
    cq_aggregator *aggregator = merger->aggregator;
    cq_worker *worker = aggregator->worker;
    cq_broker *broker = worker->broker;
    char id[CQ_UUID_LEN + 1];
    cq_set set = { worker->queues[merger->queue],
                   cq_str_of(merger->group),
                   { id, CQ_UUID_LEN } };
    cq_record *records;
    cronq_status status;
    size_t count;
    cq_arena arena;

    cq_uuid4(&merger->random, id);
    status = broker->ops->take_group(broker, &set, &aggregator->rules, cq_now_ns(worker),
                                     taken, err);
    if (status || !*taken)
        return status;
    set_busy(merger, id);
    cq_arena_init(&arena, RECORDS_BYTES);
    status = broker->ops->read_set(broker, &set, &arena, &records, &count, err);
    if (!status)
        merge_set(worker, &set, records, count);
    cq_arena_release(&arena);
    return status;
}

/* A group that is larger than a set is due again at once. */
static void merge_group(cq_merger *merger)
{
    cq_worker *worker = merger->aggregator->worker;
    size_t taken = 0;
    cronq_error err;
    cronq_status status = take_and_merge(merger, &taken, &err);

    if (status)
        CQ_WARN(&worker->logger, "cannot merge group %s of queue %.*s: %s", merger->group,
                CQ_FMT(worker->queues[merger->queue]), err.text);
}

static void *run_merger(void *arg)
{
    cq_merger *merger = arg;
    cq_aggregator *aggregator = merger->aggregator;

    pthread_mutex_lock(&aggregator->mutex);
    while (!aggregator->quiet || merger->state == CQ_MERGER_ASKED) {
        if (merger->state == CQ_MERGER_FREE) {
            pthread_cond_wait(&aggregator->changed, &aggregator->mutex);
            continue;
        }
        merger->state = CQ_MERGER_BUSY;
        pthread_mutex_unlock(&aggregator->mutex);
        merge_group(merger);
        pthread_mutex_lock(&aggregator->mutex);
        merger->state = CQ_MERGER_FREE;
        merger->set_id[0] = '\0';
        pthread_cond_broadcast(&aggregator->changed);
        if (!aggregator->quiet)
            cq_ticker_hurry(aggregator->ticker, "groups");
    }
    pthread_mutex_unlock(&aggregator->mutex);
    return NULL;
}

/* ---- the dispatcher ---- */

/* A free merger, unless one has the group already. Under the mutex. */
static cq_merger *merger_for(cq_aggregator *aggregator, size_t queue, cq_str group)
{
    cq_merger *free_one = NULL;

    for (size_t i = 0; i < CQ_MERGERS; i++) {
        cq_merger *merger = &aggregator->mergers[i];

        if (merger->state == CQ_MERGER_FREE)
            free_one = merger;
        else if (merger->queue == queue && cq_str_eq(cq_str_of(merger->group), group))
            return NULL;
    }
    return free_one;
}

static void ask(cq_aggregator *aggregator, size_t queue, cq_str group)
{
    cq_merger *merger;
    char *name = strndup(group.data, group.len);

    if (!name)
        return;
    pthread_mutex_lock(&aggregator->mutex);
    merger = aggregator->quiet ? NULL : merger_for(aggregator, queue, group);
    if (merger) {
        free(merger->group);
        merger->group = name;
        merger->queue = queue;
        merger->state = CQ_MERGER_ASKED;
        name = NULL;
        pthread_cond_broadcast(&aggregator->changed);
    }
    pthread_mutex_unlock(&aggregator->mutex);
    free(name);
}

static cronq_status look_at(cq_aggregator *aggregator, size_t queue, cronq_error *err)
{
    cq_worker *worker = aggregator->worker;
    cq_broker *broker = worker->broker;
    size_t reclaimed = 0, count = 0;
    cronq_status status;
    cq_str *groups;
    cq_arena arena;

    cq_arena_init(&arena, (size_t)16 << 20);
    status = broker->ops->reclaim_sets(broker, worker->queues[queue], cq_now_ns(worker),
                                       RECLAIM_AT_ONCE, &reclaimed, err);
    if (!status && reclaimed)
        CQ_WARN(&worker->logger, "gave %zu stale sets of queue %.*s back to their groups",
                reclaimed, CQ_FMT(worker->queues[queue]));
    if (!status)
        status = broker->ops->due_groups(broker, worker->queues[queue],
                                         &aggregator->rules, cq_now_ns(worker),
                                         LOOK_GROUPS, &arena, &groups, &count, err);
    for (size_t i = 0; i < count && !status; i++)
        ask(aggregator, queue, groups[i]);
    cq_arena_release(&arena);
    return status;
}

/* A callback may take longer than a set stays fresh. */
static void extend_sets(cq_aggregator *aggregator)
{
    cq_worker *worker = aggregator->worker;
    const int64_t after_ns = worker->broker->set_age_s * CQ_NS_PER_S / 4;

    for (size_t i = 0; i < CQ_MERGERS; i++) {
        cq_merger *merger = &aggregator->mergers[i];
        char id[CQ_UUID_LEN + 1], *group = NULL;
        cq_set set = { .id = { id, CQ_UUID_LEN } };

        pthread_mutex_lock(&aggregator->mutex);
        if (merger->set_id[0] && cq_mono_ns() - merger->extended_mono_ns > after_ns) {
            memcpy(id, merger->set_id, sizeof id);
            set.queue = worker->queues[merger->queue];
            group = strdup(merger->group);
            merger->extended_mono_ns = cq_mono_ns();
        }
        pthread_mutex_unlock(&aggregator->mutex);
        set.group = cq_str_of(group);
        if (group)
            worker->broker->ops->extend_set(worker->broker, &set, cq_now_ns(worker),
                                            NULL);
        free(group);
    }
}

/* A queue that fails does not stop the others; a store that is away stops the pass. */
static void look(void *arg)
{
    cq_aggregator *aggregator = arg;
    cq_worker *worker = aggregator->worker;
    cronq_status status = CRONQ_OK, one;
    cronq_error err;

    extend_sets(aggregator);
    for (size_t i = 0; i < worker->options->queue_count; i++) {
        one = look_at(aggregator, i, &err);
        if (one && !aggregator->failing)
            CQ_WARN(&worker->logger, "cannot look for groups of %.*s, trying again: %s",
                    CQ_FMT(worker->queues[i]), err.text);
        status = one ? one : status;
        if (one == CRONQ_EIO)
            break;
    }
    aggregator->failing = status != CRONQ_OK;
}

/* ---- life ---- */

static cq_group_rules rules_of(const cronq_server_options *options)
{
    int64_t delay_ms = options->group_max_delay_ms;

    return (cq_group_rules){ .grace_s = cq_seconds_up(options->group_grace_ms),
                             .max_delay_s = delay_ms > 0 ? cq_seconds_up(delay_ms) : 0,
                             .max_size = options->group_max_size };
}

cronq_status cq_aggregator_start(cq_aggregator *aggregator, cq_worker *worker,
                                 cronq_error *err)
{
    const cq_component component = { "groups", LOOK_MS, look, aggregator };
    cronq_status status = CRONQ_OK;

    if (!worker->options->aggregator)
        return CRONQ_OK;
    *aggregator = (cq_aggregator){ .worker = worker, .rules = rules_of(worker->options) };
    pthread_mutex_init(&aggregator->mutex, NULL);
    cq_cond_init(&aggregator->changed);
    for (size_t i = 0; i < CQ_MERGERS; i++)
        aggregator->mergers[i].aggregator = aggregator;
    status = cq_ticker_start("cronq-groups", &component, 1, &aggregator->ticker, err);
    for (size_t i = 0; i < CQ_MERGERS && !status; i++) {
        cq_merger *merger = &aggregator->mergers[i];

        cq_random_init(&merger->random);
        status =
            cq_thread_start(&merger->thread, "cronq-merger", run_merger, merger, err);
        merger->running = !status;
    }
    return status;
}

void cq_aggregator_quiet(cq_aggregator *aggregator)
{
    if (!aggregator->worker)
        return;
    pthread_mutex_lock(&aggregator->mutex);
    aggregator->quiet = true;
    pthread_cond_broadcast(&aggregator->changed);
    pthread_mutex_unlock(&aggregator->mutex);
}

size_t cq_aggregator_busy(cq_aggregator *aggregator)
{
    size_t count = 0;

    if (!aggregator->worker)
        return 0;
    pthread_mutex_lock(&aggregator->mutex);
    for (size_t i = 0; i < CQ_MERGERS; i++)
        count += aggregator->mergers[i].state != CQ_MERGER_FREE;
    pthread_mutex_unlock(&aggregator->mutex);
    return count;
}

void cq_aggregator_wait(cq_aggregator *aggregator, int64_t until_mono_ns)
{
    while (cq_aggregator_busy(aggregator) > 0 && cq_mono_ns() < until_mono_ns)
        cq_sleep_ms(5);
}

void cq_aggregator_join(cq_aggregator *aggregator, bool with_mergers)
{
    if (!aggregator->worker)
        return;
    for (size_t i = 0; i < CQ_MERGERS && with_mergers; i++) {
        if (aggregator->mergers[i].running)
            pthread_join(aggregator->mergers[i].thread, NULL);
        aggregator->mergers[i].running = false;
    }
    cq_ticker_stop(aggregator->ticker);
    aggregator->ticker = NULL;
}

bool cq_aggregator_has_ended(cq_aggregator *aggregator)
{
    for (size_t i = 0; i < CQ_MERGERS; i++) {
        cq_merger *merger = &aggregator->mergers[i];

        if (merger->running && pthread_tryjoin_np(merger->thread, NULL) != 0)
            return false;
        merger->running = false;
    }
    return true;
}

void cq_aggregator_release(cq_aggregator *aggregator)
{
    if (!aggregator->worker)
        return;
    for (size_t i = 0; i < CQ_MERGERS; i++)
        free(aggregator->mergers[i].group);
    pthread_cond_destroy(&aggregator->changed);
    pthread_mutex_destroy(&aggregator->mutex);
}
