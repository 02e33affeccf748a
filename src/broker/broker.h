/* SPDX-License-Identifier: MIT */
/* broker/broker.h - the contract between the store and everything above it.
 *
 * A broker holds queues of tasks. Above this header nothing knows Redis or SQLite; below
 * it nothing knows workers. Every operation takes a batch. Unless its comment says
 * otherwise an operation blocks for at most the timeouts of the store options, may be
 * called from any thread, borrows its inputs for the call, and on failure (EIO, EAUTH,
 * EPROTO, ENOMEM) has written nothing; where the answer was lost it says so.
 *
 * Life of a task, and what moves it:
 *
 *   push ──> pending ──exchange──> active ──done──> (gone)
 *     │         ^ ^                  │ ├───complete──> completed ──purge──> (gone)
 *     │         │ └──give back───────┤ ├───retry──> retry
 *     ├─> scheduled ──forward──┘     │ └───archive──> archived
 *     └─> aggregating                └──recover──> pending | archived
 *
 * Fence: each exchange that fetches carries a number k, 1 … 2^20 - 1, which marks the
 * leases of what it took. An outcome is written only while the lease still carries its k.
 *
 * Time: `now_ns` is Unix nanoseconds of the store's clock, always an argument
 * (cq_broker_now reads it), so that recorded scenarios and simulated clocks work. */
#ifndef CQ_BROKER_BROKER_H
#define CQ_BROKER_BROKER_H

#include "base/arena.h"
#include "base/str.h"
#include "broker/finding.h"

#include <cronq/store.h>
#include <cronq/task.h>
#include <stdatomic.h>

#define CQ_FENCE_LIMIT      (1u << 20)
#define CQ_FENCE_NONE       0u /* a lease of a Go peer: whole seconds */
#define CQ_ARCHIVE_COUNT    10000
#define CQ_ARCHIVE_AGE_S    ((int64_t)90 * 24 * 3600)
#define CQ_STATISTICS_AGE_S ((int64_t)90 * 24 * 3600)
#define CQ_QUEUES_LIMIT     256 /* served by one intake */
#define CQ_BATCH_LIMIT      1024
#define CQ_PAGE_LIMIT       500  /* tasks looked at or moved by one script */
#define CQ_SET_LIMIT        5000 /* tasks merged into one */
#define CQ_SET_AGE_S        120  /* an aggregation set is stale after this, by default */

typedef struct cq_broker cq_broker;
typedef struct cq_intake cq_intake;

typedef struct cq_broker_options {
    const char *uri;
    const cronq_store_options *store; /* may be NULL */
    cronq_logger logger;
    int64_t lease_ms;               /* 0: 30,000 */
    int64_t task_check_interval_ms; /* 0: 1,000; how often wait looks without wake-ups */
    int64_t recover_after_ms;       /* past the end of a lease of ours; 0: 2,000 */
    int64_t recover_foreign_after_ms; /* of a lease of a Go peer; 0: 30,000 */
    int64_t set_age_ms; /* an aggregation set is stale after this; 0: 120,000 */
    bool by_hand;       /* a person's tool: the archive is not trimmed by defaults */
    bool as_before_7;   /* tests: use the scripts of Redis 6.2 */
    bool no_tracking;   /* tests: as if the store refused wake-ups */
} cq_broker_options;

/* Checks the options and connects to nothing yet. Picks by the scheme of the URI. */
cronq_status cq_broker_open(const cq_broker_options *options, cq_broker **out,
                            cronq_error *err);
/* For backends: the limits that are the same in all of them. */
cronq_status cq_broker_limits(cq_broker *broker, const cq_broker_options *options,
                              cronq_error *err);
cronq_status cq_redis_open(const cq_broker_options *options, cq_broker **out,
                           cronq_error *err);
cronq_status cq_sqlite_open(const cq_broker_options *options, cq_broker **out,
                            cronq_error *err);

/* ---- pushing ---- */

typedef enum cq_push_kind {
    CQ_PUSH_NOW,   /* to pending */
    CQ_PUSH_LATER, /* to scheduled, at run_at_ms; with a group too: into it when due */
    CQ_PUSH_GROUP, /* to its group */
} cq_push_kind;

