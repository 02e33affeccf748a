/* SPDX-License-Identifier: MIT */
/* broker/redis/redis.h - what the files of the Redis broker share.
 *
 * A script's keys are prefixes of queues ("asynq:{Q}:"), but for beat and entries. A
 * script that drains is run even at maxmemory: from Redis 7 on by a flag in its first
 * line, before by beginning with a write that frees (redis.c). Scripts are called in
 * batches that are sent whole and then read whole; what was refused with NOSCRIPT is
 * loaded and sent again, which is safe because nothing of it has run. */
#ifndef CQ_BROKER_REDIS_REDIS_H
#define CQ_BROKER_REDIS_REDIS_H

#include "broker/broker.h"
#include "net/cluster.h"
#include "net/pool.h"
#include "net/script.h"

#include <pthread.h>
#include <stdatomic.h>

#define CQ_REDIS_ARENA_BYTES ((size_t)1 << 30)
#define CQ_REDIS_CHUNK       1000 /* ids in one script, and in one variadic command */

/* name, what it is: lua/NAME.lua */
/* clang-format off */
#define CQ_LUA_MAP(X)     \
    X(act, SETTLES)       \
    X(adopt, DRAINS)      \
    X(amend, DRAINS)      \
    X(beat, DRAINS)       \
    X(browse, DRAINS)     \
    X(cancel, DRAINS)     \
    X(check, DRAINS)      \
    X(counts, DRAINS)     \
    X(due_groups, DRAINS) \
    X(entries, DRAINS)    \
    X(exchange, SETTLES)  \
    X(expired, DRAINS)    \
    X(extend, DRAINS)     \
    X(finish_set, SETTLES) \
    X(forward, DRAINS)    \
    X(group_counts, DRAINS) \
    X(groups, DRAINS)     \
    X(implant, ADDS)      \
    X(leased, DRAINS)     \
    X(purge, DRAINS)      \
    X(push, ADDS)         \
    X(reclaim, DRAINS)    \
    X(records, DRAINS)    \
    X(recover, SETTLES)   \
    X(remove, DRAINS)     \
    X(result, DRAINS)     \
    X(started, DRAINS)    \
    X(deaths, DRAINS)     \
    X(sweep, SETTLES)     \
    X(take_group, DRAINS) \
    X(unleased, DRAINS)
/* clang-format on */

typedef enum cq_lua {
#define CQ_LUA_ENUM(name, kind) CQ_LUA_##name,
    CQ_LUA_MAP(CQ_LUA_ENUM)
#undef CQ_LUA_ENUM
        CQ_LUA_COUNT
} cq_lua;

/* A queue that is known to be in asynq:queues, by the hash of its name. */
typedef struct cq_redis_seen {
    uint64_t name_hash;
    int64_t at_mono_ns;
    uint32_t connection;
} cq_redis_seen;

#define CQ_REDIS_SEEN 256

typedef struct cq_clock_sample {
    int64_t offset_ns, error_ns; /* of the store's clock to the monotonic one; 0: none */
} cq_clock_sample;

typedef struct cq_redis {
    cq_broker broker;    /* first */
    cq_pool *pool;       /* NULL with a cluster */
    cq_cluster *cluster; /* NULL without */
    cronq_logger logger;
    int64_t lease_ms, check_ms, recover_after_ms, recover_foreign_after_ms;
    bool as_before_7, no_tracking;
    uint32_t wait_replica_count; /* that must have a push; 0: none */
    int64_t wait_timeout_ms;
    uint32_t max_redirects;
    int64_t patience_ms;         /* with a cluster that moves slots, in one operation */
    _Atomic bool asked_for_time; /* the store was reached, and asked */
    _Atomic int64_t offset_ns;   /* of the store's clock to the monotonic one */
    _Atomic uint32_t connection; /* counts them: a new one may be of a new store */
    atomic_bool asked_for_eviction;
    cq_script scripts[2][CQ_LUA_COUNT]; /* [1]: for Redis before 7 */
    char *bodies;                       /* of all scripts */
    pthread_mutex_t lock;               /* over what follows */
    cq_clock_sample clock;              /* the one that is believed */
    cq_redis_seen seen[CQ_REDIS_SEEN];  /* by the hash's lowest bits */
} cq_redis;

