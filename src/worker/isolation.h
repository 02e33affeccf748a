/* SPDX-License-Identifier: MIT */
/* worker/isolation.h - handlers that run in processes of their own.
 *
 * A crew belongs to one handler and has seats, in each of which sits one child process
 * after another. A seat and who makes its steps:
 *
 *   EMPTY ──keeper──> FORKING ──keeper──> STARTING ──keeper──> FREE <──hand──> BUSY
 *     ^                  └──────────┬──────────┴──────────────────┘              │
 *     └──keeper, when the child has ended: it is reported by the fork server     │
 *     └──────────────────────────────────────── hand, with the child ended ──────┤
 *   ENDING <── hand, when the child has done its share: the keeper empties it ───┘
 *
 * The keeper is a thread that listens to the fork server. A BUSY seat belongs to the
 * worker thread that took it, but for `ended` and `why`, which are under the mutex.
 * Locks: the mutex is taken alone, or inside the worker's cancel mutex. */
#ifndef CQ_WORKER_ISOLATION_H
#define CQ_WORKER_ISOLATION_H

#include "base/thread.h"
#include "worker/attempt.h"
#include "worker/wire.h"

typedef enum cq_seat_state {
    CQ_SEAT_EMPTY,
    CQ_SEAT_FORKING,
    CQ_SEAT_STARTING,
    CQ_SEAT_FREE,
    CQ_SEAT_BUSY,
    CQ_SEAT_ENDING,
} cq_seat_state;

typedef struct cq_seat {
    struct cq_crew *crew;
    struct cq_seat *next; /* among the free ones */
    uint32_t number, generation;
    cq_seat_state state;
    int fd;
    pid_t pid;
    cq_window *window;
    cq_event cancelled; /* the child's, too */
    bool ended;         /* the child; why is from waitpid */
    int why;
    uint32_t task_count; /* of this child */
    uint32_t failures;   /* children in a row that ended before their first task */
    int64_t fork_at_mono_ns;
    cq_buf out, in;
} cq_seat;

typedef struct cq_crew {
    struct cq_crew *next;
    struct cq_isolation *isolation;
    const char *pattern;
    cronq_handler *handler;
    void *arg;
    cronq_handler_options options; /* with every default filled in */
    cq_seat *seats, *free;
} cq_crew;

typedef struct cq_isolation {
    struct cq_worker *worker;
    cq_crew *crews;
    cq_seat *seats;
    cq_window *windows;
    uint32_t seat_count;
    int fd; /* to the fork server; -1: none */
    pid_t forks_pid;
    pthread_t keeper;
    bool running;
    cq_event news; /* for the keeper */
    atomic_bool stopping;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool broken; /* the fork server has ended */
} cq_isolation;

void cq_isolation_init(cq_isolation *isolation, struct cq_worker *worker);
void cq_isolation_release(cq_isolation *isolation);

/* A crew for a handler, before the start. EINVAL for options that are wrong. */
cronq_status cq_isolation_add(cq_isolation *isolation, const char *pattern,
                              cronq_handler *handler, void *arg,
                              const cronq_handler_options *options, cq_crew **out,
                              cronq_error *err);

/* Without crews nothing. Forks: no thread may run yet (ESTATE). */
cronq_status cq_isolation_start(cq_isolation *isolation, cronq_error *err);
/* No attempt may run any more. Ends all children. */
void cq_isolation_stop(cq_isolation *isolation);

/* A child for this thread; NULL when none came within its patience, or the attempt was
 * cancelled. Give back what was taken. */
cq_seat *cq_crew_take(cq_crew *crew, const cronq_attempt *attempt);
void cq_crew_give_back(cq_seat *seat);
/* Wait until the child of a busy seat has ended; false: it can not be known any more. */
bool cq_seat_await_end(cq_seat *seat);

/* Tell the child that a run of its parcel is cancelled. */
void cq_seat_cancel(cq_seat *seat, uint32_t run, int reason);

/* session.c: run attempts, at most CQ_PARCEL_LIMIT of them that have begun, one after
 * another in one child. ended is called once for each: with what the handler returned or
 * how the child ended, or CQ_WITHDRAWN when it was not started and may run elsewhere. */
#define CQ_WITHDRAWN ((cronq_status)1)
typedef void cq_ended_fn(void *arg, cronq_attempt *attempt, cronq_status status);
void cq_crew_run(cq_crew *crew, cronq_attempt **attempts, size_t count,
                 cq_ended_fn *ended, void *arg);

/* inside.c: what a child does. */
void cq_inside_main(void *isolation, uint32_t seat, int fd) CRONQ_NORETURN;

/* Of an attempt that runs in a child: its way out. */
struct cq_inside {
    int fd;
    cq_run *run;
    uint32_t number; /* of the run in its parcel */
    cq_event cancelled;
};
void cq_inside_log(cronq_attempt *attempt, cronq_log_level level, const char *text);
cronq_status cq_inside_write_result(cronq_attempt *attempt, cronq_bytes result,
                                    cronq_error *err);

#endif