typedef struct cq_push {
    cq_push_kind kind;
    cq_str queue, id;
    cronq_bytes message; /* encoded, codec/message.h */
    int64_t run_at_ms;   /* LATER; out: as it is kept, on Redis the next whole second */
    cq_str group;        /* GROUP, or LATER */
    cq_str unique_key;   /* the lock to take; empty: none */
    int64_t unique_ttl_s;
    cq_str tick_entry; /* of a cron entry: one push per entry and tick; else empty */
    int64_t tick_at_s;
    bool skip_overlap;   /* with tick_entry: ESTATE while its last run is not over */
    bool again;          /* sent before, the answer was lost: what is ours is success */
    bool id_is_ours;     /* made by us for this push: a conflict can only be its echo */
    cronq_status status; /* out: OK, EEXIST, EDUP (lock or tick held), ESTATE, EFULL, … */
    /* In and out: the epoch of its server's pool (net/pool.h) when it was stored there,
     * but with too few replicas; else 0. */
    uint64_t stored_epoch;
} cq_push;

/* On the embedded store alone: push one item in the transaction that
 * is open on db, a sqlite3 *, and let waiters hear of what was committed so. OK when
 * item->status is about the item. sourceid: cronq/sqlite.h; compared before db is used.
 */
typedef const char *cq_library_fn(void);
cronq_status cq_sqlite_push_tx(cq_broker *, void *db, cq_library_fn *sourceid,
                               cq_push *item, int64_t now_ns, cronq_error *err);
cronq_status cq_sqlite_notify(cq_broker *, cronq_error *err);

/* ---- a worker's intake: fetching tasks and returning outcomes ---- */

typedef enum cq_outcome_kind {
    CQ_DONE,      /* delete */
    CQ_COMPLETE,  /* keep as completed until at_ms */
    CQ_RETRY,     /* to retry, at at_ms, on Redis rounded up to a second */
    CQ_ARCHIVE,   /* to archived */
    CQ_GIVE_BACK, /* to the front of pending, uncharged */
} cq_outcome_kind;

typedef struct cq_outcome {
    cq_outcome_kind kind;
    bool failure;        /* RETRY: counts in processed and failed (ARCHIVE always does) */
    uint32_t queue;      /* index in the intake's queues */
    uint32_t fence;      /* the k it was fetched with */
    int64_t taken_at_ns; /* when it was fetched: tells where in `active` to look */
    cq_str id;
    cronq_bytes message;      /* COMPLETE, RETRY, ARCHIVE: the new encoding */
    cronq_bytes failure_line; /* RETRY, ARCHIVE: to be remembered, codec/failures.h */
    cq_str unique_key; /* DONE, COMPLETE: the lock to free, if it still holds the id */
    int64_t at_ms;
    cronq_status status; /* out: OK written, ESTATE lease lost: not written, ECANCELED
                            (RETRY, GIVE_BACK) marked as cancelled: not written, to be
                            archived, EIO unknown */
} cq_outcome;

/* How many tasks to take of a queue first; what is left of the budget is taken in order.
 */
typedef struct cq_want {
    uint32_t queue; /* index in the intake's queues */
    uint32_t share;
} cq_want;

typedef struct cq_delivery {
    uint32_t queue;
    cq_str id;
    cronq_bytes message; /* not decoded; may be garbage */
    double score;        /* of its lease, as in the store: for cq_recovery */
    int64_t ready_at_ns; /* since when it was pending; 0: unknown. A sample: the store
                            tells it for the first task that it takes from a queue */
} cq_delivery;

/* One request and its answer. Everything is borrowed until exchange_recv has returned it;
 * deliveries and their bytes are in the arena. */
typedef struct cq_exchange {
    int64_t now_ns;
    uint32_t fence;       /* k for what is fetched */
    bool forward;         /* first move due tasks to pending, up to a batch a queue */
    const cq_want *wants; /* in order of preference */
    size_t want_count;
    uint32_t budget;      /* tasks wanted, at most CQ_BATCH_LIMIT; 0: none */
    cq_outcome *outcomes; /* at most CQ_BATCH_LIMIT */
    size_t outcome_count;
    cq_arena *arena;
    cq_delivery *deliveries; /* out */
    size_t delivery_count;   /* out */
    bool more_due;           /* out, with forward: a batch was not enough */
} cq_exchange;

