/* SPDX-License-Identifier: MIT */
/* scheduler/internal.h - what the files of this folder share.
 *
 * One thread does all work that needs the store (run.c); everybody else changes the list
 * of entries under the mutex and wakes it.
 *
 * Life of an entry's tick: next_s is unknown until the thread knows the store's clock
 * (and the phase of an @every entry), then the first activation after that moment. Once
 * due, the newest activation that is not later than now is pushed until the store has
 * answered, or the following one is due; then next_s moves on. It never moves back, but
 * for a store whose clock did. */
#ifndef CQ_SCHEDULER_INTERNAL_H
#define CQ_SCHEDULER_INTERNAL_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/random.h"
#include "client/client.h"
#include "cron/cron.h"
#include "obs/metrics.h"
#include "scheduler/scheduler.h"

#include <pthread.h>

#define CQ_ENTRY_LIMIT_COUNT 10000
#define CQ_ENTRY_LIMIT_BYTES ((size_t)1 << 30)
#define CQ_TICKS_AT_ONCE     256
#define CQ_TICK_UNKNOWN      INT64_MIN
#define CQ_TICK_NEVER        INT64_MAX
#define CQ_TICK_LATE_LIMIT_S 86400 /* what is missed for longer is not made up */

typedef struct cq_entry {
    struct cq_entry *next;
    /* Fixed once it is made: */
    cq_arena arena; /* of all texts */
    const char *id, *spec, *zone_name;
    const char *likeness; /* of its task: what stays when the spec is edited */
    bool named, skip_overlap;
    cronq_task task;
    cq_zone *zone;
    cq_cron *cron;
    int64_t every_s;
    const cq_str *options;
    size_t option_count;
    /* Under the mutex: */
    bool in_use; /* by the thread, without the mutex: not to be freed */
    bool phase_known;
    int64_t phase_s;
    int64_t next_s, previous_s; /* or CQ_TICK_UNKNOWN */
    int64_t retry_at_ns;        /* monotonic; 0: not failing */
} cq_entry;

cronq_status cq_entry_new(const char *spec, const char *task_type,
                          const cronq_entry_options *options, bool seed_compat,
                          cq_entry **out, cronq_error *err);
void cq_entry_free(cq_entry *entry);

/* The first activation after an instant. */
int64_t cq_entry_after(const cq_entry *entry, int64_t unix_s);
/* The newest activation from next_s on that is not after now_s; next_s when that is
 * later; CQ_TICK_UNKNOWN when all are too old. */
int64_t cq_entry_newest(const cq_entry *entry, int64_t now_s);

/* Append the entry as the store keeps it. */
cronq_status cq_entry_encode(const cq_entry *entry, cq_buf *out, cronq_error *err);

typedef enum cq_scheduler_state {
    CQ_SCHEDULER_STOPPED,
    CQ_SCHEDULER_RUNNING,
    CQ_SCHEDULER_STOPPING,
} cq_scheduler_state;

struct cronq_scheduler {
    cq_broker *broker;
    bool owns_broker, seed_compat;
    cronq_client *client;
    cronq_metrics *metrics; /* or NULL */
    cronq_logger logger;
    int64_t heartbeat_ms;
    cq_str id; /* HOST:PID:UUID */
    char id_text[256];

    pthread_mutex_t mutex;
    pthread_cond_t changed; /* for the thread */
    pthread_cond_t calm;    /* an entry is not in use any more, the thread ended */
    cq_scheduler_state state;
    cq_entry *entries;
    size_t entry_count;
    pthread_t thread;

    /* The thread's alone; instants are monotonic. */
    cq_random random;
    cq_tick *ticks;      /* CQ_TICKS_AT_ONCE of them */
    cronq_error failure; /* of the store; code OK: it answers */
    int64_t failed_delay_ms, retry_at_ns;
    bool clock_known;
    int64_t clock_offset_ns, sync_at_ns;
    bool beat_soon; /* under the mutex: entries came or went */
    int64_t beat_at_ns;
};

/* For the registry: how many entries there are. */
void cq_scheduler_tell(void *scheduler, cq_collection *out);

/* The thread. */
void *cq_scheduler_run(void *arg);

#endif
