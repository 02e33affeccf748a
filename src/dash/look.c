/* SPDX-License-Identifier: MIT */
/* dash/look.c - a picture of what was asked for; see look.h. */
#include "dash/look.h"

#include "base/clock.h"
#include "base/error.h"

#include <stdio.h>
#include <stdlib.h>

#define SAMPLE_NS_MIN (CQ_NS_PER_S / 10)

void cq_dash_picture_free(cq_dash_picture *picture)
{
    if (!picture)
        return;
    free(picture->queues);
    cronq_task_infos_free(picture->tasks, picture->task_count);
    cronq_task_info_free(picture->task);
    cronq_list_free(picture->servers);
    cronq_list_free(picture->workers);
    free(picture->server_rows);
    cronq_list_free(picture->entries);
    free(picture);
}

/* ---- rates ---- */

/* That of the queue, else the one that was not used for the longest time. */
static cq_dash_rate *find_rate(cq_dash_rates *rates, const char *queue)
{
    cq_dash_rate *oldest = &rates->rates[0];

    for (size_t i = 0; i < CQ_DASH_RATES_LIMIT; i++) {
        cq_dash_rate *rate = &rates->rates[i];

        if (rate->at_ns && strcmp(rate->queue, queue) == 0)
            return rate;
        if (rate->at_ns < oldest->at_ns)
            oldest = rate;
    }
    memset(oldest, 0, sizeof *oldest);
    snprintf(oldest->queue, sizeof oldest->queue, "%s", queue);
    return oldest;
}

static void push_sample(double *samples, size_t count, double sample)
{
    if (count == CQ_DASH_SAMPLES)
        memmove(samples, samples + 1, (--count) * sizeof *samples);
    samples[count] = sample;
}

/* Counters go back when a queue was removed. */
static double per_second(uint64_t before, uint64_t now, int64_t elapsed_ns)
{
    if (now < before)
        return 0;
    return (double)(now - before) * (double)CQ_NS_PER_S / (double)elapsed_ns;
}

const cq_dash_rate *cq_dash_rates_add(cq_dash_rates *rates, const cronq_queue_info *info,
                                      int64_t now_ns)
{
    cq_dash_rate *rate = find_rate(rates, info->name);
    int64_t elapsed_ns = now_ns - rate->at_ns;

    if (rate->at_ns && elapsed_ns < SAMPLE_NS_MIN)
        return rate;
    if (rate->at_ns && elapsed_ns <= rates->gap_ns) {
        push_sample(rate->processed, rate->sample_count,
                    per_second(rate->processed_count, info->processed_count, elapsed_ns));
        push_sample(rate->failed, rate->sample_count,
                    per_second(rate->failed_count, info->failed_count, elapsed_ns));
        rate->sample_count += rate->sample_count < CQ_DASH_SAMPLES;
    } else {
        rate->sample_count = 0;
    }
    rate->at_ns = now_ns;
    rate->processed_count = info->processed_count;
    rate->failed_count = info->failed_count;
    return rate;
}

/* ---- pages ---- */

static cronq_status look_at_queue(cronq_inspector *inspector, const char *name,
                                  cq_dash_rates *rates, cq_dash_queue *out,
                                  cronq_error *err)
{
    const cq_dash_rate *rate;
    cronq_status status;

    out->info.struct_size = sizeof out->info;
    status = cronq_inspector_queue_info(inspector, name, &out->info, err);
    if (status)
        return status;
    rate = cq_dash_rates_add(rates, &out->info, cq_mono_ns());
    memcpy(out->processed, rate->processed, sizeof out->processed);
    memcpy(out->failed, rate->failed, sizeof out->failed);
    out->sample_count = rate->sample_count;
    return CRONQ_OK;
}

/* A queue that was removed meanwhile is left out. */
static cronq_status look_at_each(cronq_inspector *inspector, char **names, size_t count,
                                 cq_dash_rates *rates, cq_dash_picture *picture,
                                 cronq_error *err)
{
    size_t limit = count < picture->ask.limit ? count : picture->ask.limit;

    picture->queues = calloc(limit + 1, sizeof *picture->queues);
    if (!picture->queues)
        return cq_fail_nomem(err);
    for (size_t i = 0; i < limit; i++) {
        cq_dash_queue *queue = &picture->queues[picture->queue_count];
        cronq_status status = look_at_queue(inspector, names[i], rates, queue, err);

        if (status && status != CRONQ_ENOENT)
            return status;
        picture->queue_count += status == CRONQ_OK;
    }
    return CRONQ_OK;
}

