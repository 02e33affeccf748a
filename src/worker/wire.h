/* SPDX-License-Identifier: MIT */
/* worker/wire.h - what a worker, its fork server and its child processes say to each
 * other.
 *
 * Worker and fork server: packets of cq_order and cq_news. Worker and child: a stream.
 * The worker writes a cq_parcel, the tasks, each a cq_parcel_task and its bytes, and
 * answers each CQ_FRAME_RESULT with a cronq_error; the child writes frames. Beside the
 * stream there is the window, memory that both see: it survives the child.
 *
 * A run in the window: QUEUED by the worker, then RUNNING and OK by the child, or
 * WITHDRAWN by the worker. What ends in another way than OK is told by a frame while it
 * is RUNNING. So a child that dies leaves at most one RUNNING run behind: its culprit. */
#ifndef CQ_WORKER_WIRE_H
#define CQ_WORKER_WIRE_H

#include "worker/crash.h"

#include <cronq/server.h>
#include <sys/types.h>

#define CQ_PARCEL_LIMIT 32 /* tasks */

typedef enum cq_order_kind { CQ_ORDER_FORK, CQ_ORDER_KILL } cq_order_kind;

typedef struct cq_order {
    int kind;
    uint32_t seat, generation;
    int signal; /* KILL: for the whole group of processes */
} cq_order;

typedef enum cq_news_kind {
    CQ_NEWS_FORKED, /* with the worker's end of the stream */
    CQ_NEWS_FAILED, /* it could not be forked: why is an errno */
    CQ_NEWS_ENDED,  /* and the rest of its group too; why is from waitpid */
} cq_news_kind;

typedef struct cq_news {
    int kind;
    uint32_t seat, generation;
    pid_t pid;
    int why;
} cq_news;

typedef enum cq_run_state {
    CQ_RUN_NONE,
    CQ_RUN_QUEUED,
    CQ_RUN_RUNNING,
    CQ_RUN_OK,
    CQ_RUN_WITHDRAWN,
} cq_run_state;

typedef struct cq_run {
    _Atomic int state;  /* cq_run_state */
    _Atomic int reason; /* why it is cancelled, as in cronq_attempt */
    _Atomic int64_t started_at_mono_ns, ended_at_mono_ns;
} cq_run;

typedef struct cq_window {
    cq_run runs[CQ_PARCEL_LIMIT];
    cq_crash crash;
} cq_window;

typedef struct cq_parcel {
    uint32_t count;
    uint64_t bytes; /* that follow */
} cq_parcel;

typedef struct cq_parcel_task {
    uint32_t queue;
    uint32_t id_len;
    uint64_t message_len;
    int64_t deadline_mono_ns, deadline_at_ns;
} cq_parcel_task;

typedef enum cq_frame_kind {
    CQ_FRAME_READY,  /* its init is done; with a status other than OK: the child ends */
    CQ_FRAME_ENDED,  /* status, retry and text */
    CQ_FRAME_LOG,    /* status is the level */
    CQ_FRAME_RESULT, /* bytes to keep; waits for the answer */
    CQ_FRAME_DONE,   /* all tasks of the parcel */
} cq_frame_kind;

typedef struct cq_frame {
    int kind, status;
    uint32_t run;
    bool retry_asked, retry_counted;
    int64_t retry_in_ms;
    uint64_t len; /* bytes that follow */
} cq_frame;

#endif
