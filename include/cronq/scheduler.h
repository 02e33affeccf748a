/* SPDX-License-Identifier: MIT */
/* cronq/scheduler.h - push tasks by the clock.
 *
 * Any number of processes may run the same entries: a tick of an entry is one task. */
#ifndef CRONQ_SCHEDULER_H
#define CRONQ_SCHEDULER_H

#include "client.h"

CRONQ_BEGIN

typedef enum cronq_overlap {
    CRONQ_OVERLAP_ALLOW = 0, /* push whether or not the last run is over */
    CRONQ_OVERLAP_SKIP =
        1 /* no push while the last run waits, runs or is to be retried */
} cronq_overlap;

typedef struct cronq_entry_options {
    size_t struct_size;    /* set by CRONQ_ENTRY_OPTIONS() */
    const char *name;      /* the entry's id; default a hash of what it is made of */
    const char *time_zone; /* IANA name; default "Local" */
    cronq_overlap overlap;
    /* What to push: payload, queue, retries, timeout, …; its type is the pattern. An id
     * becomes the prefix of the ids of the runs. Times, group: refused. NULL is fine. */
    const cronq_task *task;
} cronq_entry_options;

#define CRONQ_ENTRY_OPTIONS(...)                                               \
    (&(const cronq_entry_options){ .struct_size = sizeof(cronq_entry_options), \
                                   __VA_ARGS__ })

/* Pushes the tasks of its entries when they are due. Safe from any thread. */
typedef struct cronq_scheduler cronq_scheduler;

typedef struct cronq_scheduler_options {
    size_t struct_size; /* set by CRONQ_SCHEDULER_OPTIONS() */
    const cronq_store_options *store;
    cronq_logger logger;
    int64_t heartbeat_interval_ms; /* 0: 10,000 */
    cronq_metrics *metrics; /* NULL: nothing is recorded; borrowed until the free */
    cronq_tracer *tracer;   /* NULL: no spans. Each run of an entry begins a trace */
} cronq_scheduler_options;

#define CRONQ_SCHEDULER_OPTIONS(...)                                                   \
    (&(const cronq_scheduler_options){ .struct_size = sizeof(cronq_scheduler_options), \
                                       __VA_ARGS__ })

/* Connects to nothing yet. *out is the caller's. */
cronq_status cronq_scheduler_new(const char *uri, const cronq_scheduler_options *options,
                                 cronq_scheduler **out, cronq_error *err) CRONQ_CHECKED;
void cronq_scheduler_free(cronq_scheduler *scheduler); /* stops; NULL is fine */

/* Add an entry, before or after the start. spec has five fields, six with seconds first,
 * or
 * @every and the like (docs/cron.md). *entry_id, when wanted, borrows from the scheduler
 * until the entry is removed. EINVAL for a bad spec, zone or task; EEXIST for an equal
 * id. */
cronq_status cronq_scheduler_add(cronq_scheduler *scheduler, const char *spec,
                                 const char *task_type,
                                 const cronq_entry_options *options,
                                 const char **entry_id, cronq_error *err) CRONQ_CHECKED;
/* ENOENT when there is none with that id. */
cronq_status cronq_scheduler_remove(cronq_scheduler *scheduler, const char *entry_id,
                                    cronq_error *err);

/* Starts a thread and returns; without its store it waits for it. ESTATE when started. */
cronq_status cronq_scheduler_start(cronq_scheduler *scheduler, cronq_error *err)
    CRONQ_CHECKED;
/* Returns when no push is under way any more. May be started again. */
void cronq_scheduler_stop(cronq_scheduler *scheduler);

CRONQ_END
#endif /* CRONQ_SCHEDULER_H */