static inline cq_redis *cq_redis_of(cq_broker *broker)
{
    return (cq_redis *)(void *)broker;
}

/* One call of a script, in a form that can be sent again. */
typedef struct cq_call cq_call;
typedef void cq_call_fn(cq_conn *conn, const cq_script *script, const cq_call *call);
struct cq_call {
    cq_lua lua;
    cq_call_fn *encode; /* appends EVALSHA and all arguments */
    const void *arg;    /* for encode */
    size_t first, count;
    cq_str prefix;    /* of its queue, or another key: tells the node */
    cq_reply *reply;  /* out; NULL while unknown */
    uint64_t epoch;   /* out of cq_redis_run: of the pool that it was sent through */
    bool sent;        /* out of cq_redis_run: it may have been executed */
    bool unconfirmed; /* out of cq_redis_run: too few replicas have what it wrote */
};

const cq_script *cq_redis_script(const cq_redis *redis, const cq_conn *conn, cq_lua lua);

/* Send all calls, then read all replies into the arena. On failure replies that did not
 * come are NULL. Error replies are replies. */
cronq_status cq_redis_calls(const cq_redis *redis, cq_conn *conn, cq_call *calls,
                            size_t count, cq_arena *arena, cronq_error *err);

/* Its steps, for who has several batches under way: append; read the replies that are
 * not there; was any refused with NOSCRIPT; load, send again and read those, with nothing
 * else under way. */
void cq_redis_send_calls(const cq_redis *redis, cq_conn *conn, cq_call *calls,
                         size_t count);
cronq_status cq_redis_read_calls(cq_conn *conn, cq_call *calls, size_t count,
                                 cq_arena *arena, cronq_error *err);
bool cq_redis_refused(const cq_call *calls, size_t count);
cronq_status cq_redis_heal_calls(const cq_redis *redis, cq_conn *conn, cq_call *calls,
                                 size_t count, cq_arena *arena, cronq_error *err);

/* route.c: send calls to the nodes that have their keys, all at the same time, and read
 * all replies; those of a node in their order. What a cluster redirects is sent again; as
 * long as a slot is on the move its scripts wait, for at most patience_ms. durable: until
 * enough replicas have it, where that was asked for. Returns the first failure; what
 * was answered has its reply all the same. */
cronq_status cq_redis_run(cq_redis *redis, cq_call *calls, size_t count, bool durable,
                          int64_t patience_ms, cq_arena *arena, cronq_error *err);
/* The pool of the node that has the key. */
cronq_status cq_redis_pool_of(cq_redis *redis, cq_str key, cq_pool **out,
                              cronq_error *err);

/* One call where its key is. An error reply is a failure. */
cronq_status cq_redis_call(cq_redis *redis, cq_call *call, cq_arena *arena,
                           cronq_error *err);

/* The script with the queue's prefix as its key and words as arguments. */
cronq_status cq_redis_script_on(cq_redis *redis, cq_lua lua, cq_str queue,
                                const cq_str *words, size_t count, cq_arena *arena,
                                cq_reply **out, cronq_error *err);
/* The same, when the answer is an array whose length is a multiple of this. */
cronq_status cq_redis_rows_on(cq_redis *redis, cq_lua lua, cq_str queue,
                              const cq_str *words, size_t count, size_t columns,
                              cq_arena *arena, cq_reply **out, cronq_error *err);

/* One plain command from its words, the second being its key, an error reply being a
 * failure. */
cronq_status cq_redis_command(cq_redis *redis, const cq_str *words, size_t count,
                              cq_arena *arena, cq_reply **out, cronq_error *err);

/* Texts in the arena; data is NULL when out of memory, and so are those made of them.
 * "asynq:{QUEUE}:" */
cq_str cq_redis_prefix(cq_arena *arena, cq_str queue);
/* prefix + name + rest */
cq_str cq_redis_key(cq_arena *arena, cq_str prefix, const char *name, cq_str rest);
cq_str cq_redis_int(cq_arena *arena, int64_t value);

