/* SPDX-License-Identifier: MIT */
/* options.c - the server's options: checks, defaults and copies. */
#include "base/options.h"
#include "base/clock.h"
#include "base/error.h"
#include "codec/key.h"
#include "server/server.h"

#include <sched.h>
#include <string.h>

#define ARENA_LIMIT_BYTES ((size_t)64 << 20)
#define CONCURRENCY_LIMIT 10000
#define PERIOD_LIMIT_MS   (CQ_PERIOD_LIMIT_S * CQ_MS_PER_S)

/* Every period: where it is, what zero means, and the least that makes sense. */
static const struct period {
    const char *name;
    size_t offset;
    int64_t fallback_ms, least_ms;
} periods[] = {
#define ROW(field, fallback, least)                                    \
    {                                                                  \
#field, offsetof(cronq_server_options, field), fallback, least \
    }
    ROW(retry_base_ms, 1000, 1),
    ROW(retry_cap_ms, (int64_t)24 * 3600 * 1000, 1),
    ROW(shutdown_timeout_ms, 8000, 1),
    ROW(task_check_interval_ms, 1000, 1),
    ROW(delayed_check_interval_ms, 5000, 1),
    ROW(health_check_interval_ms, 15000, 1),
    ROW(janitor_interval_ms, 8000, 1),
    ROW(lease_ms, 30000, 1000),
    ROW(heartbeat_ms, 5000, 1),
    ROW(recover_interval_ms, 5000, 1),
    ROW(restart_delay_ms, 1000, 1),
    ROW(group_grace_ms, 60000, 1000),
    ROW(group_set_age_ms, 120000, 1000),
#undef ROW
};

static cronq_status resolve_period(const struct period *period, cronq_server_options *out,
                                   cronq_error *err)
{
    int64_t *value = (int64_t *)((char *)out + period->offset);

    if (*value == 0)
        *value = period->fallback_ms;
    if (*value < period->least_ms || *value > PERIOD_LIMIT_MS)
        return cq_fail(err, CRONQ_EINVAL, "%s: %lld is not between %lld and %lld",
                       period->name, (long long)*value, (long long)period->least_ms,
                       (long long)PERIOD_LIMIT_MS);
    return CRONQ_OK;
}

static uint32_t usable_cpus(void)
{
    cpu_set_t set;
    int count = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;

    return count > 0 ? (uint32_t)count : 1;
}

static const char *copy_text(cq_arena *arena, const char *text)
{
    return cq_arena_dup(arena, text, strlen(text));
}

static cronq_status copy_queue(cq_arena *arena, const cronq_queue *from, cronq_queue *to,
                               cronq_error *err)
{
    cronq_status status = cq_check_queue(cq_str_of(from->name), err);

    if (status)
        return status;
    if (from->weight == 0 || from->weight > INT32_MAX)
        return cq_fail(err, CRONQ_EINVAL,
                       "weight of queue %s: %u is not between 1 and %d", from->name,
                       from->weight, INT32_MAX);
    to->weight = from->weight;
    to->name = copy_text(arena, from->name);
    return to->name ? CRONQ_OK : cq_fail_nomem(err);
}

static cronq_status resolve_queues(cq_arena *arena, cronq_server_options *out,
                                   cronq_error *err)
{
    cronq_queue fallback = { out->namespace_name ? out->namespace_name : "default", 1 };
    const cronq_queue *from = out->queue_count ? out->queues : &fallback;
    size_t count = out->queue_count ? out->queue_count : 1;
    cronq_queue *queues;

    if (count > CQ_QUEUES_LIMIT)
        return cq_fail(err, CRONQ_EINVAL, "queue_count: %zu is more than %d", count,
                       CQ_QUEUES_LIMIT);
    queues = cq_arena_calloc(arena, count, sizeof *queues);
    if (!queues)
        return cq_fail_nomem(err);
    for (size_t i = 0; i < count; i++) {
        cronq_status status = copy_queue(arena, &from[i], &queues[i], err);

        if (status)
            return status;
        for (size_t j = 0; j < i; j++)
            if (strcmp(queues[i].name, queues[j].name) == 0)
                return cq_fail(err, CRONQ_EINVAL, "queues: %s is named twice",
                               queues[i].name);
    }
    out->queues = queues;
    out->queue_count = count;
    return CRONQ_OK;
}

static cronq_status resolve_namespace(cq_arena *arena, cronq_server_options *out,
                                      cronq_error *err)
{
    cronq_status status;

    if (!out->namespace_name || !*out->namespace_name) {
        out->namespace_name = NULL;
        return CRONQ_OK;
    }
    status = cq_check_queue(cq_str_of(out->namespace_name), err);
    if (status)
        return status;
    out->namespace_name = copy_text(arena, out->namespace_name);
    return out->namespace_name ? CRONQ_OK : cq_fail_nomem(err);
}

static cronq_status resolve_counts(cronq_server_options *out, cronq_error *err)
{
    if (out->concurrency == 0)
        out->concurrency = usable_cpus();
    if (out->concurrency > CONCURRENCY_LIMIT)
        return cq_fail(err, CRONQ_EINVAL, "concurrency: %u is more than %d",
                       out->concurrency, CONCURRENCY_LIMIT);
    if (out->janitor_batch_count == 0)
        out->janitor_batch_count = 100;
    if (out->janitor_batch_count > 10000)
        return cq_fail(err, CRONQ_EINVAL, "janitor_batch_count: %u is more than 10000",
                       out->janitor_batch_count);
    if (out->group_max_delay_ms == 0)
        out->group_max_delay_ms = 300000;
    if (out->group_max_delay_ms != CRONQ_NEVER && out->group_max_delay_ms < 1000)
        return cq_fail(err, CRONQ_EINVAL, "group_max_delay_ms: %lld is less than 1000",
                       (long long)out->group_max_delay_ms);
    if (out->retry_kind > CRONQ_RETRY_FIXED)
        return cq_fail(err, CRONQ_EINVAL, "retry_kind: %d is none of 0, 1, 2",
                       (int)out->retry_kind);
    if (out->seed_compat && out->retry_kind == CRONQ_RETRY_DEFAULT)
        out->retry_kind = CRONQ_RETRY_EXPONENTIAL;
    return CRONQ_OK;
}

cronq_status cq_server_resolve(const cronq_server_options *options, cq_arena *arena,
                               cronq_server_options *out, cronq_error *err)
{
    cronq_status status =
        cq_options_copy(out, sizeof *out, options, "server options", err);

    if (status)
        return status;
    cq_arena_init(arena, ARENA_LIMIT_BYTES);
    for (size_t i = 0; i < sizeof periods / sizeof periods[0]; i++) {
        status = resolve_period(&periods[i], out, err);
        if (status)
            return status;
    }
    status = resolve_counts(out, err);
    if (status)
        return status;
    status = resolve_namespace(arena, out, err);
    if (status)
        return status;
    return resolve_queues(arena, out, err);
}
