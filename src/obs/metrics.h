/* SPDX-License-Identifier: MIT */
/* obs/metrics.h - what is recorded: cells, and who records into them.
 *
 * A cell is a number that only grows. Each exists once a shard; a thread adds to the
 * shard of the CPU that it runs on, without order and without a lock, and who reads adds
 * the shards up. What is labelled with a task type has its cells in a cq_type, which is
 * found without a lock too, and lives as long as the registry.
 *
 * What lives elsewhere (sizes of queues) is asked for by sources when somebody reads. */
#ifndef CQ_OBS_METRICS_H
#define CQ_OBS_METRICS_H

#include "base/str.h"

#include <cronq/metrics.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#define CQ_CACHE_LINE  64
#define CQ_TYPES_LIMIT 200

typedef _Atomic uint64_t cq_cell;

/* A histogram's cells: one a bound, one for what is beyond, the sum. */
#define CQ_HISTOGRAM(bounds) [(bounds) + 2]
#define CQ_CONSUME_BOUNDS    10
#define CQ_PUSH_BOUNDS       9
#define CQ_BYTES_BOUNDS      8
#define CQ_FETCH_BOUNDS      11
#define CQ_WAIT_BOUNDS       13
#define CQ_ROUND_TRIP_BOUNDS 12

typedef enum cq_consumed {
    CQ_CONSUMED_OK,
    CQ_CONSUMED_FAIL,
    CQ_CONSUMED_SKIP
} cq_consumed;
#define CQ_CONSUMED_COUNT 3

typedef enum cq_pushed_how {
    CQ_PUSHED_NOW,
    CQ_PUSHED_LATER,
    CQ_PUSHED_GROUP,
    CQ_PUSHED_CRON,
} cq_pushed_how;
#define CQ_PUSHED_COUNT 4

typedef enum cq_notice_end {
    CQ_NOTICE_TOLD,
    CQ_NOTICE_FAILED,
    CQ_NOTICE_DROPPED
} cq_notice_end;
#define CQ_NOTICE_ENDS 3

typedef enum cq_round_trip {
    CQ_TRIP_EXCHANGE,
    CQ_TRIP_PUSH,
    CQ_TRIP_EXTEND
} cq_round_trip;
#define CQ_TRIP_COUNT 3

/* Of one task type. */
typedef struct cq_type_cells {
    _Alignas(CQ_CACHE_LINE) cq_cell started;
    cq_cell ended;
    cq_cell consumed[CQ_CONSUMED_COUNT];
    cq_cell consume_ns CQ_HISTOGRAM(CQ_CONSUME_BOUNDS);
    cq_cell consume_bytes CQ_HISTOGRAM(CQ_BYTES_BOUNDS);
    cq_cell retried, died, triggered;
    cq_cell pushed[CQ_PUSHED_COUNT * 2]; /* stored, not stored */
    cq_cell push_ns CQ_HISTOGRAM(CQ_PUSH_BOUNDS);
    cq_cell push_bytes CQ_HISTOGRAM(CQ_BYTES_BOUNDS);
} cq_type_cells;

/* Of all types together. */
typedef struct cq_common_cells {
    _Alignas(CQ_CACHE_LINE) cq_cell fetch_tasks CQ_HISTOGRAM(CQ_FETCH_BOUNDS);
    cq_cell pickup_ns CQ_HISTOGRAM(CQ_WAIT_BOUNDS);
    cq_cell lateness_ns CQ_HISTOGRAM(CQ_WAIT_BOUNDS);
    cq_cell round_trip_ns[CQ_TRIP_COUNT] CQ_HISTOGRAM(CQ_ROUND_TRIP_BOUNDS);
    cq_cell ticks_missed;
    cq_cell leases_extended, leases_lost;
    cq_cell recovered, corrupt, given_back, stuck, cancelled;
    cq_cell notices[CQ_NOTICE_ENDS];
} cq_common_cells;

typedef struct cq_type {
    uint64_t hash;
    size_t len;
    char *name; /* NUL-terminated, valid UTF-8 */
    cq_type_cells *shards;
} cq_type;

/* Where values fall: ascending, in the unit that is recorded; per_unit of them make one
 * of the unit that is shown. */
typedef struct cq_bounds {
    size_t count;
    const int64_t *values;
    double per_unit;
} cq_bounds;

extern const cq_bounds cq_consume_bounds, cq_push_bounds, cq_bytes_bounds,
    cq_fetch_bounds, cq_wait_bounds, cq_round_trip_bounds;

/* What sources tell. */
typedef enum cq_queue_value {
    CQ_QUEUE_ACTIVE,
    CQ_QUEUE_PENDING,
    CQ_QUEUE_SCHEDULED,
    CQ_QUEUE_RETRY,
    CQ_QUEUE_ARCHIVED,
    CQ_QUEUE_COMPLETED,
    CQ_QUEUE_SIZE, /* all of the above, and those in groups */
    CQ_QUEUE_AGGREGATING,
    CQ_QUEUE_GROUPS,
    CQ_QUEUE_LATENCY_S,
    CQ_QUEUE_PROCESSED,
    CQ_QUEUE_FAILED,
    CQ_QUEUE_PAUSED,
    CQ_QUEUE_MEMORY_BYTES,
} cq_queue_value;
#define CQ_QUEUE_VALUES 14