static cronq_status look_at_queues(cronq_inspector *inspector, cq_dash_rates *rates,
                                   cq_dash_picture *picture, cronq_error *err)
{
    char **names = NULL;
    size_t count = 0, offset = picture->ask.offset;
    cronq_status status = cronq_inspector_queues(inspector, &names, &count, err);

    if (status)
        return status;
    picture->total = count;
    if (offset > count)
        offset = count;
    status = look_at_each(inspector, names + offset, count - offset, rates, picture, err);
    free(names);
    return status;
}

static uint64_t count_of(const cronq_queue_info *info, cronq_state state)
{
    const uint64_t counts[] = {
        [CRONQ_STATE_ACTIVE] = info->active_count,
        [CRONQ_STATE_PENDING] = info->pending_count,
        [CRONQ_STATE_SCHEDULED] = info->scheduled_count,
        [CRONQ_STATE_RETRY] = info->retry_count,
        [CRONQ_STATE_ARCHIVED] = info->archived_count,
        [CRONQ_STATE_COMPLETED] = info->completed_count,
        [CRONQ_STATE_AGGREGATING] = info->aggregating_count,
    };

    return counts[state];
}

static cronq_status look_at_tasks(cronq_inspector *inspector, cq_dash_rates *rates,
                                  cq_dash_picture *picture, cronq_error *err)
{
    const cq_dash_ask *ask = &picture->ask;
    cronq_status status;

    (void)rates;
    picture->queue.struct_size = sizeof picture->queue;
    status = cronq_inspector_queue_info(inspector, ask->queue, &picture->queue, err);
    if (status)
        return status;
    picture->total = (size_t)count_of(&picture->queue, ask->state);
    return cronq_inspector_list(inspector, ask->queue, ask->state, NULL, ask->offset,
                                ask->limit, &picture->tasks, &picture->task_count, err);
}

static cronq_status look_at_task(cronq_inspector *inspector, cq_dash_rates *rates,
                                 cq_dash_picture *picture, cronq_error *err)
{
    (void)rates;
    return cronq_inspector_task(inspector, picture->ask.queue, picture->ask.id,
                                &picture->task, err);
}

static bool runs_on(const cronq_worker_info *worker, const cronq_server_info *server)
{
    return worker->pid == server->pid && strcmp(worker->host, server->host) == 0 &&
           strcmp(worker->server_id, server->id) == 0;
}

static void arrange_servers(cq_dash_picture *picture)
{
    for (size_t s = 0; s < picture->server_count; s++) {
        const cronq_server_info *server = &picture->servers[s];

        picture->server_rows[picture->server_row_count++].server = server;
        for (size_t w = 0; w < picture->worker_count; w++)
            if (runs_on(&picture->workers[w], server))
                picture->server_rows[picture->server_row_count++] =
                    (cq_dash_server_row){ server, &picture->workers[w] };
    }
}

static cronq_status look_at_servers(cronq_inspector *inspector, cq_dash_rates *rates,
                                    cq_dash_picture *picture, cronq_error *err)
{
    cronq_status status;

    (void)rates;
    status = cronq_inspector_servers(inspector, &picture->servers, &picture->server_count,
                                     err);
    if (!status)
        status = cronq_inspector_workers(inspector, &picture->workers,
                                         &picture->worker_count, err);
    if (status)
        return status;
    picture->server_rows = calloc(picture->server_count + picture->worker_count + 1,
                                  sizeof *picture->server_rows);
    if (!picture->server_rows)
        return cq_fail_nomem(err);
    arrange_servers(picture);
    return CRONQ_OK;
}

static cronq_status look_at_cron(cronq_inspector *inspector, cq_dash_rates *rates,
                                 cq_dash_picture *picture, cronq_error *err)
{
    (void)rates;
    return cronq_inspector_entries(inspector, &picture->entries, &picture->entry_count,
                                   err);
}

static cronq_status (*const lookers[])(cronq_inspector *inspector, cq_dash_rates *rates,
                                       cq_dash_picture *picture, cronq_error *err) = {
    [CQ_DASH_QUEUES] = look_at_queues, [CQ_DASH_TASKS] = look_at_tasks,
    [CQ_DASH_TASK] = look_at_task,     [CQ_DASH_SERVERS] = look_at_servers,
    [CQ_DASH_CRON] = look_at_cron,
};

cronq_status cq_dash_look(cronq_inspector *inspector, const cq_dash_ask *ask,
                          cq_dash_rates *rates, cq_dash_picture **out, cronq_error *err)
{
    cq_dash_picture *picture = calloc(1, sizeof *picture);
    cronq_status status;

    if (!picture)
        return cq_fail_nomem(err);
    picture->ask = *ask;
    picture->at_ms = cq_wall_ns() / CQ_NS_PER_MS;
    status = lookers[ask->page](inspector, rates, picture, err);
    if (status) {
        cq_dash_picture_free(picture);
        return status;
    }
    *out = picture;
    return CRONQ_OK;
}
