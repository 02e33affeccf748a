/* SPDX-License-Identifier: MIT */
/* http/internal.h - what the files of this folder share.
 *
 * The server's thread runs libmicrohttpd, which calls it back in that thread alone. What
 * may have to wait for the store is a job: its connection is suspended, the clerk's
 * thread makes the answer and resumes it, and the server's thread sends it. Connections
 * are in a list, oldest first, so that those which are over their time are found. */
#ifndef CQ_HTTP_INTERNAL_H
#define CQ_HTTP_INTERNAL_H

#include "base/thread.h"

#include <cronq/devserver.h>
#include <microhttpd.h>
#include <stdatomic.h>

#define CQ_PATH_LIMIT_BYTES 200

typedef enum cq_route {
    CQ_ROUTE_INDEX,
    CQ_ROUTE_HEALTH,
    CQ_ROUTE_READY,
    CQ_ROUTE_METRICS,
    CQ_ROUTE_COUNT,
} cq_route;

typedef struct cq_answer {
    unsigned code;
    const char *content_type; /* static */
    const char *allow;        /* or NULL */
    char *body;               /* malloc's */
    size_t len;
} cq_answer;

typedef struct cq_job {
    struct cq_job *next;
    struct MHD_Connection *connection;
    cq_route route;
    cronq_metrics_format format;
    cq_answer answer;
} cq_job;

typedef struct cq_peer {
    struct cq_peer *previous, *next;
    int fd;
    int64_t begun_ms;
    bool cut;
} cq_peer;

struct cronq_devserver {
    cronq_logger logger;
    char *paths[CQ_ROUTE_COUNT]; /* NULL: not served */
    char *health_response;
    cronq_metrics *metrics;
    uint32_t own_metrics;
    cronq_ready_fn *ready;
    void *ready_arg;

    int listen_fd;
    uint16_t port;
    struct MHD_Daemon *daemon;
    pthread_t thread, clerk;
    bool thread_runs, clerk_runs;
    cq_event news; /* for the server's thread: an answer is there, or it is to end */
    atomic_bool ending;
    cq_peer *oldest, *newest; /* the server's thread's */
    uint64_t came;            /* peers, ever */

    pthread_mutex_t mutex;
    pthread_cond_t more;
    cq_job *first, *last; /* under mutex: for the clerk */
    bool closed;          /* under mutex: the clerk leaves */
};

/* answer.c */
enum MHD_Result cq_http_access(void *server, struct MHD_Connection *connection,
                               const char *url, const char *method, const char *version,
                               const char *upload_data, size_t *upload_data_size,
                               void **context);
void cq_http_completed(void *server, struct MHD_Connection *connection, void **context,
                       enum MHD_RequestTerminationCode why);
void *cq_http_clerk(void *server);
/* After the clerk has left: what it did not come to. */
void cq_http_resume_rest(cronq_devserver *server);

#endif
