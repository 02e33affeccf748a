/* SPDX-License-Identifier: MIT */
/* cronq/inspector.h - look at queues. */
#ifndef CRONQ_INSPECTOR_H
#define CRONQ_INSPECTOR_H

#include "store.h"
#include "task.h"

CRONQ_BEGIN

/* A way to look, safe to share between threads. */
typedef struct cronq_inspector cronq_inspector;

typedef struct cronq_queue_info {
    size_t struct_size; /* set by the caller */
    char name[201];
    bool paused;
    int64_t paused_at_ms; /* 0: unknown */
    uint64_t pending_count, active_count, scheduled_count, retry_count, archived_count,
        completed_count, aggregating_count, group_count;
    uint64_t processed_today_count, failed_today_count; /* UTC day */
    uint64_t processed_count, failed_count;             /* ever */
    int64_t latency_ms; /* how long the oldest pending task has waited */
} cronq_queue_info;

cronq_status cronq_inspector_new(const char *uri, const cronq_store_options *store,
                                 cronq_inspector **out, cronq_error *err) CRONQ_CHECKED;
void cronq_inspector_free(cronq_inspector *inspector);

/* The names of all queues, sorted: *names is one block with *count pointers, freed with
 * free(). */
cronq_status cronq_inspector_queues(cronq_inspector *inspector, char ***names,
                                    size_t *count, cronq_error *err) CRONQ_CHECKED;
/* ENOENT when there is no such queue. The cost does not depend on the number of tasks. */
cronq_status cronq_inspector_queue_info(cronq_inspector *inspector, const char *queue,
                                        cronq_queue_info *info, cronq_error *err)
    CRONQ_CHECKED;
/* ESTATE when it is so already. */
cronq_status cronq_inspector_pause(cronq_inspector *inspector, const char *queue,
                                   cronq_error *err) CRONQ_CHECKED;
cronq_status cronq_inspector_resume(cronq_inspector *inspector, const char *queue,
                                    cronq_error *err) CRONQ_CHECKED;

/* ---- checking ---- */

/* Invariants of a queue that may be broken, by a crash of the store, by hand, or by
 * another program. docs/fsck.md says of each what repairing does. Kinds are appended. */
typedef enum cronq_finding_kind {
    CRONQ_FINDING_NO_TASK,     /* an id in a list without its task */
    CRONQ_FINDING_NO_MESSAGE,  /* a task without a message, in no list */
    CRONQ_FINDING_CORRUPT,     /* does not decode, or is another task's message */
    CRONQ_FINDING_LOST,        /* a task that is in no list */
    CRONQ_FINDING_MISPLACED,   /* in another list than its state names */
    CRONQ_FINDING_TWICE,       /* in more than one list, or twice in one */
    CRONQ_FINDING_NO_LEASE,    /* active, and nobody would notice that its worker died */
    CRONQ_FINDING_STRAY_LEASE, /* a lease of a task that is not active */
    CRONQ_FINDING_TIME,        /* due, or leased until, a time that never comes */
    CRONQ_FINDING_GROUP,       /* a group with tasks that is not in the list of groups */
    CRONQ_FINDING_SET,         /* a listed aggregation set that does not exist */
    CRONQ_FINDING_LOCK,        /* a uniqueness lock of a task that does not exist */
    CRONQ_FINDING_TYPE,        /* a key of the wrong type */
    CRONQ_FINDING_QUEUE,       /* a queue with keys that is not in the list of queues */
    CRONQ_FINDING_STORE,       /* the database file is damaged */
} cronq_finding_kind;

/* "no-task", …; borrowed for ever. */
const char *cronq_finding_kind_name(cronq_finding_kind kind);

/* What was found; texts are borrowed for the call. */
typedef struct cronq_finding {
    size_t struct_size;
    cronq_finding_kind kind;
    const char *queue;
    const char *id;   /* of the task, or the name of the key; "" when it is the queue */
    const char *text; /* one sentence */
    bool repaired;
} cronq_finding;

typedef void cronq_finding_fn(const cronq_finding *finding, void *arg);

/* Checks every task of a queue, at rest or in operation: what only moves while it is
 * looked at is not found. With repair, does what is safe about each finding. Takes time
 * in proportion to the queue, and never occupies the store for long at a time. on_finding
 * is called from this thread. ENOENT when there is no such queue, nor anything of it. */
cronq_status cronq_inspector_check(cronq_inspector *inspector, const char *queue,
                                   bool repair, cronq_finding_fn *on_finding, void *arg,
                                   cronq_error *err) CRONQ_CHECKED;

CRONQ_END
#endif /* CRONQ_INSPECTOR_H */