typedef struct cq_wait {
    int64_t until_mono_ns; /* return by then */
    bool work;             /* out: a queue may hold work (or nobody can tell): exchange */
    bool due;              /* out: delayed tasks are due: exchange with forward */
    bool woken;            /* out: cq_intake_wake was called */
} cq_wait;

typedef void cq_cancel_fn(cq_str task_id, void *arg);

/* ---- leases and recovery ---- */

typedef struct cq_lease {
    cq_str queue, id;
    uint32_t fence;
    cronq_status status; /* out: OK extended, ECANCELED extended and marked as cancelled,
                            ESTATE not ours any more */
} cq_lease;

/* A lease that is over. */
typedef struct cq_expired {
    cq_str id;
    double score;        /* as in the store: the fence of what recovers it */
    cronq_bytes message; /* data == NULL: the task's hash is gone */
    bool started;        /* the hash says that this very attempt was started */
    bool marked;         /* the hash has a mark of any attempt */
    bool cancelled;      /* it was cancelled while it ran: to be archived */
} cq_expired;

typedef enum cq_recovery_kind {
    CQ_RECOVER_RETRY,      /* to pending (or its group), charged: message is rewritten */
    CQ_RECOVER_PUT_BACK,   /* to pending, uncharged, message as it is; then marked */
    CQ_RECOVER_ARCHIVE,    /* no retry left: message is rewritten */
    CQ_RECOVER_QUARANTINE, /* does not decode: message replaces it, bytes kept in `raw` */
    CQ_RECOVER_DROP,       /* an id without a hash */
} cq_recovery_kind;

typedef struct cq_recovery {
    cq_recovery_kind kind;
    cq_str id;
    double score;
    cronq_bytes message;
    cronq_bytes failure_line; /* RETRY, ARCHIVE: as in cq_outcome */
    cronq_status status; /* out: OK, ESTATE when the lease has changed since, or it was
                            cancelled meanwhile (RETRY, PUT_BACK) */
} cq_recovery;

/* ---- what servers and schedulers tell about themselves ---- */

typedef struct cq_beat_worker {
    cq_str task_id;
    cronq_bytes info; /* encoded WorkerInfo */
} cq_beat_worker;

typedef struct cq_beat {
    cq_str host, server_id;
    int pid;
    cronq_bytes info; /* encoded ServerInfo */
    const cq_beat_worker *workers;
    size_t worker_count;
    int64_t now_ns;
    int64_t ttl_s;
} cq_beat;

/* ---- groups ---- */

/* When a group is merged: it holds max_size tasks, or its oldest is max_delay old, or its
 * newest is grace old. */
typedef struct cq_group_rules {
    int64_t grace_s;
    int64_t max_delay_s; /* 0: no such limit */
    size_t max_size;     /* 0: no such limit; more than CQ_SET_LIMIT are never taken */
} cq_group_rules;

/* An aggregation set: tasks that were taken out of their group to be merged. */
typedef struct cq_set {
    cq_str queue, group;
    cq_str id; /* a UUID; also the id of the merged task, so that there is one at most */
} cq_set;

/* A task of a set that cannot be merged: it is archived with this message, what it had is
 * kept in `raw`. */
typedef struct cq_misfit {
    cq_str id;
    cronq_bytes message;
} cq_misfit;

/* ---- looking ---- */

/* A task as it is stored. */
typedef struct cq_record {
    cq_str id;
    cronq_state state;   /* 0: none that we know */
    cronq_bytes message; /* not decoded; may be garbage; data == NULL: there is none */
    int64_t at_ms;       /* scheduled, retry: when due; archived, aggregating: since when;
                            completed: until when kept; active: the end of its lease */
    int64_t pending_since_ns; /* 0: unknown */
    cq_str group;
    cronq_bytes result;   /* data == NULL: none */
    cronq_bytes failures; /* the last ones, codec/failures.h; data == NULL: none, or not
                             asked for */
    cronq_bytes raw;      /* what a quarantined task had for a message; data == NULL: as
                             with failures */
    bool orphaned;        /* active without a lease */
    bool cancelled;       /* marked: its worker was asked to stop */
    bool merging;         /* aggregating, and in a set */
} cq_record;

