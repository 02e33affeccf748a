/* SPDX-License-Identifier: MIT */
/* cronq/inspector.h - look at queues and tasks, and repair them. */
#ifndef CRONQ_INSPECTOR_H
#define CRONQ_INSPECTOR_H

#include "store.h"
#include "task.h"

CRONQ_BEGIN

/* A way to look, safe to share between threads. A queue or task that is not there is
 * ENOENT; what the state of one does not allow is ESTATE, and err names the state. */
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
    int64_t latency_ms;    /* how long the oldest pending task has waited */
    uint64_t memory_bytes; /* about what the store needs for it; 0: not told */
} cronq_queue_info;

cronq_status cronq_inspector_new(const char *uri, const cronq_store_options *store,
                                 cronq_inspector **out, cronq_error *err) CRONQ_CHECKED;
void cronq_inspector_free(cronq_inspector *inspector);

/* ---- queues ---- */

/* The names of all queues, sorted: *names is one block with *count pointers, freed with
 * free(). A name of another program that cronq refuses is left out; diagnose tells of it.
 */
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

/* A UTC day. */
typedef struct cronq_day_info {
    int64_t begins_at_ms;
    uint64_t processed_count, failed_count;
} cronq_day_info;

/* Today first; days: 1 … 90. out has so many places. */
cronq_status cronq_inspector_history(cronq_inspector *inspector, const char *queue,
                                     size_t days, cronq_day_info *out, cronq_error *err)
    CRONQ_CHECKED;

/* ---- tasks ---- */

/* What a task must be like; zero in a field: anything. */
typedef struct cronq_filter {
    const char *group; /* aggregating tasks: of this group only */
    const char *type_prefix, *id_prefix;
    cronq_bytes payload_part;
    int64_t older_than_ms; /* since it is pending, failed, was archived or completed */
} cronq_filter;

cronq_status cronq_inspector_task(cronq_inspector *inspector, const char *queue,
                                  const char *id, cronq_task_info **out, cronq_error *err)
    CRONQ_CHECKED;

/* Tasks in a state, after the first offset of those that fit, at most limit (1 … 10,000):
 * pending and active oldest first, others by their time. filter may be NULL; with one,
 * all tasks of the state are read until enough fit. Free with cronq_task_infos_free. A
 * task whose message can not be read has the type "". */
cronq_status cronq_inspector_list(cronq_inspector *inspector, const char *queue,
                                  cronq_state state, const cronq_filter *filter,
                                  size_t offset, size_t limit, cronq_task_info ***infos,
                                  size_t *count, cronq_error *err) CRONQ_CHECKED;
void cronq_task_infos_free(cronq_task_info **infos, size_t count);

/* All of them, one after the other; info is borrowed for the call. ECANCELED: on_task
 * ended it by returning false. What moves meanwhile may be missed. */
typedef bool cronq_task_fn(const cronq_task_info *info, void *arg);
cronq_status cronq_inspector_each(cronq_inspector *inspector, const char *queue,
                                  cronq_state state, const cronq_filter *filter,
                                  cronq_task_fn *on_task, void *arg, cronq_error *err)
    CRONQ_CHECKED;

/* Delete: in any state but active, with the lock that it holds. Run: to pending, at once.
 * Archive: pending, scheduled, retry, aggregating. */
cronq_status cronq_inspector_delete(cronq_inspector *inspector, const char *queue,
                                    const char *id, cronq_error *err) CRONQ_CHECKED;
cronq_status cronq_inspector_run(cronq_inspector *inspector, const char *queue,
                                 const char *id, cronq_error *err) CRONQ_CHECKED;
cronq_status cronq_inspector_archive(cronq_inspector *inspector, const char *queue,
                                     const char *id, cronq_error *err) CRONQ_CHECKED;
/* Ask the worker of an active task to stop it. It is archived as cancelled then, also
 * when its worker dies; a handler that succeeds all the same has succeeded. */
cronq_status cronq_inspector_cancel(cronq_inspector *inspector, const char *queue,
                                    const char *id, cronq_error *err) CRONQ_CHECKED;
/* Of a scheduled task. */
cronq_status cronq_inspector_update_payload(cronq_inspector *inspector, const char *queue,
                                            const char *id, cronq_bytes payload,
                                            cronq_error *err) CRONQ_CHECKED;

/* Called between chunks of at most 500 tasks; false ends it. total: how many there were
 * to look at. */
typedef bool cronq_progress_fn(uint64_t looked_at, uint64_t total, void *arg);

typedef struct cronq_bulk_options {
    size_t struct_size; /* set by CRONQ_BULK_OPTIONS() */
    const cronq_filter *filter;
    cronq_progress_fn *progress;
    void *progress_arg;
} cronq_bulk_options;

#define CRONQ_BULK_OPTIONS(...)                                              \
    (&(const cronq_bulk_options){ .struct_size = sizeof(cronq_bulk_options), \
                                  __VA_ARGS__ })

/* The same with all tasks that are in the state when it begins, or those of them that
 * fit. *done (may be NULL) is how many, also after a failure. ECANCELED: progress ended
 * it. options may be NULL. EINVAL for a state that the operation does not take. */
cronq_status cronq_inspector_delete_all(cronq_inspector *inspector, const char *queue,
                                        cronq_state state,
                                        const cronq_bulk_options *options, uint64_t *done,
                                        cronq_error *err) CRONQ_CHECKED;
cronq_status cronq_inspector_run_all(cronq_inspector *inspector, const char *queue,
                                     cronq_state state, const cronq_bulk_options *options,
                                     uint64_t *done, cronq_error *err) CRONQ_CHECKED;
