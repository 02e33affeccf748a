/* SPDX-License-Identifier: MIT */
/* worker/fixture.h - for the worker's tests: a worker on a real redis-server, and tasks
 * to push. Whatever fails in here fails the test. */
#ifndef CQ_WORKER_FIXTURE_H
#define CQ_WORKER_FIXTURE_H

#include "codec/message.h"
#include "support/patience.h"
#include "worker/worker.h"

#include <pthread.h>
#include <stdatomic.h>

struct redis_server;

#define FIXTURE_LOG_BYTES 65536

typedef struct fixture {
    struct redis_server *server;
    bool own_server;
    cq_broker *broker;
    cq_broker *pusher; /* its own connections, so that a worker's troubles are not ours */
    cronq_queue queues[8];
    cronq_server_options options; /* change before fixture_worker */
    cq_worker *worker;
    pthread_mutex_t mutex;
    char log[FIXTURE_LOG_BYTES]; /* the lines, under mutex */
    size_t log_len;
} fixture;

/* A server, and options with a lease of 2 s, a beat of 300 ms and one queue, "q". */
void fixture_init(fixture *f, const char *redis_config);
/* Another worker on the same server. */
void fixture_init_beside(fixture *f, const fixture *other);
void fixture_release(fixture *f);

/* Make the worker as f->options say; then handlers may be added. */
void fixture_worker(fixture *f);
void fixture_add(fixture *f, const char *pattern, cronq_handler *handler, void *arg);
void fixture_start(fixture *f);
/* All of the above with one handler. */
void fixture_run(fixture *f, const char *pattern, cronq_handler *handler, void *arg);
void fixture_stop(fixture *f); /* fails when a handler still runs */
const cq_worker_counters *fixture_counts(const fixture *f);

/* A handler that adds one to its argument, an atomic_int. */
cronq_status fixture_count(cronq_attempt *attempt, void *arg);

/* A handler that runs until its argument is opened, or the attempt cancelled. */
typedef struct fixture_gate {
    atomic_int entered, open;
    _Atomic int reason; /* why it was cancelled, 0 when not */
    bool stubborn;      /* does not look whether it is cancelled */
} fixture_gate;

cronq_status fixture_pass_gate(cronq_attempt *attempt, void *arg);

/* A task of type "t" in "q" with 25 retries, to be changed and pushed. */
cq_message fixture_task(const char *id);
void fixture_push(fixture *f, const cq_message *message);
/* COUNT tasks with ids PREFIX-0 … and the given type. */
void fixture_push_many(fixture *f, const char *queue, const char *type,
                       const char *prefix, size_t count);

/* One command, words parted by blanks, as printf formats it. */
long long fixture_int(fixture *f, const char *format, ...) CRONQ_PRINTF(2, 3);
void fixture_do(fixture *f, const char *format, ...) CRONQ_PRINTF(2, 3);
/* A text reply into out; false for nil. */
bool fixture_text(fixture *f, char out[4096], const char *format, ...) CRONQ_PRINTF(3, 4);
/* The stored message of a task of "q"; strings are in the arena. */
cq_message fixture_message(fixture *f, const char *id, cq_arena *arena);
/* Is the task in this sorted set of "q"? */
bool fixture_is_in(fixture *f, const char *set, const char *id);
/* Does the log hold this text? */
bool fixture_logged(fixture *f, const char *text);

/* Wait until the condition holds; fails the test after timeout_ms. */
#define FIXTURE_AWAIT(condition, timeout_ms)                                     \
    do {                                                                         \
        int64_t until_ms = cq_mono_ms() + (timeout_ms)*PATIENCE;                 \
                                                                                 \
        while (!(condition)) {                                                   \
            if (cq_mono_ms() > until_ms)                                         \
                fail_msg("not within %d ms: %s", (int)(timeout_ms), #condition); \
            cq_sleep_ms(2);                                                      \
        }                                                                        \
    } while (0)

#endif
