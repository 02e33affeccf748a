/* SPDX-License-Identifier: MIT */
/* cronq/devserver.h - /metrics, /healthz and /readyz over HTTP, as in go-zero.
 *
 * Part of libcronq-service. One thread serves all connections and never waits for the
 * store, a second one asks it. Answers only GET and HEAD without a body, one request a
 * connection, and ends every connection after 10 s, so that slow peers cost little. */
#ifndef CRONQ_DEVSERVER_H
#define CRONQ_DEVSERVER_H

#include "metrics.h"
#include "server.h"

CRONQ_BEGIN

/* Ready, or the reason in err. Called by the second thread, one at a time. */
typedef cronq_status cronq_ready_fn(void *arg, cronq_error *err);

typedef struct cronq_devserver_options {
    size_t struct_size; /* set by CRONQ_DEVSERVER_OPTIONS() */
    cronq_logger logger;
    const char *host;         /* default 127.0.0.1; an address, or a name that has one */
    int32_t port;             /* 0: 6060; -1: any that is free */
    const char *metrics_path; /* default /metrics */
    const char *health_path;  /* default /healthz */
    const char *health_response; /* default OK */
    cronq_metrics *metrics;      /* NULL: no such path. Borrowed until the free */
    cronq_ready_fn *ready;       /* /readyz; NULL: always ready */
    void *ready_arg;
    uint32_t connection_limit; /* at once; 0: 128, at most 10,000 */
    uint32_t address_limit;    /* of them from one address; 0: a quarter */
} cronq_devserver_options;

#define CRONQ_DEVSERVER_OPTIONS(...)                                                   \
    (&(const cronq_devserver_options){ .struct_size = sizeof(cronq_devserver_options), \
                                       __VA_ARGS__ })

typedef struct cronq_devserver cronq_devserver;

/* Listens and serves until the free. The options are borrowed for the call but for what
 * says otherwise. When metrics are given, those of the process (process_*) are added to
 * them. EINVAL; EIO when it cannot listen there. */
cronq_status cronq_devserver_new(const cronq_devserver_options *options,
                                 cronq_devserver **out, cronq_error *err) CRONQ_CHECKED;
void cronq_devserver_free(cronq_devserver *server); /* NULL is fine */

/* Where it listens. */
uint16_t cronq_devserver_port(const cronq_devserver *server);

CRONQ_END
#endif /* CRONQ_DEVSERVER_H */