typedef enum cq_told { CQ_TOLD_STORE_UP, CQ_TOLD_CONNECTIONS, CQ_TOLD_ENTRIES } cq_told;
#define CQ_TOLD_COUNT 3

typedef struct cq_collection cq_collection;
typedef void cq_source_fn(void *arg, cq_collection *out);

/* The first to tell about a queue is heard; other values of several sources are added,
 * but for STORE_UP: the least of them counts. The name is borrowed until all is read. */
void cq_collection_queue(cq_collection *out, const char *name,
                         const double values[CQ_QUEUE_VALUES]);
void cq_collection_tell(cq_collection *out, cq_told what, double value);

/* metrics may be NULL: nothing is added. remove waits for the source to return. */
cronq_status cq_metrics_add_source(cronq_metrics *metrics, cq_source_fn *source,
                                   void *arg, cronq_error *err);
void cq_metrics_remove_source(cronq_metrics *metrics, cq_source_fn *source, void *arg);

/* The cells of a type; those of "other" when there are too many, the type is longer than
 * 256 bytes or not a text, or memory is out. NULL when metrics is. */
cq_type *cq_metrics_type(cronq_metrics *metrics, cq_str type);

typedef struct cq_source {
    cq_source_fn *collect;
    void *arg;
} cq_source;

typedef struct cq_watched {
    char *name, *help;
    cronq_metric_kind kind;
    cronq_metric_read_fn *read;
    void *arg;
} cq_watched;

#define CQ_TYPE_SLOTS 512 /* a power of two, well above CQ_TYPES_LIMIT */

/* Types are only added: an entry of types and its slot never change once they are set. */
struct cronq_metrics {
    uint32_t shard_mask;
    cq_common_cells *common; /* a shard each */
    cq_type other;
    _Atomic(cq_type *) slots[CQ_TYPE_SLOTS]; /* by hash, the next free one */
    _Atomic(cq_type *) types[CQ_TYPES_LIMIT];
    _Atomic size_t type_count;
    pthread_mutex_t types_mutex; /* who adds a type */

    pthread_mutex_t mutex; /* over what follows, and while it is read */
    cq_source *sources;
    size_t source_count;
    cq_watched *watched;
    size_t watched_count;
};

/* The cells of this CPU. */
static inline uint32_t cq_metrics_shard(const cronq_metrics *metrics)
{
    int cpu = sched_getcpu();

    return cpu < 0 ? 0 : (uint32_t)cpu & metrics->shard_mask;
}

static inline cq_common_cells *cq_metrics_common(cronq_metrics *metrics)
{
    return &metrics->common[cq_metrics_shard(metrics)];
}

static inline cq_type_cells *cq_type_here(const cronq_metrics *metrics, cq_type *type)
{
    return &type->shards[cq_metrics_shard(metrics)];
}

static inline void cq_cell_add(cq_cell *cell, uint64_t n)
{
    atomic_fetch_add_explicit(cell, n, memory_order_relaxed);
}

/* CQ_METRICS_ADD(metrics, leases_lost, 1); metrics may be NULL. */
#define CQ_METRICS_ADD(metrics, cell, n)                       \
    do {                                                       \
        if (metrics)                                           \
            cq_cell_add(&cq_metrics_common(metrics)->cell, n); \
    } while (0)

static inline void cq_histogram_add(cq_cell *cells, const cq_bounds *bounds,
                                    int64_t value)
{
    size_t at = 0;

    while (at < bounds->count && value > bounds->values[at])
        at++;
    cq_cell_add(&cells[at], 1);
    if (value > 0)
        cq_cell_add(&cells[bounds->count + 1], (uint64_t)value);
}

/* ---- reading: registry.c, families.c, render.c ---- */

/* What sources have told. */
typedef struct cq_told_queue {
    const char *name;
    double values[CQ_QUEUE_VALUES];
} cq_told_queue;

struct cq_collection {
    cq_told_queue *queues;
    size_t queue_count, queue_room;
    bool is_told[CQ_TOLD_COUNT];
    double told[CQ_TOLD_COUNT];
};

/* Call visit for all that the table of families has. The mutex is held. */
void cq_families_each(cronq_metrics *metrics, const cq_collection *collection,
                      cronq_metric_fn *visit, void *arg);
/* The names in the table; NULL beyond their count. */
const char *cq_family_name(size_t index);

/* metrics may be NULL. */
static inline void cq_metrics_round_trip(cronq_metrics *metrics, cq_round_trip what,
                                         int64_t ns)
{
    if (metrics)
        cq_histogram_add(cq_metrics_common(metrics)->round_trip_ns[what],
                         &cq_round_trip_bounds, ns);
}

#endif
