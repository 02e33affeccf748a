/* SPDX-License-Identifier: MIT */
/* families.c - every metric, once: its names, its labels, and where its value is.
 *
 * The names are the seed's, its later ones (cron_server_*, cron_client_*), the
 * reference's (asynq_*), and ours (cronq_*); what is the same is stored once. */
#include "obs/metrics.h"

#include <stdio.h>

typedef enum scope {
    OF_TYPES,  /* a cell of cq_type_cells, labelled task_type */
    RUNNING,   /* of types: started - ended */
    COMMON,    /* a cell of cq_common_cells */
    OF_QUEUES, /* a cq_queue_value, labelled queue */
    TOLD,      /* a cq_told */
    BUILD,     /* 1, labelled version */
} scope;

typedef struct label {
    const char *name;
    const char *const *values;
    size_t count;
} label;

#define LABELS_LIMIT 2 /* beside task_type and le */
#define NAMES_LIMIT  2

typedef struct family {
    const char *names[NAMES_LIMIT];
    const char *help;
    cronq_metric_kind kind;
    scope scope;
    size_t at;               /* the first cell, or the value of the source */
    const cq_bounds *bounds; /* of histograms */
    label labels[LABELS_LIMIT];
} family;

/* ---- where values fall ---- */

#define MS ((int64_t)1000000)
#define US ((int64_t)1000)

static const int64_t consume[CQ_CONSUME_BOUNDS] = { 5 * MS,   10 * MS,   25 * MS,
                                                    50 * MS,  100 * MS,  250 * MS,
                                                    500 * MS, 1000 * MS, 2500 * MS,
                                                    5000 * MS };
static const int64_t push[CQ_PUSH_BOUNDS] = { 1 * MS,   2 * MS,   5 * MS,
                                              10 * MS,  25 * MS,  50 * MS,
                                              100 * MS, 250 * MS, 500 * MS };
static const int64_t bytes[CQ_BYTES_BOUNDS] = { 64,    256,   1024,   4096,
                                                16384, 65536, 262144, 1048576 };
static const int64_t fetch[CQ_FETCH_BOUNDS] = {
    0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512
};
static const int64_t wait[CQ_WAIT_BOUNDS] = {
    500 * US,  1 * MS,    5 * MS,     10 * MS,    50 * MS,     100 * MS,    500 * MS,
    1000 * MS, 5000 * MS, 10000 * MS, 60000 * MS, 600000 * MS, 3600000 * MS
};
static const int64_t trip[CQ_ROUND_TRIP_BOUNDS] = { 100 * US, 250 * US,  500 * US,
                                                    1 * MS,   2500 * US, 5 * MS,
                                                    10 * MS,  25 * MS,   50 * MS,
                                                    100 * MS, 500 * MS,  2500 * MS };

const cq_bounds cq_consume_bounds = { CQ_CONSUME_BOUNDS, consume, 1e6 };
const cq_bounds cq_push_bounds = { CQ_PUSH_BOUNDS, push, 1e6 };
const cq_bounds cq_bytes_bounds = { CQ_BYTES_BOUNDS, bytes, 1 };
const cq_bounds cq_fetch_bounds = { CQ_FETCH_BOUNDS, fetch, 1 };
const cq_bounds cq_wait_bounds = { CQ_WAIT_BOUNDS, wait, 1e9 };
const cq_bounds cq_round_trip_bounds = { CQ_ROUND_TRIP_BOUNDS, trip, 1e9 };

/* ---- the table ---- */

static const char *const consumed[] = { "success", "fail", "skip_retry" };
static const char *const stored[] = { "success", "fail" };
static const char *const pushed_how[] = { "now", "later", "group", "cron" };
static const char *const trips[] = { "exchange", "push", "extend" };
static const char *const notices[] = { "told", "failed", "dropped" };
static const char *const states[] = { "active", "pending",  "scheduled",
                                      "retry",  "archived", "completed" };

#define COUNTER   CRONQ_METRIC_COUNTER
#define GAUGE     CRONQ_METRIC_GAUGE
#define HISTOGRAM CRONQ_METRIC_HISTOGRAM
#define TYPE(f)   (offsetof(cq_type_cells, f) / sizeof(cq_cell))
#define CELL(f)   (offsetof(cq_common_cells, f) / sizeof(cq_cell))

