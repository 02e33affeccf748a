/* SPDX-License-Identifier: MIT */
/* broker/sqlite/sqlite.h - what the files of the SQLite broker share.
 *
 * A broker has one connection, used by one thread at a time: whoever has the turn. Within
 * a transaction failures are sticky: the first one is kept in `code`, what follows does
 * nothing, and cq_sqlite_do looks at it once. Nothing is held between two operations.
 *
 * Who commits something that others may wait for rings: the waiters of this broker by
 * their events, those of other connections and processes by a byte written to PATH-bell
 * (new work, other due times) or by touching it (a cancellation). */
#ifndef CQ_BROKER_SQLITE_SQLITE_H
#define CQ_BROKER_SQLITE_SQLITE_H

#include "base/clock.h"
#include "base/thread.h"
#include "broker/broker.h"

#include <sqlite3.h>
#include <stdatomic.h>
#include <sys/types.h>

/* The statements of sql/NAME.sql files, by name. */
/* clang-format off */
#define CQ_SQL_MAP(X)                                                                  \
    X(begin_write) X(begin_read) X(commit) X(rollback) X(data_version) X(ping)         \
    X(queue_find) X(queue_add) X(queue_list) X(pending_first) X(pending_last)          \
    X(lock_get) X(lock_set) X(lock_free) X(count)                                      \
    X(task_add) X(task_message) X(task_state)                                          \
    X(done) X(settle) X(failures) X(failures_set) X(give_back) X(take_list) X(take)    \
    X(archive_count) X(archive_excess) X(archive_old) X(task_delete)                   \
    X(extend) X(mark_started) X(count_deaths) X(write_result) X(leased)                                \
    X(expired) X(recover) X(put_back) X(quarantine)                                    \
    X(due_list) X(due_move) X(purge_completed) X(purge_locks) X(purge_counts)          \
    X(purge_cancels) X(look) X(cancel_last) X(cancel_list)                             \
    X(server_set) X(server_delete) X(worker_add) X(worker_clear) X(server_expire)      \
    X(worker_expire) X(entry_expire) X(entry_add) X(entry_clear) X(event_add)          \
    X(event_trim) X(phase_add) X(phase_get)                                            \
    X(implant) X(lock_until)                                                           \
    X(record) X(record_list) X(record_group) X(act_find) X(act_first)                  \
    X(act_first_group) X(act_run) X(act_archive) X(amend_find) X(amend_message)        \
    X(amend_place) X(lock_shift) X(cancel_mark) X(cancel_add) X(is_cancelled)          \
    X(queue_tasks) X(queue_delete) X(queue_delete_counts)                              \
    X(due_groups) X(group_due) X(group_list) X(set_add) X(set_take) X(set_find)        \
    X(set_records) X(set_extend) X(set_misfit) X(set_free_locks) X(set_delete_tasks)   \
    X(set_delete) X(set_stale) X(set_give_back)                                        \
    X(server_list) X(worker_list) X(entry_list) X(event_list)                          \
    X(state_counts) X(group_count) X(count_get) X(oldest) X(weigh) X(pause) X(resume) \
    X(check_tasks) X(check_quarantine) X(check_put_back) X(check_end_lease)            \
    X(check_locks) X(check_regroup) X(check_file)
/* clang-format on */

typedef enum cq_sql_name {
#define CQ_SQL_ENUM(name) CQ_SQL_##name,
    CQ_SQL_MAP(CQ_SQL_ENUM)
#undef CQ_SQL_ENUM
        CQ_SQL_COUNT
} cq_sql_name;

/* cronq_task.state */
enum {
    CQ_SQLITE_PENDING = 0,
    CQ_SQLITE_ACTIVE = 1,
    CQ_SQLITE_SCHEDULED = 2,
    CQ_SQLITE_RETRY = 3,
    CQ_SQLITE_ARCHIVED = 4,
    CQ_SQLITE_COMPLETED = 5,
    CQ_SQLITE_AGGREGATING = 6,
    CQ_SQLITE_MERGING = 7, /* aggregating, in a set */
};

/* Places in pending count from here, and fences from their base, so that a task's row
 * keeps its size while it is taken: it is then changed in place. */
#define CQ_SQLITE_MIDDLE     ((int64_t)1 << 44)
#define CQ_SQLITE_FENCE_BASE ((int64_t)CQ_FENCE_LIMIT)
#define CQ_SQLITE_CHUNK      1000 /* rows changed by one transaction, as a rule */
#define CQ_SQLITE_ALL_TIME   (-1) /* cronq_count.day of totals */

