/* SPDX-License-Identifier: MIT */
/* cronq/task.h - what a task is, before and after it is stored. */
#ifndef CRONQ_TASK_H
#define CRONQ_TASK_H

#include "base.h"

CRONQ_BEGIN

#define CRONQ_NO_RETRY (-1)

/* Text that travels with a task; keys are unique, not empty. */
typedef struct cronq_header {
    const char *key, *value;
} cronq_header;

/* A task to push. Zero in any field means its default. Everything is borrowed for the
 * call. Durations are milliseconds, instants Unix milliseconds; the wire format carries
 * whole seconds, and what is waited for is rounded up to them. The embedded store keeps
 * process_at_ms and process_in_ms to the millisecond.
 *
 * Limits: type, id and group 1,024 bytes, queue 200, UTF-8, not blank, no control bytes;
 * 1,000 headers; the payload as the client says (1 MiB by default). */
typedef struct cronq_task {
    size_t struct_size;     /* set by CRONQ_TASK() */
    const char *type;       /* required, e.g. "email:welcome" */
    cronq_bytes payload;    /* opaque */
    const char *queue;      /* default "default" */
    const char *id;         /* default a new UUID */
    const char *group;      /* aggregate with this group */
    int64_t process_at_ms;  /* not before this instant; in the past: now */
    int64_t process_in_ms;  /* not before this long from now; not with process_at_ms */
    int64_t timeout_ms;     /* of each attempt; default 30 minutes, if no deadline */
    int64_t deadline_at_ms; /* of all attempts; whichever of the two comes first */
    int64_t unique_for_ms;  /* refuse equals for this long, at least 1,000 */
    int64_t retain_for_ms;  /* keep after success for this long */
    int32_t max_retry;      /* default 25; CRONQ_NO_RETRY for none */
    uint32_t flags;         /* none yet: 0 */
    const cronq_header *headers;
    size_t header_count;
    const char *traceparent; /* push it under this span; wins over the header. An entry's
                                task: refused */
} cronq_task;

#define CRONQ_TASK(...) \
    (&(const cronq_task){ .struct_size = sizeof(cronq_task), __VA_ARGS__ })

typedef enum cronq_state {
    CRONQ_STATE_ACTIVE = 1,
    CRONQ_STATE_PENDING = 2,
    CRONQ_STATE_SCHEDULED = 3,
    CRONQ_STATE_RETRY = 4,
    CRONQ_STATE_ARCHIVED = 5,
    CRONQ_STATE_COMPLETED = 6,
    CRONQ_STATE_AGGREGATING = 7,
} cronq_state;

/* "active", "pending", … NULL for a number that is none. */
const char *cronq_state_name(cronq_state state);

/* A task as it was stored. Getters borrow from the info and are safe from any thread. */
typedef struct cronq_task_info cronq_task_info;

const char *cronq_task_info_id(const cronq_task_info *info);
const char *cronq_task_info_type(const cronq_task_info *info);
const char *cronq_task_info_queue(const cronq_task_info *info);
const char *cronq_task_info_group(const cronq_task_info *info); /* "": none */
cronq_state cronq_task_info_state(const cronq_task_info *info);
cronq_bytes cronq_task_info_payload(const cronq_task_info *info);
int32_t cronq_task_info_max_retry(const cronq_task_info *info);
int32_t cronq_task_info_retry_count(const cronq_task_info *info);
bool cronq_task_info_is_unique(const cronq_task_info *info);
/* Milliseconds, and Unix milliseconds: 0 is none. */
int64_t cronq_task_info_timeout_ms(const cronq_task_info *info);
int64_t cronq_task_info_deadline_at_ms(const cronq_task_info *info);
int64_t cronq_task_info_retain_for_ms(const cronq_task_info *info);
int64_t cronq_task_info_next_at_ms(const cronq_task_info *info); /* when it is due */
/* What an inspector or a client reads about a task beyond what was pushed. "" and data ==
 * NULL: none. */
const char *cronq_task_info_error(const cronq_task_info *info); /* of its last attempt */
cronq_bytes cronq_task_info_result(const cronq_task_info *info);
int64_t cronq_task_info_pending_since_ms(const cronq_task_info *info);
int64_t cronq_task_info_last_failed_at_ms(const cronq_task_info *info);
int64_t cronq_task_info_archived_at_ms(const cronq_task_info *info);
int64_t cronq_task_info_completed_at_ms(const cronq_task_info *info);
int64_t cronq_task_info_kept_until_ms(const cronq_task_info *info); /* when completed */
bool cronq_task_info_is_orphaned(const cronq_task_info *info);      /* active, no lease */
bool cronq_task_info_is_cancelled(const cronq_task_info *info); /* it was asked to stop */
bool cronq_task_info_is_merging(const cronq_task_info *info); /* its group is under way */
size_t cronq_task_info_header_count(const cronq_task_info *info);
cronq_header cronq_task_info_header_at(const cronq_task_info *info, size_t index);

/* One attempt that failed, as our servers remember it. */
typedef struct cronq_failure {
    int64_t at_ms;
    int32_t attempt;  /* from 1 */
    const char *host; /* that ran it, or noticed that its worker was gone */
    const char *text; /* at most 1 KiB */
} cronq_failure;

/* The last ten of a task that was read alone (cronq_inspector_task), the newest first; of
 * an index out of range all is zero. */
size_t cronq_task_info_failure_count(const cronq_task_info *info);
cronq_failure cronq_task_info_failure_at(const cronq_task_info *info, size_t index);
void cronq_task_info_free(cronq_task_info *info); /* NULL is fine */

CRONQ_END
#endif /* CRONQ_TASK_H */