/* A page of the tasks in one state: pending and active oldest first, others by their
 * time. */
typedef struct cq_listing {
    cq_str queue;
    cronq_state state;
    cq_str group;         /* AGGREGATING: the group */
    size_t offset, limit; /* limit: at most CQ_PAGE_LIMIT */
    bool in_full; /* with failures and raw, which may be long; a single task has them
                     always */
} cq_listing;

typedef enum cq_action {
    CQ_ACT_DELETE,   /* in any state but active; frees the lock that the task holds */
    CQ_ACT_WITHDRAW, /* the same, but not of one that has ended (archived, completed) */
    CQ_ACT_RUN,      /* to pending: not when active or pending */
    CQ_ACT_ARCHIVE,  /* not when active, completed or archived */
} cq_action;

/* One task that is moved by hand. */
typedef struct cq_move {
    cq_str id;
    cronq_status status; /* out: OK, ENOENT, or ESTATE with `state` */
    cronq_state state;   /* out, with ESTATE: the state that does not allow it */
} cq_move;

#define CQ_NOWHERE SIZE_MAX

/* A new time, and perhaps a new message, for a task that is there. */
typedef struct cq_reschedule {
    cq_str queue, id;
    int64_t run_at_ms;   /* 0: now; on Redis rounded up to a second */
    cronq_bytes before;  /* data != NULL: only while this is its message; then: */
    cronq_bytes message; /* its new one */
    cronq_state state;   /* out: where it is now, or with ESTATE, what refuses it */
} cq_reschedule;

typedef struct cq_day {
    uint64_t processed, failed;
} cq_day;

typedef struct cq_group_count {
    cq_str name;
    uint64_t count;
} cq_group_count;

/* Of a cluster. */
typedef struct cq_node {
    cq_str id, address; /* "host:port" */
} cq_node;

typedef struct cq_queue_counts {
    uint64_t pending, active, scheduled, retry, archived, completed, aggregating, groups;
    uint64_t processed_today, failed_today, processed, failed;
    bool paused;
    int64_t paused_at_s;
    int64_t latency_ns;
    uint64_t memory_bytes; /* about; a few tasks of each state stand for all */
    bool brief; /* in: look into few groups, and weigh none; aggregating is an estimate
                   when there are more */
} cq_queue_counts;

/* ---- the two tables: what a backend must have ---- */

