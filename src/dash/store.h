/* SPDX-License-Identifier: MIT */
/* dash/store.h - what the view shows, looked up by a thread of its own.
 *
 * The thread looks once an interval, and at once when asked for something else, so that a
 * store that is slow or lost never keeps the terminal waiting. It looks only at what is
 * on the screen: a page of tasks, the queues between two lines. */
#ifndef CQ_DASH_STORE_H
#define CQ_DASH_STORE_H

#include "base/buf.h"

#include <cronq/inspector.h>

#define CQ_DASH_SAMPLES    60  /* of each rate */
#define CQ_DASH_ROWS_LIMIT 200 /* of a page */

typedef enum cq_dash_page {
    CQ_DASH_QUEUES,
    CQ_DASH_TASKS,
    CQ_DASH_TASK,
    CQ_DASH_SERVERS,
    CQ_DASH_CRON,
} cq_dash_page;

/* What is to be looked at. */
typedef struct cq_dash_ask {
    cq_dash_page page;
    char queue[201]; /* of TASKS and TASK */
    cronq_state state;
    char id[1025];
    size_t offset, limit; /* of QUEUES and TASKS */
} cq_dash_ask;

typedef struct cq_dash_queue {
    cronq_queue_info info;
    double processed[CQ_DASH_SAMPLES],
        failed[CQ_DASH_SAMPLES]; /* a second; oldest first */
    size_t sample_count;
} cq_dash_queue;

/* A server, or a task that the server above it runs. */
typedef struct cq_dash_server_row {
    const cronq_server_info *server;
    const cronq_worker_info *worker; /* NULL: the row is of the server */
} cq_dash_server_row;

/* What was found. Only the parts that its ask is about are there. */
typedef struct cq_dash_picture {
    cq_dash_ask ask;
    int64_t at_ms; /* of this machine's clock */
    size_t total;  /* queues, or tasks of the state */
    cq_dash_queue *queues;
    size_t queue_count;
    cronq_queue_info queue; /* of TASKS */
    cronq_task_info **tasks;
    size_t task_count;
    cronq_task_info *task;
    cronq_server_info *servers;
    cronq_worker_info *workers;
    cq_dash_server_row *server_rows;
    size_t server_count, worker_count, server_row_count;
    cronq_entry_info *entries;
    size_t entry_count;
} cq_dash_picture;

void cq_dash_picture_free(cq_dash_picture *picture); /* NULL is fine */

typedef enum cq_dash_verb {
    CQ_DASH_NOTHING,
    CQ_DASH_PAUSE,
    CQ_DASH_RESUME,
    CQ_DASH_RUN,
    CQ_DASH_ARCHIVE,
    CQ_DASH_CANCEL,
    CQ_DASH_DELETE,
} cq_dash_verb;

typedef struct cq_dash_action {
    cq_dash_verb verb;
    char queue[201], id[1025]; /* id: of verbs about a task */
} cq_dash_action;

/* "pause", …, and "paused". */
const char *cq_dash_verb_name(cq_dash_verb verb);

typedef struct cq_dash_news {
    cq_dash_picture *picture; /* the newest; NULL: none since the last call */
    int64_t failing_since_ms; /* of the monotonic clock; 0: the store answers */
    cronq_error failure;
    bool is_action_over;
    cq_dash_action action;
    cronq_error outcome; /* of the action; code CRONQ_OK */
} cq_dash_news;

typedef struct cq_dash_store cq_dash_store;

cronq_status cq_dash_store_new(const char *uri, int64_t interval_ms, cq_dash_store **out,
                               cronq_error *err);
void cq_dash_store_free(cq_dash_store *store); /* NULL is fine */

int cq_dash_store_fd(const cq_dash_store *store); /* readable: there are news */
void cq_dash_store_news(cq_dash_store *store, cq_dash_news *out);
void cq_dash_store_ask(cq_dash_store *store, const cq_dash_ask *ask);
/* False while another one is under way. */
bool cq_dash_store_act(cq_dash_store *store, const cq_dash_action *action);

#endif