typedef struct cq_sqlite_identity {
    dev_t device;
    ino_t inode; /* 0: none */
} cq_sqlite_identity;

enum { CQ_SQLITE_VERSION = 3 }; /* of the tables */

enum { CQ_SQLITE_FILES = 3 }; /* the database, its log, its index of the log */

typedef struct cq_sqlite_watch cq_sqlite_watch;

typedef struct cq_sqlite {
    cq_broker broker; /* first */
    cronq_logger logger;
    char *path;             /* absolute; of a database in memory: its URI */
    char *given;            /* the same, never changed: links are not followed */
    _Atomic bool warned;    /* of a weaker synchronous than ours */
    char *vfs;              /* NULL: the usual one */
    bool in_memory, normal; /* normal: never wait for the disk */
    int64_t timeout_ms, lease_ms, recover_after_ms;
    bool counted;               /* among the connections of the process */
    _Atomic pid_t connected_by; /* 0: nobody; a child may not go on with our connection */
    _Atomic int64_t offset_ns;  /* of the wall clock to the monotonic one */

    pthread_mutex_t turn_lock; /* guards taken */
    pthread_cond_t turn_over;
    bool taken;

    /* Only for who has the turn: */
    sqlite3 *db; /* NULL: not connected */
    sqlite3_stmt *statements[CQ_SQL_COUNT];
    bool must_exist;
    bool was_open; /* a database that was there is not made anew */
    cq_sqlite_identity files[CQ_SQLITE_FILES];
    bool waits_for_disk; /* how synchronous is set */
    int code;            /* the first failure of this transaction */
    char text[256];
    int64_t deadline_mono_ns;
    bool ring, ring_cancel; /* after this commit */
    bool committing;
    int bell_fd, reserve_fd;
    _Atomic uint32_t connection; /* counts them */

    pthread_mutex_t watch_lock;
    cq_sqlite_watch *watches; /* of this broker's intakes */
} cq_sqlite;

static inline cq_sqlite *cq_sqlite_of(cq_broker *broker)
{
    return (cq_sqlite *)(void *)broker;
}

static inline int64_t cq_ns_to_ms(int64_t ns)
{
    return ns >= 0 ? ns / CQ_NS_PER_MS : -((CQ_NS_PER_MS - 1 - ns) / CQ_NS_PER_MS);
}

/* ---- connect.c: the connection ---- */

cronq_status cq_sqlite_connect(cq_sqlite *store, cronq_error *err);
/* Close it; what is wrong with it must not spread: then it is left as it is. */
void cq_sqlite_disconnect(cq_sqlite *store, bool broken);
/* Shall the next commits wait for the disk? */
void cq_sqlite_set_durable(cq_sqlite *store, bool durable);
/* EIO when the files are not those that were opened. */
cronq_status cq_sqlite_check_files(cq_sqlite *store, cronq_error *err);

/* file.c: the name of a network file system by the magic number of statfs, or NULL. */
const char *cq_sqlite_network_name(unsigned long magic);
cronq_status cq_sqlite_check_place(const char *path, cronq_error *err);
cronq_status cq_sqlite_schema(cq_sqlite *store, cronq_error *err);

/* reserve.c: space kept for finished tasks when the disk is full. hold: is it there, or
 * could it be taken (again)? */
bool cq_sqlite_reserve_hold(cq_sqlite *store);
bool cq_sqlite_reserve_release(cq_sqlite *store);
/* Would the space of the write-ahead log make several reserves? */
bool cq_sqlite_log_is_large(const cq_sqlite *store);

/* ---- transact.c: transactions and statements ---- */

typedef enum cq_sqlite_kind {
    CQ_SQLITE_READS,
    CQ_SQLITE_ADDS,      /* refused with EFULL while the disk is full */
    CQ_SQLITE_DRAINS,    /* may use the reserve */
    CQ_SQLITE_EXCHANGES, /* the same; need not be on the disk when it returns: a power cut
                          * before the next transaction that is makes its tasks run again
                          */
} cq_sqlite_kind;

/* Runs within the transaction; may be run again after a rollback. A failure of its own
 * rolls back too. */
typedef cronq_status cq_sqlite_work(cq_sqlite *store, void *arg, cronq_error *err);

cronq_status cq_sqlite_do(cq_sqlite *store, cq_sqlite_kind kind, cq_sqlite_work *work,
                          void *arg, cronq_error *err);
