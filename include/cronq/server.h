/* SPDX-License-Identifier: MIT */
/* cronq/server.h - take tasks out of queues and run them. */
#ifndef CRONQ_SERVER_H
#define CRONQ_SERVER_H

#include "metrics.h"
#include "scheduler.h"
#include "store.h"
#include "task.h"
#include "trace.h"

CRONQ_BEGIN

/* One run of one task. It lives while its handler runs and belongs to that thread, but
 * for cronq_attempt_cancelled and the descriptor of cronq_attempt_cancel_fd. */
typedef struct cronq_attempt cronq_attempt;

/* Runs one attempt, on a worker thread. Returns CRONQ_OK: done. What the functions below
 * return: skip the retries, drop, run again at another time. Any other status: a failure,
 * retried later; its text is the one of cronq_attempt_fail, or the status's own. */
typedef cronq_status cronq_handler(cronq_attempt *attempt, void *arg);

/* What the task says. Strings are NUL-terminated and borrowed until the handler returns.
 */
const char *cronq_attempt_task_id(const cronq_attempt *attempt);
const char *cronq_attempt_type(const cronq_attempt *attempt);
const char *cronq_attempt_queue(const cronq_attempt *attempt);
cronq_bytes cronq_attempt_payload(const cronq_attempt *attempt);
int32_t
cronq_attempt_retry_count(const cronq_attempt *attempt); /* 0: the first attempt */
int32_t cronq_attempt_max_retry(const cronq_attempt *attempt);
const char *cronq_attempt_header(const cronq_attempt *attempt,
                                 const char *key); /* or NULL */
size_t cronq_attempt_header_count(const cronq_attempt *attempt);
cronq_header cronq_attempt_header_at(const cronq_attempt *attempt, size_t index);

/* What the server gives to all attempts: cronq_server_set_base_context, and its log. */
void *cronq_attempt_user_data(const cronq_attempt *attempt);
void cronq_attempt_log(cronq_attempt *attempt, cronq_log_level level, const char *format,
                       ...) CRONQ_PRINTF(3, 4);

/* Where it stands in a trace, for tasks that it pushes and services that it calls: the
 * span of this attempt, without a tracer the header of the task, or NULL. */
const char *cronq_attempt_traceparent(const cronq_attempt *attempt);
/* That span, for attributes, events and children; NULL (cronq/trace.h) when not sampled.
 */
cronq_span *cronq_attempt_span(cronq_attempt *attempt);

/* The end of its time: Unix milliseconds and milliseconds from now (never negative); 0
 * and INT64_MAX when there is none. */
int64_t cronq_attempt_deadline_at_ms(const cronq_attempt *attempt);
int64_t cronq_attempt_remaining_ms(const cronq_attempt *attempt);

/* True once the time is over, the task was cancelled, its lease was lost, or the server
 * stops without more patience: return soon. Any thread may ask. The descriptor becomes
 * readable then, for poll(2); it is the library's: do not read or close it. -1 when the
 * process has no descriptor left. */
bool cronq_attempt_cancelled(const cronq_attempt *attempt);
int cronq_attempt_cancel_fd(cronq_attempt *attempt);
/* Why: OK while not cancelled, else ETIMEDOUT, ECANCELED, or ESTATE for a lost lease. */
cronq_status cronq_attempt_cancel_reason(const cronq_attempt *attempt);

/* Memory that lives until the handler returns. NULL when out of memory. */
void *cronq_attempt_alloc(cronq_attempt *attempt, size_t size);

/* Keep result with the task for its retention period; a later one replaces it. */
cronq_status cronq_attempt_write_result(cronq_attempt *attempt, cronq_bytes result,
                                        cronq_error *err) CRONQ_CHECKED;

/* Record why, and return the status to return: return cronq_attempt_fail(attempt, "…");
 * The text is cut to 16 KiB. skip_retry: archive at once. revoke: drop, as if done.
 * retry_in: run again after delay_ms, or after the server's own delay when that is
 * CRONQ_OWN_DELAY. counted: it uses up a retry and counts as a failure; so does every
 * further one after 1,000 uncounted ones of a task (header "cronq-deferred" counts them).
 */
#define CRONQ_OWN_DELAY (-1)
cronq_status cronq_attempt_fail(cronq_attempt *attempt, const char *format, ...)
    CRONQ_CHECKED CRONQ_PRINTF(2, 3);
cronq_status cronq_attempt_skip_retry(cronq_attempt *attempt, const char *format, ...)
    CRONQ_CHECKED CRONQ_PRINTF(2, 3);
cronq_status cronq_attempt_revoke(cronq_attempt *attempt) CRONQ_CHECKED;
cronq_status cronq_attempt_retry_in(cronq_attempt *attempt, int64_t delay_ms,
                                    bool counted, const char *format, ...)
    CRONQ_CHECKED CRONQ_PRINTF(4, 5);