/* clang-format off */
static const family families[] = {
    { { "cron_consume_total", "cron_server_consume_total" }, "Attempts that have ended, by how.", COUNTER, OF_TYPES, TYPE(consumed), NULL, { { "status", consumed, 3 } } },
    { { "cron_consume_duration_ms", "cron_server_consume_duration_ms" }, "How long handlers ran, in milliseconds.", HISTOGRAM, OF_TYPES, TYPE(consume_ns), &cq_consume_bounds, { { 0 } } },
    { { "cron_active_workers", "cron_server_active_workers" }, "Handlers that are running.", GAUGE, RUNNING, TYPE(started), NULL, { { 0 } } },
    { { "cron_server_consume_bytes" }, "Sizes of the payloads of attempts.", HISTOGRAM, OF_TYPES, TYPE(consume_bytes), &cq_bytes_bounds, { { 0 } } },
    { { "cron_server_retry_total" }, "Attempts after which the task is to run again.", COUNTER, OF_TYPES, TYPE(retried), NULL, { { 0 } } },
    { { "cron_server_skip_retry_total" }, "Attempts whose handler asked for no retry.", COUNTER, OF_TYPES, TYPE(consumed) + CQ_CONSUMED_SKIP, NULL, { { 0 } } },
    { { "cron_server_panic_total" }, "Attempts that panicked or crashed, or whose worker died, found by this one.", COUNTER, OF_TYPES, TYPE(died), NULL, { { 0 } } },
    { { "cron_server_scheduler_trigger_total" }, "Ticks of cron entries that this process pushed.", COUNTER, OF_TYPES, TYPE(triggered), NULL, { { 0 } } },
    { { "cron_server_scheduler_registered" }, "Cron entries of this process.", GAUGE, TOLD, CQ_TOLD_ENTRIES, NULL, { { 0 } } },
    { { "cron_client_push_total" }, "Tasks pushed.", COUNTER, OF_TYPES, TYPE(pushed), NULL, { { "push_type", pushed_how, CQ_PUSHED_COUNT }, { "status", stored, 2 } } },
    { { "cron_client_push_duration_ms" }, "How long pushes took, in milliseconds.", HISTOGRAM, OF_TYPES, TYPE(push_ns), &cq_push_bounds, { { 0 } } },
    { { "cron_client_push_bytes" }, "Sizes of the payloads of pushes.", HISTOGRAM, OF_TYPES, TYPE(push_bytes), &cq_bytes_bounds, { { 0 } } },

    { { "asynq_tasks_enqueued_total", "cron_server_tasks_enqueued_total" }, "Tasks in a queue, by state.", GAUGE, OF_QUEUES, CQ_QUEUE_ACTIVE, NULL, { { "state", states, 6 } } },
    { { "asynq_queue_size", "cron_server_queue_size" }, "Tasks in a queue.", GAUGE, OF_QUEUES, CQ_QUEUE_SIZE, NULL, { { 0 } } },
    { { "asynq_queue_latency_seconds", "cron_server_queue_latency_seconds" }, "How long the oldest pending task of a queue has waited.", GAUGE, OF_QUEUES, CQ_QUEUE_LATENCY_S, NULL, { { 0 } } },
    { { "asynq_tasks_processed_total", "cron_server_tasks_processed_total" }, "Tasks of a queue processed by anyone, failures too.", COUNTER, OF_QUEUES, CQ_QUEUE_PROCESSED, NULL, { { 0 } } },
    { { "asynq_tasks_failed_total", "cron_server_tasks_failed_total" }, "Failures of tasks of a queue, of anyone.", COUNTER, OF_QUEUES, CQ_QUEUE_FAILED, NULL, { { 0 } } },
    { { "asynq_queue_paused_total", "cron_server_queue_paused_total" }, "1 while a queue is paused.", GAUGE, OF_QUEUES, CQ_QUEUE_PAUSED, NULL, { { 0 } } },
    { { "asynq_queue_memory_usage_approx_bytes", "cron_server_queue_memory_usage_approx_bytes" }, "About what the store needs for a queue, by a few of its tasks.", GAUGE, OF_QUEUES, CQ_QUEUE_MEMORY_BYTES, NULL, { { 0 } } },
    { { "cron_server_queue_groups" }, "Groups in a queue.", GAUGE, OF_QUEUES, CQ_QUEUE_GROUPS, NULL, { { 0 } } },
    { { "cron_server_tasks_aggregating_total" }, "Tasks in the groups of a queue.", GAUGE, OF_QUEUES, CQ_QUEUE_AGGREGATING, NULL, { { 0 } } },

    { { "cronq_fetch_batch_tasks" }, "Tasks that one request took from the store.", HISTOGRAM, COMMON, CELL(fetch_tasks), &cq_fetch_bounds, { { 0 } } },
    { { "cronq_pickup_latency_seconds" }, "From when a task could run until its handler did.", HISTOGRAM, COMMON, CELL(pickup_ns), &cq_wait_bounds, { { 0 } } },
    { { "cronq_schedule_lateness_seconds" }, "From a tick of a cron entry until its task was pushed.", HISTOGRAM, COMMON, CELL(lateness_ns), &cq_wait_bounds, { { 0 } } },
    { { "cronq_schedule_ticks_missed_total" }, "Times that ticks of an entry went by without a push.", COUNTER, COMMON, CELL(ticks_missed), NULL, { { 0 } } },
    { { "cronq_lease_extensions_total" }, "Leases extended.", COUNTER, COMMON, CELL(leases_extended), NULL, { { 0 } } },
    { { "cronq_lease_losses_total" }, "Attempts whose lease was lost: the task runs elsewhere.", COUNTER, COMMON, CELL(leases_lost), NULL, { { 0 } } },
    { { "cronq_recovered_tasks_total" }, "Tasks of dead workers that this one put back.", COUNTER, COMMON, CELL(recovered), NULL, { { 0 } } },
    { { "cronq_corrupt_messages_total" }, "Tasks that could not be read, put into the archive.", COUNTER, COMMON, CELL(corrupt), NULL, { { 0 } } },
    { { "cronq_tasks_given_back_total" }, "Tasks put back unstarted.", COUNTER, COMMON, CELL(given_back), NULL, { { 0 } } },
    { { "cronq_cancelled_tasks_total" }, "Tasks that were cancelled while they ran, and archived as such.", COUNTER, COMMON, CELL(cancelled), NULL, { { 0 } } },
    { { "cronq_stuck_handlers_total" }, "Handlers that ran on well after their deadline.", COUNTER, COMMON, CELL(stuck), NULL, { { 0 } } },
    { { "cronq_archive_notices_total" }, "Archived tasks that OnArchive was to tell of, by how that ended.", COUNTER, COMMON, CELL(notices), NULL, { { "result", notices, CQ_NOTICE_ENDS } } },
    { { "cronq_store_round_trip_seconds" }, "How long the store took to answer, by request.", HISTOGRAM, COMMON, CELL(round_trip_ns), &cq_round_trip_bounds, { { "operation", trips, CQ_TRIP_COUNT } } },
    { { "cronq_store_connections_opened_total" }, "Connections to the store, lost ones made anew too.", COUNTER, TOLD, CQ_TOLD_CONNECTIONS, NULL, { { 0 } } },
    { { "cronq_store_up" }, "1 when the store has answered this scrape.", GAUGE, TOLD, CQ_TOLD_STORE_UP, NULL, { { 0 } } },
    { { "cronq_build_info" }, "1, labelled with the version.", GAUGE, BUILD, 0, NULL, { { 0 } } },
};
/* clang-format on */
#define FAMILY_COUNT (sizeof families / sizeof families[0])