/* The same; *doubtful says that the commit failed: it may have been written. */
cronq_status cq_sqlite_try(cq_sqlite *store, cq_sqlite_kind kind, cq_sqlite_work *work,
                           void *arg, bool *doubtful, cronq_error *err);

/* Keep the first failure. */
void cq_sqlite_note(cq_sqlite *store, int code);
/* The status and the sentence of a failure that was noted. */
cronq_status cq_sqlite_failure(cq_sqlite *store, cronq_error *err);

/* A statement that is being used: bind in order, then step or run. Bound text and bytes
 * must live until it has run. */
typedef struct cq_sql {
    cq_sqlite *store;
    sqlite3_stmt *stmt;
    int at;
} cq_sql;

cq_sql cq_sql_of(cq_sqlite *store, cq_sql_name name);
void cq_sql_int(cq_sql *sql, int64_t value);
void cq_sql_str(cq_sql *sql, cq_str value);
void cq_sql_str_or_null(cq_sql *sql, cq_str value); /* empty is NULL */
void cq_sql_bytes(cq_sql *sql, cronq_bytes value);
void cq_sql_null(cq_sql *sql);

bool cq_sql_step(cq_sql *sql);   /* is there a row? If not, it is over. */
int64_t cq_sql_run(cq_sql *sql); /* to its end; rows changed */
void cq_sql_end(cq_sql *sql);    /* before its last row */
/* The first column of the first row, or otherwise. */
int64_t cq_sql_value(cq_sql *sql, int64_t otherwise);

bool cq_sql_is_null(const cq_sql *sql, int column);
int64_t cq_sql_get_int(const cq_sql *sql, int column);
cq_str cq_sql_get_str(const cq_sql *sql, int column); /* until the next step */
cronq_bytes cq_sql_get_bytes(const cq_sql *sql, int column);
/* A copy; data is NULL when out of memory. */
cq_str cq_sql_copy_str(const cq_sql *sql, int column, cq_arena *arena);
cronq_bytes cq_sql_copy_bytes(const cq_sql *sql, int column, cq_arena *arena);

/* ---- what several operations do: common.c ---- */

/* The queue's number, or 0; *paused_at_s may be NULL, and gets 0 when it is not. */
int64_t cq_sqlite_queue(cq_sqlite *store, cq_str name, int64_t *paused_at_s);
/* The same, and a queue that is not there is made; 0 when that fails. */
int64_t cq_sqlite_queue_or_new(cq_sqlite *store, cq_str name);
/* A place before all of pending, and one behind. */
int64_t cq_sqlite_front(cq_sqlite *store, int64_t queue);
int64_t cq_sqlite_back(cq_sqlite *store, int64_t queue);
void cq_sqlite_count(cq_sqlite *store, int64_t queue, int64_t now_ms, int64_t processed,
                     int64_t failed);
/* Put a failure before those that are remembered of a task; an empty line is none. */
void cq_sqlite_remember(cq_sqlite *store, int64_t queue, cq_str id, cronq_bytes line);
void cq_sqlite_trim_archive(cq_sqlite *store, int64_t queue, int64_t now_ms);
void cq_sqlite_free_lock(cq_sqlite *store, cq_str name, cq_str holder);
/* Due tasks of a queue to pending or their group; how many. */
size_t cq_sqlite_move_due(cq_sqlite *store, int64_t queue, int64_t now_ns, size_t limit);

/* The end of a lease that begins now, in whole seconds as in the score. */
int64_t cq_sqlite_lease_end_ms(const cq_sqlite *store, int64_t now_ns);
double cq_sqlite_score(int64_t end_ms, int64_t stored_fence);

/* ---- the intake ---- */

typedef struct cq_sqlite_intake {
    cq_intake intake; /* first */
    cq_sqlite *store;
    cq_arena names;
    cq_str *queues;
    size_t queue_count;
    cq_exchange *sent; /* NULL: nothing in flight */
    cq_event woken;
    cq_sqlite_watch *waiting, *listening; /* watch.c */
    int64_t last_cancel; /* the last number that was seen; -1: none yet */
} cq_sqlite_intake;

static inline cq_sqlite_intake *cq_sqlite_intake_of(cq_intake *intake)
{
    return (cq_sqlite_intake *)(void *)intake;
}

/* exchange.c */
cronq_status cq_sqlite_intake_open(cq_broker *, const cq_str *queues, size_t queue_count,
                                   cq_intake **out, cronq_error *err);