static inline int64_t cq_ns_to_s(int64_t ns)
{
    return ns >= 0 ? ns / 1000000000 : -((999999999 - ns) / 1000000000);
}

/* "2026-11-22" (UTC), the form of the daily counters' names. */
void cq_redis_date(char out[16], int64_t now_s);

/* ---- the intake ---- */

typedef struct cq_redis_queue {
    cq_str name, prefix;
} cq_redis_queue;

/* An exchange that was sent and not received. */
typedef struct cq_redis_sent {
    struct cq_redis_intake *intake;
    cq_exchange *exchange;
    cq_call *calls; /* forwards, then the exchange itself when has_exchange */
    size_t call_count;
    bool has_exchange;
    uint32_t order[CQ_BATCH_LIMIT];  /* outcomes, those of a queue together */
    uint32_t count[CQ_QUEUES_LIMIT]; /* outcomes of each queue */
    uint32_t key[CQ_QUEUES_LIMIT];   /* a queue's place among the script's keys, from 1 */
    uint32_t queue[CQ_QUEUES_LIMIT]; /* the queue at each place - 1 */
    uint32_t key_count;
} cq_redis_sent;

#define CQ_REDIS_IN_FLIGHT 2

typedef struct cq_redis_watch cq_redis_watch;

typedef struct cq_redis_intake {
    cq_intake intake; /* first */
    cq_redis *redis;
    cq_arena names; /* queues and their strings */
    cq_redis_queue *queues;
    size_t queue_count;
    cq_conn *conn;                          /* for exchanges; NULL: none yet, or lost */
    cq_redis_sent sent[CQ_REDIS_IN_FLIGHT]; /* a ring */
    uint32_t oldest, in_flight;
    uint64_t fetches, forwards, delivered; /* exchanges that did, and tasks taken, ever */
    int64_t complained_mono_ns;
    cq_redis_watch *watch; /* watch.c */
} cq_redis_intake;

static inline cq_redis_intake *cq_redis_intake_of(cq_intake *intake)
{
    return (cq_redis_intake *)(void *)intake;
}

cronq_status cq_redis_watch_new(cq_redis_intake *intake, cq_redis_watch **out,
                                cronq_error *err);
void cq_redis_watch_free(cq_redis_watch *watch);

/* "2000000030.0000010": the end of a lease with its fence. */
void cq_redis_score(char out[40], int64_t end_s, uint32_t fence);

/* delayed.c: a call of forward for queue at limit ids, and what its reply means. */
typedef struct cq_redis_forward {
    int64_t now_ns;
    size_t limit;
} cq_redis_forward;
void cq_redis_encode_forward(cq_conn *conn, const cq_script *script, const cq_call *call);
cronq_status cq_redis_forward_reply(const cq_redis *redis, const cq_call *call,
                                    size_t *moved, cronq_error *err);

/* push.c */
cronq_status cq_redis_push(cq_broker *, cq_push *items, size_t count, int64_t now_ns,
                           cronq_error *err);

/* exchange.c */
cronq_status cq_redis_intake_open(cq_broker *, const cq_str *queues, size_t queue_count,
                                  cq_intake **out, cronq_error *err);
void cq_redis_intake_close(cq_intake *intake);
cronq_status cq_redis_exchange_send(cq_intake *, cq_exchange *, cronq_error *);
cronq_status cq_redis_exchange_recv(cq_intake *, cq_exchange *, cronq_error *);

/* exchange.c, for cluster.c: prepare, write (arg is a cq_redis_sent), read the answer. */
cronq_status cq_redis_plan_exchange(cq_redis_sent *sent, cronq_error *err);
void cq_redis_encode_exchange(cq_conn *conn, const cq_script *script,
                              const cq_call *call);
cronq_status cq_redis_read_exchange(const cq_redis_sent *sent, const cq_reply *reply,
                                    cronq_error *err);
void cq_redis_complain(cq_redis_intake *intake, cq_str text, int64_t dropped);