/* Ends the attempt from any depth of its handler's calls and does not return: the task is
 * archived at once with the text "panic: …". As with longjmp(3), what the frames in
 * between hold (locks, memory, C++ objects) is not released. Only on the attempt's own
 * thread while its handler or a middleware runs; anywhere else it aborts the process. A
 * middleware sees a handler's panic as the status CRONQ_EPANIC. */
void cronq_panic(cronq_attempt *attempt, const char *format, ...) CRONQ_NORETURN
    CRONQ_PRINTF(2, 3);

/* A middleware wraps the handlers: it calls cronq_next_run once, or does not and returns
 * a status of its own. Those added first are outermost. */
typedef struct cronq_next cronq_next;
typedef cronq_status cronq_middleware(cronq_attempt *attempt, const cronq_next *next,
                                      void *arg);
cronq_status cronq_next_run(const cronq_next *next, cronq_attempt *attempt);

/* A queue that is served, and how much of the attention it gets: its weight beside the
 * others', or with strict_priority its rank. */
typedef struct cronq_queue {
    const char *name;
    uint32_t weight; /* at least 1 */
} cronq_queue;

typedef enum cronq_retry_kind {
    CRONQ_RETRY_DEFAULT = 0,     /* n^4 + 15 + random(0…29) * (n + 1) seconds */
    CRONQ_RETRY_EXPONENTIAL = 1, /* base * (2^(n+1) - 1), at most cap */
    CRONQ_RETRY_FIXED = 2        /* base */
} cronq_retry_kind;

/* How long to wait before the next attempt; retry_count is 0 after the first one. */
typedef int64_t cronq_retry_delay_fn(int32_t retry_count, const cronq_error *why,
                                     const char *task_type, void *arg);
/* Does this count as a failure? false: no retry is used up, nothing is counted. */
typedef bool cronq_is_failure_fn(const cronq_error *why, void *arg);
/* Called after each attempt that did not succeed, before its outcome is written. */
typedef void cronq_error_fn(cronq_attempt *attempt, const cronq_error *why, void *arg);
/* Called each health_check_interval_ms; why is NULL when the store answered. */
typedef void cronq_health_fn(const cronq_error *why, void *arg);

/* Told of each task that this server archives: its last attempt failed, its worker died,
 * or it cannot be read; task has its error and its last failure. Called by a thread of
 * its own, one task at a time, and never waited for: up to 1,000 tasks (64 MiB) wait for
 * their turn, the rest is dropped. Another status than OK, and what is dropped, is logged
 * and counted (cronq_archive_notices_total), and not tried again. With supervise it is
 * called in a process of its own, without on_begin and not counted, for tasks whose
 * handler crashed the process that works. */
typedef cronq_status cronq_archive_fn(const cronq_task_info *task, void *arg,
                                      cronq_error *err);

/* The tasks of a group that are to become one, oldest first. Everything is borrowed until
 * the aggregator returns. An index out of range gives "" and no bytes. */
typedef struct cronq_aggregation cronq_aggregation;

const char *cronq_aggregation_queue(const cronq_aggregation *aggregation);
const char *cronq_aggregation_group(const cronq_aggregation *aggregation);
size_t cronq_aggregation_count(const cronq_aggregation *aggregation);
const char *cronq_aggregation_task_id(const cronq_aggregation *aggregation, size_t index);
const char *cronq_aggregation_task_type(const cronq_aggregation *aggregation,
                                        size_t index);
cronq_bytes cronq_aggregation_payload(const cronq_aggregation *aggregation, size_t index);
/* The one task that they become; a later call replaces it. Of the task only type,
 * payload, timeout, deadline, retention, retries and headers may be set: it goes to the
 * same queue, now, under an id of its own. */
cronq_status cronq_aggregation_merge(cronq_aggregation *aggregation,
                                     const cronq_task *task, cronq_error *err)
    CRONQ_CHECKED;

/* Makes one task of a group by cronq_aggregation_merge and returns CRONQ_OK: it is pushed
 * and the others are deleted in one step. CRONQ_EREVOKED: they are dropped. Anything
 * else: they go back to their group after two minutes. Called from threads of its own,
 * several groups at once, but never one group twice at a time in this server. */
typedef cronq_status cronq_aggregator_fn(cronq_aggregation *aggregation, void *arg,
                                         cronq_error *err);

/* Called by cronq_server_run and _drain once the server has started, and after the stop.
 * With supervision that is in the process that works, which a fork has made: what
 * may not be there before a fork (threads, connections) is made here. A status other than
 * OK stops the server; run returns it. */