cronq_status cronq_inspector_archive_all(cronq_inspector *inspector, const char *queue,
                                         cronq_state state,
                                         const cronq_bulk_options *options,
                                         uint64_t *done, cronq_error *err) CRONQ_CHECKED;

/* Remove a queue and all that belongs to it. Refused while tasks are active, and when it
 * is not empty unless force: then its tasks are deleted first, as above. */
cronq_status cronq_inspector_remove_queue(cronq_inspector *inspector, const char *queue,
                                          bool force, const cronq_bulk_options *options,
                                          cronq_error *err) CRONQ_CHECKED;

/* ---- lists: arrays of *count structs, each freed with cronq_list_free ---- */

void cronq_list_free(void *list); /* NULL is fine */

typedef struct cronq_group_info {
    const char *name;
    uint64_t count; /* of its tasks */
} cronq_group_info;

typedef struct cronq_server_info {
    const char *host, *id, *status; /* status: "active", "stopped" */
    int32_t pid, concurrency, active_count;
    int64_t started_at_ms;
    bool strict_priority;
    const char *const *queues; /* queue_count names, and their weights */
    const int32_t *weights;
    size_t queue_count;
} cronq_server_info;

/* A task that a server runs. */
typedef struct cronq_worker_info {
    const char *host, *server_id, *task_id, *task_type, *queue;
    int32_t pid;
    cronq_bytes payload; /* may be cut */
    int64_t started_at_ms, deadline_at_ms;
} cronq_worker_info;

typedef struct cronq_entry_info {
    const char *id, *spec, *task_type;
    cronq_bytes payload;
    int64_t next_at_ms, previous_at_ms; /* 0: never */
    const char *const *options;         /* as text: Queue("low") */
    size_t option_count;
} cronq_entry_info;

typedef struct cronq_event_info {
    const char *task_id;
    int64_t pushed_at_ms;
} cronq_event_info;

/* Of a Redis Cluster. */
typedef struct cronq_node_info {
    const char *id;      /* 40 hexadecimal digits */
    const char *address; /* "host:port" */
} cronq_node_info;

/* At most 100,000 groups, sorted by name. */
cronq_status cronq_inspector_groups(cronq_inspector *inspector, const char *queue,
                                    cronq_group_info **out, size_t *count,
                                    cronq_error *err) CRONQ_CHECKED;
cronq_status cronq_inspector_servers(cronq_inspector *inspector, cronq_server_info **out,
                                     size_t *count, cronq_error *err) CRONQ_CHECKED;
cronq_status cronq_inspector_workers(cronq_inspector *inspector, cronq_worker_info **out,
                                     size_t *count, cronq_error *err) CRONQ_CHECKED;
/* An entry of several schedulers is there once. */
cronq_status cronq_inspector_entries(cronq_inspector *inspector, cronq_entry_info **out,
                                     size_t *count, cronq_error *err) CRONQ_CHECKED;
/* The slot of a queue, there or not, and the nodes that have it, the master first. ESTATE
 * when the store is no cluster. */
cronq_status cronq_inspector_nodes(cronq_inspector *inspector, const char *queue,
                                   uint16_t *slot, cronq_node_info **out, size_t *count,
                                   cronq_error *err) CRONQ_CHECKED;
/* Pushes of an entry, newest first; limit: 1 … 1,000. */
cronq_status cronq_inspector_events(cronq_inspector *inspector, const char *entry_id,
                                    size_t offset, size_t limit, cronq_event_info **out,
                                    size_t *count, cronq_error *err) CRONQ_CHECKED;

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

typedef struct cronq_migrate_options {
    size_t struct_size;                    /* set by CRONQ_MIGRATE_OPTIONS() */
    const cronq_store_options *from_store; /* may be NULL, as is the next */
    const cronq_store_options *to_store;
    bool keep_paused;       /* the queues stay paused there, else they are resumed */
    int64_t active_wait_ms; /* how long to wait for active tasks; 0: not at all */
    /* After each page; may be NULL. */
    void (*on_progress)(const char *queue, uint64_t moved_count, uint64_t left_count,
                        void *arg);
    void *arg;
} cronq_migrate_options;

#define CRONQ_MIGRATE_OPTIONS(...)                                                 \
    (&(const cronq_migrate_options){ .struct_size = sizeof(cronq_migrate_options), \
                                     __VA_ARGS__ })

/* Move all tasks of queues from one store to another, with their ids, states, times,
 * errors, results, groups and unique locks. The queues are paused in both stores
 * meanwhile, and stay so where they were. An active task goes once it is done, or, when
 * its worker is gone, as a pending one. Whatever ends it (ESTATE: a queue with active
 * tasks is not paused, or some are active still; EEXIST: other tasks have the ids there;
 * EIO), call it again: nothing is lost, and nothing is there twice. */
cronq_status cronq_migrate(const char *from_uri, const char *to_uri,
                           const char *const *queues, size_t queue_count,
                           const cronq_migrate_options *options, cronq_error *err)
    CRONQ_CHECKED;

/* What about the store is not as queues need it. kind is one of "version", "clock",
 * "eviction", "persistence", "permission", "wake-ups", "name"; all is borrowed for the
 * call. */
typedef struct cronq_advice {
    size_t struct_size;
    const char *kind;
    const char *text; /* one sentence */
} cronq_advice;

typedef void cronq_advice_fn(const cronq_advice *advice, void *arg);

/* Looks at the store and changes nothing; permissions are looked at for a worker that had
 * the inspector's user. on_advice is called from this thread. EUNSUPPORTED when the store
 * is too old to work with. */
cronq_status cronq_inspector_diagnose(cronq_inspector *inspector,
                                      cronq_advice_fn *on_advice, void *arg,
                                      cronq_error *err) CRONQ_CHECKED;

CRONQ_END
#endif /* CRONQ_INSPECTOR_H */