/* cluster.c: an exchange in a cluster, whole; nothing was sent before. */
cronq_status cq_redis_cluster_exchange(cq_redis_intake *intake, cq_exchange *exchange,
                                       cronq_error *err);

/* watch.c */
cronq_status cq_redis_wait(cq_intake *, cq_wait *, cronq_error *);
void cq_redis_wake(cq_intake *);
cronq_status cq_redis_listen(cq_intake *, int64_t timeout_ms, cq_cancel_fn *on_cancel,
                             void *arg, cronq_error *err);

/* lease.c */
cronq_status cq_redis_extend(cq_broker *, cq_lease *leases, size_t count, int64_t now_ns,
                             cronq_error *err);
cronq_status cq_redis_count_deaths(cq_broker *, cq_lease *leases, size_t count,
                                   uint32_t *deaths, cronq_error *err);
cronq_status cq_redis_mark_started(cq_broker *, cq_lease *leases, size_t count,
                                   cronq_error *err);
cronq_status cq_redis_write_result(cq_broker *, cq_str queue, cq_str id, uint32_t fence,
                                   cronq_bytes result, cronq_error *err);
cronq_status cq_redis_find_leased(cq_intake *, uint32_t fence, cq_arena *arena,
                                  cq_delivery **out, size_t *count, cronq_error *err);

/* recover.c */
cronq_status cq_redis_list_expired(cq_broker *, cq_str queue, int64_t now_ns,
                                   size_t limit, cq_arena *arena, cq_expired **out,
                                   size_t *count, cronq_error *err);
cronq_status cq_redis_recover(cq_broker *, cq_str queue, cq_recovery *items, size_t count,
                              int64_t now_ns, cronq_error *err);
cronq_status cq_redis_list_unleased(cq_broker *, cq_str queue, size_t limit,
                                    cq_arena *arena, cq_str **out, size_t *count,
                                    cronq_error *err);
cronq_status cq_redis_adopt(cq_broker *, cq_str queue, const cq_str *ids, size_t count,
                            int64_t now_ns, cronq_error *err);

/* delayed.c */
cronq_status cq_redis_forward_due(cq_broker *, cq_str queue, int64_t now_ns, size_t limit,
                                  size_t *moved, cronq_error *err);
cronq_status cq_redis_repair_groups(cq_broker *, cq_str queue, int64_t now_ns,
                                    cronq_error *err);
cronq_status cq_redis_purge(cq_broker *, cq_str queue, int64_t now_ns, size_t limit,
                            size_t *deleted, cronq_error *err);

/* state.c */
cronq_status cq_redis_beat(cq_broker *, const cq_beat *, cronq_error *);
cronq_status cq_redis_beat_clear(cq_broker *, const cq_beat *, cronq_error *);
cronq_status cq_redis_write_entries(cq_broker *, cq_str scheduler_id,
                                    const cronq_bytes *entries, size_t count,
                                    int64_t now_ns, int64_t ttl_s, cronq_error *err);
cronq_status cq_redis_clear_entries(cq_broker *, cq_str scheduler_id, cronq_error *err);
cronq_status cq_redis_record_event(cq_broker *, cq_str entry_id, cronq_bytes event,
                                   int64_t now_ns, cronq_error *err);
cronq_status cq_redis_every_phase(cq_broker *, cq_str queue, cq_str entry_id,
                                  int64_t mine_s, int64_t *out_s, cronq_error *err);

/* sets.c */
cronq_status cq_redis_due_groups(cq_broker *, cq_str queue, const cq_group_rules *,
                                 int64_t now_ns, size_t limit, cq_arena *arena,
                                 cq_str **out, size_t *count, cronq_error *err);
cronq_status cq_redis_take_group(cq_broker *, const cq_set *, const cq_group_rules *,
                                 int64_t now_ns, size_t *taken, cronq_error *err);
cronq_status cq_redis_read_set(cq_broker *, const cq_set *, cq_arena *arena,
                               cq_record **out, size_t *count, cronq_error *err);
cronq_status cq_redis_extend_set(cq_broker *, const cq_set *, int64_t now_ns,
                                 cronq_error *err);