typedef cronq_status cronq_begin_fn(void *arg, cronq_error *err);
typedef void cronq_end_fn(void *arg);

typedef struct cronq_server_options {
    size_t struct_size; /* set by CRONQ_SERVER_OPTIONS() */
    const cronq_store_options *store;
    cronq_logger logger;
    const char *namespace_name; /* patterns become NAMESPACE:pattern; see queues */
    const cronq_queue *queues;  /* default: the namespace, else "default", weight 1 */
    size_t queue_count;
    uint32_t concurrency; /* handlers at once; 0: one a CPU; at most 10,000 */
    bool strict_priority;
    bool seed_compat; /* defaults of the later seed: no retry for entries' pushes,
                         2^(n+1)-1 s */
    bool no_take_ahead;
    cronq_retry_kind retry_kind;
    int64_t retry_base_ms; /* 0: 1,000 */
    int64_t retry_cap_ms;  /* 0: 24 h */
    cronq_retry_delay_fn *retry_delay;
    void *retry_delay_arg;
    cronq_is_failure_fn *is_failure;
    void *is_failure_arg;
    cronq_error_fn *on_error;
    void *on_error_arg;
    cronq_health_fn *on_health;
    void *on_health_arg;
    int64_t shutdown_timeout_ms;       /* 0: 8,000 */
    int64_t task_check_interval_ms;    /* 0: 1,000; without wake-ups from the store */
    int64_t delayed_check_interval_ms; /* 0: 5,000; without wake-ups from the store */
    int64_t health_check_interval_ms;  /* 0: 15,000 */
    int64_t janitor_interval_ms;       /* 0: 8,000 */
    uint32_t janitor_batch_count;      /* 0: 100; at most 10,000 */
    /* Internal periods, so that tests need not wait; 0 is right for everyone else. */
    int64_t lease_ms;            /* 0: 30,000 */
    int64_t heartbeat_ms;        /* 0: 5,000 */
    int64_t recover_interval_ms; /* 0: 5,000 */
    uint32_t test_flags;         /* 0 */
    uint32_t reserved;           /* 0 */
    cronq_metrics *metrics;      /* NULL: nothing is recorded; borrowed until the free */
    cronq_tracer *tracer;        /* NULL: no spans; borrowed until the free */
    /* Groups of the served queues are merged when there is an aggregator: when the newest
     * task is grace old, or the oldest max_delay, or there are max_size. */
    cronq_aggregator_fn *aggregator;
    void *aggregator_arg;
    int64_t group_grace_ms;     /* 0: 60,000; at least 1,000 */
    int64_t group_max_delay_ms; /* 0: 300,000; CRONQ_NEVER: no limit */
    uint32_t group_max_size;    /* 0: no limit but 5,000 */
    uint32_t reserved_2;        /* 0 */
    int64_t group_set_age_ms;   /* 0: 120,000; internal, as the periods above */
    /* cronq_server_run only: work in a forked process, and fork another when a handler
     * has crashed it. docs/crashes.md. */
    bool supervise;
    cronq_begin_fn *on_begin; /* of run and drain */
    cronq_end_fn *on_end;
    void *on_begin_arg;
    int64_t restart_delay_ms; /* 0: 1,000; internal: before the fourth start in a minute,
                                 twice as long before each further one, to 30 times */
    cronq_archive_fn *on_archive;
    void *on_archive_arg;
} cronq_server_options;

#define CRONQ_SERVER_OPTIONS(...)                                                \
    (&(const cronq_server_options){ .struct_size = sizeof(cronq_server_options), \
                                    __VA_ARGS__ })

/* A worker and a scheduler on one store. new, add and use from one thread; the rest from
 * any. */
typedef struct cronq_server cronq_server;

/* Opens and connects nothing yet. *out is the caller's. */
cronq_status cronq_server_new(const char *uri, const cronq_server_options *options,
                              cronq_server **out, cronq_error *err) CRONQ_CHECKED;
/* Stops; NULL is fine. What a handler that still runs after the stop may use is freed
 * only if that handler has returned by now, else it is left to the end of the process. */
void cronq_server_free(cronq_server *server);

/* Where a handler runs: on a thread of the worker, where a crash ends the process; or in
 * child processes, where it ends one attempt. docs/crashes.md compares them. */
typedef enum cronq_isolation {
    CRONQ_ISOLATION_THREAD = 0,
    CRONQ_ISOLATION_PROCESS = 1
} cronq_isolation;

/* Called once in each child process, before its first task: open connections and the like
 * here. *arg is what the handler gets in this child, at first the arg of
 * cronq_server_add. With a status other than OK the child ends, and another one is tried
 * a little later. */
typedef cronq_status cronq_child_init_fn(void **arg, cronq_error *err);