typedef struct cq_broker_ops {
    const char *name; /* "redis", "sqlite" */
    void (*free)(cq_broker *broker);

    cronq_status (*ping)(cq_broker *, cronq_error *);

    /* Measure the offset of the store's clock; now reads it without asking the store. */
    cronq_status (*sync_clock)(cq_broker *, cronq_error *);
    int64_t (*now_ns)(cq_broker *);

    /* Push a batch; each item gets its status. OK when the store answered for all items,
     * whatever their statuses. On EIO items with status EIO may have been stored: push
     * them again with `again`; those that were not sent keep the status they came with.
     * OOM in the store is EFULL for the item. */
    cronq_status (*push)(cq_broker *, cq_push *items, size_t count, int64_t now_ns,
                         cronq_error *);

    /* An intake has its own connections and serves one worker. queues are copied. */
    cronq_status (*intake_open)(cq_broker *, const cq_str *queues, size_t queue_count,
                                cq_intake **out, cronq_error *);
    void (*intake_close)(cq_intake *);

    /* send and recv: one thread, the fetcher's. At most max_in_flight (cq_intake)
     * exchanges are sent before they are received, in order. After a failure of recv
     * nothing is in flight any more: outcomes without an answer have status EIO and are
     * to be sent again; what was fetched by a lost answer is found by find_leased. An
     * outcome whose task was written by a lost answer reports ESTATE the second time:
     * "written or lost". */
    cronq_status (*exchange_send)(cq_intake *, cq_exchange *, cronq_error *);
    cronq_status (*exchange_recv)(cq_intake *, cq_exchange *, cronq_error *);
    /* The fetcher's, with nothing in flight. Blocks until it has something to say. */
    cronq_status (*wait)(cq_intake *, cq_wait *, cronq_error *);
    /* Ends a wait. Any thread; async-signal-safe. */
    void (*wake)(cq_intake *);
    /* The listener's: takes in cancellations and wake-ups for up to timeout_ms; calls
     * on_cancel for each cancelled id. EIO when the connection broke: call again later.
     */
    cronq_status (*listen)(cq_intake *, int64_t timeout_ms, cq_cancel_fn *on_cancel,
                           void *arg, cronq_error *);
    /* Tasks of the intake's queues whose lease carries this fence: what a lost answer
     * took. */
    cronq_status (*find_leased)(cq_intake *, uint32_t fence, cq_arena *arena,
                                cq_delivery **out, size_t *count, cronq_error *);

    /* Move due tasks of a queue to pending or their group, at most limit; *moved says how
     * many (limit: there may be more). */
    cronq_status (*forward)(cq_broker *, cq_str queue, int64_t now_ns, size_t limit,
                            size_t *moved, cronq_error *);
    /* Leases to now + lease_ms where they carry their fence. */
    cronq_status (*extend)(cq_broker *, cq_lease *leases, size_t count, int64_t now_ns,
                           cronq_error *);
    /* Hash field cronq_started = fence, where the lease carries it. */
    cronq_status (*mark_started)(cq_broker *, cq_lease *leases, size_t count,
                                 cronq_error *);
    /* Hash field cronq_deaths + 1, where the lease carries its fence; deaths[i] is the
     * sum. Any written outcome but a give-back clears it. */
    cronq_status (*count_deaths)(cq_broker *, cq_lease *leases, size_t count,
                                 uint32_t *deaths, cronq_error *);
    /* Field `result` of an active task, where the lease carries the fence; else ESTATE.
     */
    cronq_status (*write_result)(cq_broker *, cq_str queue, cq_str id, uint32_t fence,
                                 cronq_bytes result, cronq_error *);

    /* Leases that were over at now_ns by more than the grace of their kind, oldest first.
     */
    cronq_status (*list_expired)(cq_broker *, cq_str queue, int64_t now_ns, size_t limit,
                                 cq_arena *arena, cq_expired **out, size_t *count,
                                 cronq_error *);
    cronq_status (*recover)(cq_broker *, cq_str queue, cq_recovery *items, size_t count,
                            int64_t now_ns, cronq_error *);
    /* Ids in active without a lease, from the oldest, at most limit. Seen twice, a beat
     * apart, they are orphans: adopt gives them a lease that is over, unless one came. */
    cronq_status (*list_unleased)(cq_broker *, cq_str queue, size_t limit,
                                  cq_arena *arena, cq_str **out, size_t *count,
                                  cronq_error *);
    cronq_status (*adopt)(cq_broker *, cq_str queue, const cq_str *ids, size_t count,
                          int64_t now_ns, cronq_error *);
    /* Put names back into `groups` that hold tasks (known from the queue's own index). */
    cronq_status (*repair_groups)(cq_broker *, cq_str queue, int64_t now_ns,
                                  cronq_error *);
    /* Delete completed tasks past their retention, at most limit. */
    cronq_status (*purge)(cq_broker *, cq_str queue, int64_t now_ns, size_t limit,
                          size_t *deleted, cronq_error *);

    /* Groups that are due, in any order, at most limit. */
    cronq_status (*due_groups)(cq_broker *, cq_str queue, const cq_group_rules *,
                               int64_t now_ns, size_t limit, cq_arena *arena,
                               cq_str **out, size_t *count, cronq_error *);
    /* If it is still due: move its oldest tasks to the set. *taken: how many. */
    cronq_status (*take_group)(cq_broker *, const cq_set *, const cq_group_rules *,
                               int64_t now_ns, size_t *taken, cronq_error *);
    /* The tasks of a set, oldest first; ids whose task is gone have no message. */
    cronq_status (*read_set)(cq_broker *, const cq_set *, cq_arena *arena,
                             cq_record **out, size_t *count, cronq_error *);
    /* Not stale before set_age_s from now. ESTATE when there is no such set. */
    cronq_status (*extend_set)(cq_broker *, const cq_set *, int64_t now_ns,
                               cronq_error *);
    /* In one step: push merged (absent: nothing) to pending under the id of the set,
     * unless there is that task already, archive misfits, delete the other tasks of the
     * set with the locks they hold, and the set. ESTATE when there is no such set: it was
     * given back, or this was done before its answer was lost. */
    cronq_status (*finish_set)(cq_broker *, const cq_set *, cronq_bytes merged,
                               const cq_misfit *misfits, size_t misfit_count,
                               int64_t now_ns, cronq_error *);
    /* Sets that are stale, at most limit: their tasks go back to their groups. */
    cronq_status (*reclaim_sets)(cq_broker *, cq_str queue, int64_t now_ns, size_t limit,
                                 size_t *reclaimed, cronq_error *);

    cronq_status (*beat)(cq_broker *, const cq_beat *, cronq_error *);
    cronq_status (*beat_clear)(cq_broker *, const cq_beat *, cronq_error *);

    cronq_status (*write_entries)(cq_broker *, cq_str scheduler_id,
                                  const cronq_bytes *entries, size_t count,
                                  int64_t now_ns, int64_t ttl_s, cronq_error *);
    cronq_status (*clear_entries)(cq_broker *, cq_str scheduler_id, cronq_error *);
    cronq_status (*record_event)(cq_broker *, cq_str entry_id, cronq_bytes event,
                                 int64_t now_ns, cronq_error *);
    /* The moment from which an @every entry counts: the first scheduler's wins. */
    cronq_status (*every_phase)(cq_broker *, cq_str queue, cq_str entry_id,
                                int64_t mine_s, int64_t *out_s, cronq_error *);
} cq_broker_ops;

