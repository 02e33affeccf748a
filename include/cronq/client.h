/* SPDX-License-Identifier: MIT */
/* cronq/client.h - put tasks into queues. */
#ifndef CRONQ_CLIENT_H
#define CRONQ_CLIENT_H

#include "metrics.h"
#include "store.h"
#include "task.h"
#include "trace.h"

struct json_t; /* jansson.h */

CRONQ_BEGIN

/* A way to push, safe to share between threads; threads that push at the same time share
 * round trips. Not across fork(). */
typedef struct cronq_client cronq_client;

typedef struct cronq_client_options {
    size_t struct_size;               /* set by CRONQ_CLIENT_OPTIONS() */
    const cronq_store_options *store; /* borrowed for the call; may be NULL */
    cronq_logger logger;
    size_t payload_limit_bytes; /* 0: 1 MiB; at most 512 MiB */
    int64_t push_timeout_ms;    /* how long a push tries to reach the store; 0: 10,000 */
    cronq_metrics *metrics;     /* NULL: nothing is recorded; borrowed until the free */
    cronq_tracer *tracer;       /* NULL: no spans; borrowed until the free */
} cronq_client_options;

#define CRONQ_CLIENT_OPTIONS(...)                                                \
    (&(const cronq_client_options){ .struct_size = sizeof(cronq_client_options), \
                                    __VA_ARGS__ })

/* Connects to nothing yet. uri as in cronq/store.h; options may be NULL. *out is the
 * caller's. EINVAL for a URI that is wrong, EUNSUPPORTED for one of a store that this
 * build does not have. */
cronq_status cronq_client_new(const char *uri, const cronq_client_options *options,
                              cronq_client **out, cronq_error *err) CRONQ_CHECKED;
void cronq_client_free(cronq_client *client); /* NULL is fine; no call may be under way */

/* Is the store there? EIO when not, EAUTH when it refuses the credentials. */
cronq_status cronq_client_ping(cronq_client *client, cronq_error *err) CRONQ_CHECKED;

/* Store one task. info may be NULL; else *info is the caller's to free. OK: it is stored.
 * EEXIST (id conflict), EDUP (unique), EINVAL, ETOOBIG, EFULL, EREFUSED, EAUTH: nothing
 * was stored.
 * EIO: the store could not be reached in time, and the text says whether the task may
 * have been stored; pushing it again with the same id is safe. */
cronq_status cronq_client_push(cronq_client *client, const cronq_task *task,
                               cronq_task_info **info, cronq_error *err) CRONQ_CHECKED;
/* The same, not before delay_ms from now, or at_ms (Unix milliseconds). */
cronq_status cronq_client_push_in(cronq_client *client, const cronq_task *task,
                                  int64_t delay_ms, cronq_task_info **info,
                                  cronq_error *err) CRONQ_CHECKED;
cronq_status cronq_client_push_at(cronq_client *client, const cronq_task *task,
                                  int64_t at_ms, cronq_task_info **info, cronq_error *err)
    CRONQ_CHECKED;

/* The same with a JSON payload: compact, keys as they are in the value, which is
 * borrowed. task->payload must be absent. */
cronq_status cronq_client_push_json(cronq_client *client, const cronq_task *task,
                                    const struct json_t *payload, cronq_task_info **info,
                                    cronq_error *err) CRONQ_CHECKED;
cronq_status cronq_client_push_json_in(cronq_client *client, const cronq_task *task,
                                       const struct json_t *payload, int64_t delay_ms,
                                       cronq_task_info **info, cronq_error *err)
    CRONQ_CHECKED;
cronq_status cronq_client_push_json_at(cronq_client *client, const cronq_task *task,
                                       const struct json_t *payload, int64_t at_ms,
                                       cronq_task_info **info, cronq_error *err)
    CRONQ_CHECKED;

/* The same with a payload built by json_pack(format, ...) of jansson: "{s:i}",
 * "user", 42. */
cronq_status cronq_client_push_pack(cronq_client *client, const cronq_task *task,
                                    cronq_task_info **info, cronq_error *err,
                                    const char *format, ...) CRONQ_CHECKED;
cronq_status cronq_client_push_pack_in(cronq_client *client, const cronq_task *task,
                                       int64_t delay_ms, cronq_task_info **info,
                                       cronq_error *err, const char *format, ...)
    CRONQ_CHECKED;
cronq_status cronq_client_push_pack_at(cronq_client *client, const cronq_task *task,
                                       int64_t at_ms, cronq_task_info **info,
                                       cronq_error *err, const char *format, ...)
    CRONQ_CHECKED;

/* Store many, of any kind and for any queues, in as few round trips as the store allows.
 * Each task is stored wholly or not at all; the batch is not atomic. statuses and infos
 * may be NULL, else they have task_count places: a status for each task, and an info for
 * each that was stored (else NULL). Returns OK when all were stored, else the first
 * status that is not OK, with err about that task (its index in the text). */
cronq_status cronq_client_push_many(cronq_client *client, const cronq_task *const *tasks,
                                    size_t task_count, cronq_status *statuses,
                                    cronq_task_info **infos, cronq_error *err)
    CRONQ_CHECKED;

/* What to do with a task that runs. */
typedef enum cronq_cancel_mode {
    CRONQ_CANCEL_WAITING = 0, /* leave it alone: ESTATE */
    CRONQ_CANCEL_RUNNING = 1, /* ask its worker to stop it; it is archived as cancelled */
} cronq_cancel_mode;

/* Withdraw a task that waits (pending, scheduled, retry, aggregating): it is gone, with
 * the lock it holds, and never runs. ENOENT: there is no such task; ESTATE: it runs, has
 * ended (archived, completed), or its group is being merged. */
cronq_status cronq_client_cancel_task(cronq_client *client, const char *queue,
                                      const char *id, cronq_cancel_mode mode,
                                      cronq_error *err) CRONQ_CHECKED;

/* In one atomic step give a task another time (Unix milliseconds; over: now), and, unless
 * payload is NULL, another payload. Its id, type and options stay, a task of a group goes
 * to its group when it is due, and an archived one runs once more. ENOENT; ESTATE when it
 * runs, is completed, or its group is being merged; ETOOBIG. */
cronq_status cronq_client_reschedule_task(cronq_client *client, const char *queue,
                                          const char *id, int64_t at_ms,
                                          const cronq_bytes *payload, cronq_error *err)
    CRONQ_CHECKED;

/* Wait until a task has ended, at most timeout_ms: OK and *info, whose state is completed
 * (with its result) or archived (with its error). Only a task with retain_for_ms can be
 * seen as completed: one that is gone is ENOENT, whether done, deleted or never there.
 * ETIMEDOUT: it has not ended. */
cronq_status cronq_client_wait(cronq_client *client, const char *queue, const char *id,
                               int64_t timeout_ms, cronq_task_info **info,
                               cronq_error *err) CRONQ_CHECKED;

CRONQ_END
#endif /* CRONQ_CLIENT_H */