typedef struct cronq_handler_options {
    size_t struct_size;    /* set by CRONQ_HANDLER_OPTIONS() */
    const char *cron_spec; /* also push it by the clock */
    const cronq_entry_options *entry;
    cronq_isolation isolation;
    /* With CRONQ_ISOLATION_PROCESS. */
    cronq_child_init_fn *child_init;
    uint32_t child_count;      /* 0: as concurrency; at most 1,000 */
    uint32_t child_task_count; /* after so many tasks a child is replaced; 0: never */
    int64_t child_grace_ms;    /* from the end of an attempt's time, or its cancellation,
                                  to SIGTERM, and again to SIGKILL; 0: 1,000 */
    uint64_t memory_limit_bytes; /* address space beyond that of the start; 0: none */
    uint64_t cpu_limit_s;        /* CPU time of one attempt; 0: none */
    uint64_t open_files_limit;   /* 0: none */
} cronq_handler_options;

#define CRONQ_HANDLER_OPTIONS(...)                                                 \
    (&(const cronq_handler_options){ .struct_size = sizeof(cronq_handler_options), \
                                     __VA_ARGS__ })

/* Tasks whose type begins with pattern go to handler; of several the longest pattern
 * wins. Before the start. options may be NULL. EEXIST for a pattern twice, EINVAL for a
 * blank one. */
cronq_status cronq_server_add(cronq_server *server, const char *pattern,
                              cronq_handler *handler, void *arg,
                              const cronq_handler_options *options, cronq_error *err)
    CRONQ_CHECKED;
/* Push a task of type pattern by the clock, and when handler is not NULL also run it. */
cronq_status cronq_server_cron_add(cronq_server *server, const char *spec,
                                   const char *pattern, cronq_handler *handler, void *arg,
                                   const cronq_entry_options *options,
                                   const char **entry_id, cronq_error *err) CRONQ_CHECKED;
cronq_status cronq_server_use(cronq_server *server, cronq_middleware *middleware,
                              void *arg, cronq_error *err) CRONQ_CHECKED;
/* What cronq_attempt_user_data returns. Before the start; borrowed. */
void cronq_server_set_base_context(cronq_server *server, void *user_data);

/* Starts the threads and returns; without its store the server waits for it. A server
 * with no handler and no middleware takes no tasks: it only schedules. ESTATE when
 * already started or stopped, EINVAL when an entry with a handler names a queue that is
 * not served. */
cronq_status cronq_server_start(cronq_server *server, cronq_error *err) CRONQ_CHECKED;
/* Take no new tasks; what runs goes on. */
void cronq_server_quiet(cronq_server *server);
/* Scheduler first, then fetching; handlers get shutdown_timeout_ms, then are cancelled;
 * what has not started or has returned is given back. ETIMEDOUT with the number of
 * handlers that still run, whose leases run out. */
cronq_status cronq_server_stop(cronq_server *server, cronq_error *err);

/* Is the store there? */
cronq_status cronq_server_ping(cronq_server *server, cronq_error *err) CRONQ_CHECKED;
/* Does it take tasks? ESTATE before the start and from quiet or stop on, else as ping.
 * Does not wait for a stop that is under way. */
cronq_status cronq_server_ready(cronq_server *server, cronq_error *err) CRONQ_CHECKED;
/* Does its engine still go round, whether the store is there or not? For watchdogs: one
 * thread asks, every few seconds. ESTATE before the start and from quiet or stop on,
 * ETIMEDOUT: it has been stuck for six heartbeats (30 s). */
cronq_status cronq_server_alive(cronq_server *server, cronq_error *err) CRONQ_CHECKED;

/* With supervise: this process becomes the supervisor and returns when the work is over;
 * it passes on SIGTERM, SIGINT and SIGTSTP, and SIGHUP, SIGUSR1 and SIGUSR2 where they
 * are blocked. ESTATE with the reason when the process may not be forked: it has a second
 * thread, a connected handle of this library, or the store's file open.
 *
 * start, work until SIGTERM or SIGINT, stop. SIGTSTP: quiet. The one function that takes
 * signals, and those are restored before it returns. What still runs after the shutdown
 * timeout is given back, uncharged, and the process ends by _exit(1). A second signal
 * hurries: no handler is waited for any longer. ECANCELED: no signal came, somebody
 * called cronq_server_stop. */
cronq_status cronq_server_run(cronq_server *server, cronq_error *err) CRONQ_CHECKED;
/* start, work until the served queues hold nothing pending or active, stop. For tests and
 * one-shot jobs; delayed tasks are not waited for. ECANCELED: stopped meanwhile. EINVAL
 * without a handler. */
cronq_status cronq_server_drain(cronq_server *server, cronq_error *err) CRONQ_CHECKED;

CRONQ_END
#endif /* CRONQ_SERVER_H */