const char *cq_family_name(size_t index)
{
    for (size_t i = 0; i < FAMILY_COUNT; i++)
        for (size_t j = 0; j < NAMES_LIMIT && families[i].names[j]; j++)
            if (index-- == 0)
                return families[i].names[j];
    return NULL;
}

/* ---- reading ---- */

/* What is being said, and to whom. */
typedef struct speech {
    const cronq_metrics *metrics;
    const family *family;
    cronq_metric_fn *visit;
    void *arg;
    cronq_metric_label labels[LABELS_LIMIT + 2];
    cronq_metric_sample sample;
} speech;

/* A row of cells, and how far they are apart from shard to shard. */
typedef struct cells {
    const cq_cell *first;
    size_t stride;
} cells;

static uint64_t sum(const speech *s, cells row, size_t at)
{
    uint64_t total = 0;

    for (size_t shard = 0; shard <= s->metrics->shard_mask; shard++)
        total += atomic_load_explicit(&row.first[shard * row.stride + at],
                                      memory_order_relaxed);
    return total;
}

static void say(speech *s, const char *suffix, double value)
{
    s->sample.suffix = suffix;
    s->sample.value = value;
    s->visit(s->arg, &s->sample);
}

static void push_label(speech *s, const char *name, const char *value)
{
    s->labels[s->sample.label_count++] = (cronq_metric_label){ name, value };
}

/* Sums are read first, so that a count is never without its value for long. */
static void say_histogram(speech *s, cells row, size_t at)
{
    const cq_bounds *bounds = s->family->bounds;
    double total = (double)sum(s, row, at + bounds->count + 1) / bounds->per_unit;
    uint64_t count = 0;
    char le[32];

    push_label(s, "le", le);
    for (size_t i = 0; i <= bounds->count; i++) {
        count += sum(s, row, at + i);
        if (i < bounds->count)
            snprintf(le, sizeof le, "%.10g",
                     (double)bounds->values[i] / bounds->per_unit);
        else
            snprintf(le, sizeof le, "+Inf");
        say(s, "_bucket", (double)count);
    }
    s->sample.label_count--;
    say(s, "_sum", total);
    say(s, "_count", (double)count);
}