void cq_sqlite_intake_close(cq_intake *intake);
cronq_status cq_sqlite_exchange_send(cq_intake *, cq_exchange *, cronq_error *);
cronq_status cq_sqlite_exchange_recv(cq_intake *, cq_exchange *, cronq_error *);

/* watch.c. work: hears of tasks; else of cancellations. */
cronq_status cq_sqlite_watch_new(cq_sqlite *store, bool work, cq_sqlite_watch **out,
                                 cronq_error *err);
void cq_sqlite_watch_free(cq_sqlite_watch *watch);
void cq_sqlite_ring(cq_sqlite *store, bool work, bool cancel);
cronq_status cq_sqlite_wait(cq_intake *, cq_wait *, cronq_error *);
void cq_sqlite_wake(cq_intake *);
cronq_status cq_sqlite_listen(cq_intake *, int64_t timeout_ms, cq_cancel_fn *on_cancel,
                              void *arg, cronq_error *err);

/* push.c */
cronq_status cq_sqlite_push(cq_broker *, cq_push *items, size_t count, int64_t now_ns,
                            cronq_error *err);

/* Within a transaction that is open on the store's connection: item->status is about the
 * item; a failure is noted. */
void cq_sqlite_push_in(cq_sqlite *store, cq_push *item, int64_t now_ns);

/* lease.c */
cronq_status cq_sqlite_extend(cq_broker *, cq_lease *leases, size_t count, int64_t now_ns,
                              cronq_error *err);
cronq_status cq_sqlite_count_deaths(cq_broker *, cq_lease *leases, size_t count,
                                    uint32_t *deaths, cronq_error *err);
cronq_status cq_sqlite_mark_started(cq_broker *, cq_lease *leases, size_t count,
                                    cronq_error *err);
cronq_status cq_sqlite_write_result(cq_broker *, cq_str queue, cq_str id, uint32_t fence,
                                    cronq_bytes result, cronq_error *err);
cronq_status cq_sqlite_find_leased(cq_intake *, uint32_t fence, cq_arena *arena,
                                   cq_delivery **out, size_t *count, cronq_error *err);

/* recover.c */
cronq_status cq_sqlite_list_expired(cq_broker *, cq_str queue, int64_t now_ns,
                                    size_t limit, cq_arena *arena, cq_expired **out,
                                    size_t *count, cronq_error *err);
cronq_status cq_sqlite_recover(cq_broker *, cq_str queue, cq_recovery *items,
                               size_t count, int64_t now_ns, cronq_error *err);
cronq_status cq_sqlite_list_unleased(cq_broker *, cq_str queue, size_t limit,
                                     cq_arena *arena, cq_str **out, size_t *count,
                                     cronq_error *err);
cronq_status cq_sqlite_adopt(cq_broker *, cq_str queue, const cq_str *ids, size_t count,
                             int64_t now_ns, cronq_error *err);

/* delayed.c */
cronq_status cq_sqlite_forward(cq_broker *, cq_str queue, int64_t now_ns, size_t limit,
                               size_t *moved, cronq_error *err);
cronq_status cq_sqlite_repair_groups(cq_broker *, cq_str queue, int64_t now_ns,
                                     cronq_error *err);
cronq_status cq_sqlite_purge(cq_broker *, cq_str queue, int64_t now_ns, size_t limit,
                             size_t *deleted, cronq_error *err);

/* state.c */
cronq_status cq_sqlite_beat(cq_broker *, const cq_beat *, cronq_error *);
cronq_status cq_sqlite_beat_clear(cq_broker *, const cq_beat *, cronq_error *);
cronq_status cq_sqlite_write_entries(cq_broker *, cq_str scheduler_id,
                                     const cronq_bytes *entries, size_t count,
                                     int64_t now_ns, int64_t ttl_s, cronq_error *err);
cronq_status cq_sqlite_clear_entries(cq_broker *, cq_str scheduler_id, cronq_error *err);
cronq_status cq_sqlite_record_event(cq_broker *, cq_str entry_id, cronq_bytes event,
                                    int64_t now_ns, cronq_error *err);
cronq_status cq_sqlite_every_phase(cq_broker *, cq_str queue, cq_str entry_id,
                                   int64_t mine_s, int64_t *out_s, cronq_error *err);

/* implant.c */
cronq_status cq_sqlite_implant(cq_broker *, cq_str queue, cq_implant *items, size_t count,
                               cronq_error *err);
cronq_status cq_sqlite_lock_left(cq_broker *, cq_str lock, cq_str holder, int64_t now_ns,
                                 int64_t *left_s, cronq_error *err);