cronq_status cq_redis_finish_set(cq_broker *, const cq_set *, cronq_bytes merged,
                                 const cq_misfit *misfits, size_t misfit_count,
                                 int64_t now_ns, cronq_error *err);
cronq_status cq_redis_reclaim_sets(cq_broker *, cq_str queue, int64_t now_ns,
                                   size_t limit, size_t *reclaimed, cronq_error *err);

/* implant.c */
cronq_status cq_redis_implant(cq_broker *, cq_str queue, cq_implant *items, size_t count,
                              cronq_error *err);
cronq_status cq_redis_lock_left(cq_broker *, cq_str lock, cq_str holder, int64_t now_ns,
                                int64_t *left_s, cronq_error *err);

/* tasks.c */
#define CQ_REDIS_RECORD_COLUMNS 10
/* The tasks that the script records names for these words, in as many calls as their size
 * needs: no call copies more than a few MiB. */
cronq_status cq_redis_read_page(cq_redis *redis, cq_str queue, const cq_str *words,
                                size_t word_count, cq_arena *arena, cq_record **out,
                                size_t *count, cronq_error *err);
cronq_status cq_redis_task(cq_broker *, cq_str queue, cq_str id, cq_arena *arena,
                           cq_record *out, cronq_error *err);
cronq_status cq_redis_list(cq_broker *, const cq_listing *, cq_arena *arena,
                           cq_record **out, size_t *count, cronq_error *err);
cronq_status cq_redis_replace(cq_broker *, cq_str queue, cq_str id, cronq_bytes before,
                              cronq_bytes message, bool *same, cronq_error *err);
cronq_status cq_redis_reschedule(cq_broker *, cq_reschedule *, int64_t now_ns, bool *same,
                                 cronq_error *err);
cronq_status cq_redis_cancel(cq_broker *, cq_str queue, cq_str id, int64_t now_ns,
                             cronq_error *err);

/* act.c */
cronq_status cq_redis_act(cq_broker *, cq_str queue, cq_action, cq_move *items,
                          size_t count, size_t offset, int64_t now_ns, cronq_error *err);
cronq_status cq_redis_act_all(cq_broker *, cq_str queue, cronq_state, cq_str group,
                              cq_action, size_t limit, int64_t now_ns, size_t *seen,
                              size_t *done, cronq_error *err);
cronq_status cq_redis_remove_queue(cq_broker *, cq_str queue, int64_t now_ns,
                                   cronq_error *err);

/* told.c */
cronq_status cq_redis_history(cq_broker *, cq_str queue, size_t days, int64_t now_ns,
                              cq_day *out, cronq_error *err);
cronq_status cq_redis_servers(cq_broker *, int64_t now_ns, cq_arena *arena,
                              cronq_bytes **out, size_t *count, cronq_error *err);
cronq_status cq_redis_workers(cq_broker *, int64_t now_ns, cq_arena *arena,
                              cronq_bytes **out, size_t *count, cronq_error *err);
cronq_status cq_redis_entries(cq_broker *, int64_t now_ns, cq_arena *arena,
                              cronq_bytes **out, size_t *count, cronq_error *err);
cronq_status cq_redis_events(cq_broker *, cq_str entry_id, size_t offset, size_t limit,
                             cq_arena *arena, cronq_bytes **out, size_t *count,
                             cronq_error *err);

/* diagnose.c */
/* The value of "name:value" in an INFO; empty: there is none. */
cq_str cq_redis_info_value(cq_str info, const char *name);
cronq_status cq_redis_diagnose(cq_broker *, cq_advice_fn *advise, void *arg,
                               cronq_error *err);

/* check.c */
cronq_status cq_redis_check(cq_broker *, cq_str queue, bool repair, int64_t now_ns,
                            cq_finding_fn *on_finding, void *arg, cronq_error *err);

/* inspect.c */
cronq_status cq_redis_must_exist(cq_redis *redis, cq_str queue, cq_arena *arena,
                                 cronq_error *err);
extern const cq_inspect_ops cq_redis_inspect_ops;

#endif