static void say_cells(speech *s, cells row, size_t at)
{
    if (s->family->kind == CRONQ_METRIC_HISTOGRAM)
        say_histogram(s, row, at);
    else
        say(s, "", (double)sum(s, row, at));
}

static size_t width(const family *of)
{
    return of->kind == CRONQ_METRIC_HISTOGRAM ? of->bounds->count + 2 : 1;
}

/* All values of the labels; the last one's change fastest, as in the cells. */
static void say_labelled(speech *s, cells row, size_t at, size_t index)
{
    const label *by = &s->family->labels[index];
    size_t step = width(s->family);

    if (index == LABELS_LIMIT || !by->name) {
        say_cells(s, row, at);
        return;
    }
    for (size_t later = index + 1; later < LABELS_LIMIT; later++)
        step *= s->family->labels[later].name ? s->family->labels[later].count : 1;
    for (size_t i = 0; i < by->count; i++) {
        push_label(s, by->name, by->values[i]);
        say_labelled(s, row, at + i * step, index + 1);
        s->sample.label_count--;
    }
}

/* How many cells a family has. */
static size_t cell_count(const family *of)
{
    size_t count = width(of);

    for (size_t i = 0; i < LABELS_LIMIT && of->labels[i].name; i++)
        count *= of->labels[i].count;
    return count;
}

/* A type has the series of what it did once. */
static void say_type(speech *s, const cq_type *type)
{
    cells row = { (const cq_cell *)(const void *)type->shards,
                  sizeof *type->shards / sizeof(cq_cell) };
    uint64_t started, ended, any = 0;

    for (size_t i = 0; i < cell_count(s->family) && !any; i++)
        any = sum(s, row, s->family->at + i);
    if (!any)
        return;
    push_label(s, "task_type", type->name);
    if (s->family->scope == RUNNING) {
        ended = sum(s, row, s->family->at + 1);
        started = sum(s, row, s->family->at);
        say(s, "", started > ended ? (double)(started - ended) : 0);
    } else {
        say_labelled(s, row, s->family->at, 0);
    }
    s->sample.label_count--;
}

static void say_types(speech *s)
{
    size_t count = atomic_load(&s->metrics->type_count);

    for (size_t i = 0; i < count; i++)
        say_type(s, atomic_load(&s->metrics->types[i]));
    say_type(s, &s->metrics->other);
}

static void say_common(speech *s)
{
    const cq_common_cells *common = s->metrics->common;
    cells row = { (const cq_cell *)(const void *)common,
                  sizeof *common / sizeof(cq_cell) };

    say_labelled(s, row, s->family->at, 0);
}

static void say_queue(speech *s, const cq_told_queue *queue)
{
    const label *by = &s->family->labels[0];
    size_t count = by->name ? by->count : 1;

    push_label(s, "queue", queue->name);
    for (size_t i = 0; i < count; i++) {
        if (by->name)
            push_label(s, by->name, by->values[i]);
        say(s, "", queue->values[s->family->at + i]);
        if (by->name)
            s->sample.label_count--;
    }
    s->sample.label_count--;
}

static void say_family(speech *s, const cq_collection *told)
{
    size_t at = s->family->at;

    switch (s->family->scope) {
    case OF_TYPES:
    case RUNNING:
        say_types(s);
        return;
    case COMMON:
        say_common(s);
        return;
    case OF_QUEUES:
        for (size_t i = 0; i < told->queue_count; i++)
            say_queue(s, &told->queues[i]);
        return;
    case TOLD:
        if (told->is_told[at])
            say(s, "", told->told[at]);
        return;
    case BUILD:
        push_label(s, "version", cronq_version_string());
        say(s, "", 1);
    }
}

void cq_families_each(cronq_metrics *metrics, const cq_collection *collection,
                      cronq_metric_fn *visit, void *arg)
{
    for (size_t i = 0; i < FAMILY_COUNT; i++) {
        for (size_t j = 0; j < NAMES_LIMIT && families[i].names[j]; j++) {
            speech s = {
                .metrics = metrics, .family = &families[i], .visit = visit, .arg = arg
            };

            s.sample = (cronq_metric_sample){ .struct_size = sizeof s.sample,
                                              .name = families[i].names[j],
                                              .help = families[i].help,
                                              .kind = families[i].kind,
                                              .labels = s.labels };
            say_family(&s, collection);
        }
    }
}
