/* SPDX-License-Identifier: MIT */
/* chaos/chaos.h - one run with a fault: a store, worker processes and a producer, all
 * real; what may happen to them, and what must be true afterwards. */
#ifndef CQ_TEST_CHAOS_H
#define CQ_TEST_CHAOS_H

#include "support/cluster.h"
#include "support/fault_proxy.h"
#include "support/history.h"
#include "support/redis_server.h"
#include "support/scratch.h"
#include "support/sentinel.h"

#include <cronq/cronq.h>
#include <pthread.h>
#include <stdatomic.h>

enum {
    CHAOS_SHORT = 1,      /* part of make test */
    CHAOS_PROXIED = 2,    /* workers and producer talk through the proxy */
    CHAOS_USUAL = 4,      /* the default periods, else short ones */
    CHAOS_DAMAGES = 8,    /* breaks invariants by hand: fsck mends them at the end */
    CHAOS_LOSES = 16,     /* takes accepted tasks away */
    CHAOS_OUTAGE = 32,    /* the store is away: tasks around it may run again */
    CHAOS_TCP = 64,       /* over a port, as the user w with the password pw */
    CHAOS_FILE = 128,     /* a database file in place of Redis */
    CHAOS_IDLES = 256,    /* workers must cost next to nothing meanwhile */
    CHAOS_SENTINEL = 512, /* a master with two replicas; pushes wait for wait_count */
    CHAOS_CLUSTER = 1024, /* three masters with a replica each; the same */
    CHAOS_TLS = 2048,     /* over a port that speaks TLS only */
};

#define CHAOS_WORKERS 3

typedef struct chaos_world chaos_world;

typedef struct chaos_row {
    const char *name, *what;
    unsigned flags;
    void (*inject)(chaos_world *world); /* the fault, from its beginning to its end */
    int recovery_ms;     /* bound: from the end of the fault to the end of a new task */
    int drain_ms;        /* bound: until all that was accepted is done */
    const char *config;  /* lines of redis.conf, or NULL */
    uint32_t wait_count; /* of replicas that must have a push */
} chaos_row;

struct chaos_world {
    const chaos_row *row;
    redis_server *redis; /* NULL with a file, sentinels or a cluster */
    sentinel_group *sentinels;
    cluster_group *cluster;
    char *certs; /* with TLS */
    fault_proxy *proxy;
    char scratch[SCRATCH_ROOM], history[96], log[96], store_uri[160], uri[160];
    pid_t workers[CHAOS_WORKERS];
    cronq_client *client; /* the producer's */
    cronq_inspector *inspector;
    pthread_t producer;
    bool produces;
    atomic_bool stop;
    atomic_int accepted, refused, full;
    char note[128]; /* what the fault has to say */
};

typedef struct chaos_result {
    const chaos_row *row;
    history_verdict verdict;
    int64_t recovery_ms, drain_ms; /* -1: not in time */
    int cpu_percent; /* of a core, of the busiest worker; -1: not measured */
    size_t found;    /* by fsck at the end */
    bool passed;
    char why[320], note[128];
} chaos_result;

extern const chaos_row chaos_rows[];
extern const size_t chaos_row_count;

/* ---- run.c ---- */

/* *out is written at its end. */
void chaos_run(const chaos_row *row, chaos_result *out);

/* After an assertion that failed within chaos_run: ends all that still runs. */
void chaos_abandon(void);

/* For faults. A worker's exit code; -1: it was still there after timeout_ms, and is
 * killed. */
void chaos_start_worker(chaos_world *world, int i);
int chaos_end_worker(chaos_world *world, int i, int signal_number, int64_t timeout_ms);
void chaos_kill_worker(chaos_world *world, int i);
/* Around what makes the store unreachable. */
void chaos_outage(chaos_world *world);
void chaos_back(chaos_world *world);
/* One more task, by the producer's client; was it accepted? */
bool chaos_push(chaos_world *world, const char *id, const char *payload);
void chaos_sleep(int ms);

/* ---- faults.c, damage.c, groups.c: by the names of the rows ---- */

void fault_none(chaos_world *world);
void fault_worker_kill(chaos_world *world);
void fault_worker_stop(chaos_world *world);
void fault_worker_term(chaos_world *world);
void fault_worker_term_twice(chaos_world *world);
void fault_worker_term_outage(chaos_world *world);
void fault_store_kill(chaos_world *world);
void fault_store_kill_5(chaos_world *world);
void fault_store_gone_30(chaos_world *world);
void fault_store_pause_5(chaos_world *world);
void fault_store_pause_20(chaos_world *world);
void fault_store_pause_35(chaos_world *world);
void fault_cut_after(chaos_world *world);
void fault_cut_before(chaos_world *world);
void fault_cut_within(chaos_world *world);
void fault_slow(chaos_world *world);
void fault_half_open(chaos_world *world);
void fault_refuse(chaos_world *world);
void fault_script_flush(chaos_world *world);
void fault_loading(chaos_world *world);
void fault_readonly(chaos_world *world);
void fault_full(chaos_world *world);
void fault_evicting(chaos_world *world);
void fault_busy(chaos_world *world);
void fault_forbidden(chaos_world *world);
void fault_user_gone(chaos_world *world);
void fault_lists_deleted(chaos_world *world);
void fault_flushed(chaos_world *world);
void fault_garbage(chaos_world *world);
void fault_deaf(chaos_world *world);
void fault_file_locked(chaos_world *world);
void fault_master_dies(chaos_world *world);
void fault_master_changes(chaos_world *world);
void fault_no_replicas(chaos_world *world);
void fault_node_dies(chaos_world *world);
void fault_slot_moves(chaos_world *world);
void fault_certificates(chaos_world *world);

#endif