/* tasks.c. A record from the columns of its statements. */
cq_record cq_sqlite_record(const cq_sql *sql, cq_arena *arena);
/* Every record that the statement gives, at most limit. */
cq_record *cq_sqlite_records(cq_sqlite *store, cq_sql *sql, size_t limit, cq_arena *arena,
                             size_t *count);
int64_t cq_sqlite_state(cronq_state state);
cronq_state cq_sqlite_state_of(int64_t stored);
cronq_status cq_sqlite_no_queue(cq_str queue, cronq_error *err);
cronq_status cq_sqlite_no_task(cq_str queue, cq_str id, cronq_error *err);
cronq_status cq_sqlite_task(cq_broker *, cq_str queue, cq_str id, cq_arena *arena,
                            cq_record *out, cronq_error *err);
cronq_status cq_sqlite_list(cq_broker *, const cq_listing *, cq_arena *arena,
                            cq_record **out, size_t *count, cronq_error *err);
cronq_status cq_sqlite_replace(cq_broker *, cq_str queue, cq_str id, cronq_bytes before,
                               cronq_bytes message, bool *same, cronq_error *err);
cronq_status cq_sqlite_reschedule(cq_broker *, cq_reschedule *, int64_t now_ns,
                                  bool *same, cronq_error *err);
cronq_status cq_sqlite_cancel(cq_broker *, cq_str queue, cq_str id, int64_t now_ns,
                              cronq_error *err);

/* act.c */
cronq_status cq_sqlite_act(cq_broker *, cq_str queue, cq_action, cq_move *items,
                           size_t count, size_t offset, int64_t now_ns, cronq_error *err);
cronq_status cq_sqlite_act_all(cq_broker *, cq_str queue, cronq_state, cq_str group,
                               cq_action, size_t limit, int64_t now_ns, size_t *seen,
                               size_t *done, cronq_error *err);
cronq_status cq_sqlite_remove_queue(cq_broker *, cq_str queue, int64_t now_ns,
                                    cronq_error *err);

/* sets.c */
cronq_status cq_sqlite_due_groups(cq_broker *, cq_str queue, const cq_group_rules *,
                                  int64_t now_ns, size_t limit, cq_arena *arena,
                                  cq_str **out, size_t *count, cronq_error *err);
cronq_status cq_sqlite_take_group(cq_broker *, const cq_set *, const cq_group_rules *,
                                  int64_t now_ns, size_t *taken, cronq_error *err);
cronq_status cq_sqlite_read_set(cq_broker *, const cq_set *, cq_arena *arena,
                                cq_record **out, size_t *count, cronq_error *err);
cronq_status cq_sqlite_extend_set(cq_broker *, const cq_set *, int64_t now_ns,
                                  cronq_error *err);
cronq_status cq_sqlite_finish_set(cq_broker *, const cq_set *, cronq_bytes merged,
                                  const cq_misfit *misfits, size_t misfit_count,
                                  int64_t now_ns, cronq_error *err);
cronq_status cq_sqlite_reclaim_sets(cq_broker *, cq_str queue, int64_t now_ns,
                                    size_t limit, size_t *reclaimed, cronq_error *err);
cronq_status cq_sqlite_groups(cq_broker *, cq_str queue, size_t limit, cq_arena *arena,
                              cq_group_count **out, size_t *count, cronq_error *err);

/* told.c */
cronq_status cq_sqlite_history(cq_broker *, cq_str queue, size_t days, int64_t now_ns,
                               cq_day *out, cronq_error *err);
cronq_status cq_sqlite_servers(cq_broker *, int64_t now_ns, cq_arena *arena,
                               cronq_bytes **out, size_t *count, cronq_error *err);
cronq_status cq_sqlite_workers(cq_broker *, int64_t now_ns, cq_arena *arena,
                               cronq_bytes **out, size_t *count, cronq_error *err);
cronq_status cq_sqlite_entries(cq_broker *, int64_t now_ns, cq_arena *arena,
                               cronq_bytes **out, size_t *count, cronq_error *err);
cronq_status cq_sqlite_events(cq_broker *, cq_str entry_id, size_t offset, size_t limit,
                              cq_arena *arena, cronq_bytes **out, size_t *count,
                              cronq_error *err);

/* check.c */
cronq_status cq_sqlite_check(cq_broker *, cq_str queue, bool repair, int64_t now_ns,
                             cq_finding_fn *on_finding, void *arg, cronq_error *err);

/* inspect.c */
extern const cq_inspect_ops cq_sqlite_inspect_ops;

#endif