/* A task of another store. */
typedef struct cq_implant {
    cq_record record; /* in any state but active */
    cq_str unique_key;
    int64_t lock_left_s; /* how long it still holds that lock; 0: it does not */
    cronq_status status; /* out: OK, also when it is there already; EEXIST: another */
} cq_implant;

/* kind is one word; both are borrowed for the call. */
typedef void cq_advice_fn(const char *kind, const char *text, void *arg);

typedef struct cq_inspect_ops {
    /* Names of all queues, in any order. */
    cronq_status (*queues)(cq_broker *, cq_arena *arena, cq_str **out, size_t *count,
                           cronq_error *);
    /* ENOENT when there is no such queue. */
    cronq_status (*counts)(cq_broker *, cq_str queue, int64_t now_ns,
                           cq_queue_counts *out, cronq_error *);
    /* ESTATE when it is so already. */
    cronq_status (*pause)(cq_broker *, cq_str queue, bool paused, int64_t now_ns,
                          cronq_error *);
    /* Of `days` days, today first. */
    cronq_status (*history)(cq_broker *, cq_str queue, size_t days, int64_t now_ns,
                            cq_day *out, cronq_error *);
    /* Groups that hold tasks, at most limit, in any order. */
    cronq_status (*groups)(cq_broker *, cq_str queue, size_t limit, cq_arena *arena,
                           cq_group_count **out, size_t *count, cronq_error *);

    /* ENOENT when there is no such task. */
    cronq_status (*task)(cq_broker *, cq_str queue, cq_str id, cq_arena *arena,
                         cq_record *out, cronq_error *);
    cronq_status (*list)(cq_broker *, const cq_listing *, cq_arena *arena,
                         cq_record **out, size_t *count, cronq_error *);

    /* Do it to each of the tasks, which get their statuses. offset is where in the list
     * of its state the first was seen (others within CQ_PAGE_LIMIT behind it), or
     * CQ_NOWHERE: to remove from the middle of a long pending takes time. Of a batch that
     * failed those with status EIO may have been moved. */
    cronq_status (*act)(cq_broker *, cq_str queue, cq_action, cq_move *items,
                        size_t count, size_t offset, int64_t now_ns, cronq_error *);
    /* Do it to the first of all tasks in a state (or group), at most limit and at most
     * CQ_PAGE_LIMIT. *seen: how many were taken off the list (fewer than limit: it is
     * empty), *done: how many of them were tasks. */
    cronq_status (*act_all)(cq_broker *, cq_str queue, cronq_state, cq_str group,
                            cq_action, size_t limit, int64_t now_ns, size_t *seen,
                            size_t *done, cronq_error *);
    /* Remove what an empty queue leaves. ESTATE when it holds tasks, ENOENT. */
    cronq_status (*remove_queue)(cq_broker *, cq_str queue, int64_t now_ns,
                                 cronq_error *);

    /* Replace the message of a scheduled task, if it is still `before`. ENOENT, ESTATE;
     * *same: false when it is another, nothing was written. */
    cronq_status (*replace)(cq_broker *, cq_str queue, cq_str id, cronq_bytes before,
                            cronq_bytes message, bool *same, cronq_error *);
    /* In one step to scheduled (or, now, to pending or its group), with its id. ENOENT;
     * ESTATE when active, completed or being merged; *same as above. */
    cronq_status (*reschedule)(cq_broker *, cq_reschedule *, int64_t now_ns, bool *same,
                               cronq_error *);
    /* Mark an active task as cancelled, and tell its worker. ENOENT; ESTATE when it is
     * not active. */
    cronq_status (*cancel)(cq_broker *, cq_str queue, cq_str id, int64_t now_ns,
                           cronq_error *);

    /* Store tasks as they were in another store, in their order; at most CQ_PAGE_LIMIT.
     */
    cronq_status (*implant)(cq_broker *, cq_str queue, cq_implant *items, size_t count,
                            cronq_error *);
    /* How long the holder still holds a lock, in seconds; 0 when it does not. */
    cronq_status (*lock_left)(cq_broker *, cq_str lock, cq_str holder, int64_t now_ns,
                              int64_t *left_s, cronq_error *);

    /* What servers and schedulers told that live at now_ns, encoded, in any order. */
    cronq_status (*servers)(cq_broker *, int64_t now_ns, cq_arena *arena,
                            cronq_bytes **out, size_t *count, cronq_error *);
    cronq_status (*workers)(cq_broker *, int64_t now_ns, cq_arena *arena,
                            cronq_bytes **out, size_t *count, cronq_error *);
    cronq_status (*entries)(cq_broker *, int64_t now_ns, cq_arena *arena,
                            cronq_bytes **out, size_t *count, cronq_error *);
    /* Pushes of an entry, newest first. */
    cronq_status (*events)(cq_broker *, cq_str entry_id, size_t offset, size_t limit,
                           cq_arena *arena, cronq_bytes **out, size_t *count,
                           cronq_error *);
    /* Look for broken invariants, and with repair mend what is safe to mend, in steps
     * none of which holds the store for long. Calls on_finding for each, without the
     * store being locked. ENOENT when there is no such queue, nor anything of it. */
    cronq_status (*check)(cq_broker *, cq_str queue, bool repair, int64_t now_ns,
                          cq_finding_fn *on_finding, void *arg, cronq_error *);
    /* Calls advise for each thing about the store that is not as queues need it. NULL
     * where there is nothing to look at. */
    cronq_status (*diagnose)(cq_broker *, cq_advice_fn *advise, void *arg, cronq_error *);
    /* The slot of a queue in a cluster and the nodes that have it, the master first.
     * ESTATE when the store is none; NULL where it can not be one. */
    cronq_status (*nodes)(cq_broker *, cq_str queue, cq_arena *arena, uint16_t *slot,
                          cq_node **out, size_t *count, cronq_error *);
} cq_inspect_ops;

/* Every backend's broker and intake begin with these. */
struct cq_broker {
    const cq_broker_ops *ops;
    const cq_inspect_ops *inspect;
    _Atomic uint64_t opened_count; /* connections to the store, ever */
    const char *file;              /* the store's, if it is one */
    bool is_private;               /* to this process: nobody else can open it */
    uint32_t max_pushes; /* 2: one is made ready while the store works on another */
    /* By cq_broker_limits: what the archive of a queue holds, whenever one more task is
     * archived, and for how long a set stays fresh. */
    int64_t archive_count, archive_age_s, set_age_s;
};

struct cq_intake {
    const cq_broker_ops *ops;
    uint32_t max_in_flight; /* 2 where a round trip can be overlapped, else 1 */
};

#endif
