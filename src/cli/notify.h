/* SPDX-License-Identifier: MIT */
/* cli/notify.h - telling systemd how a service is doing (sd_notify(3)). */
#ifndef CQ_CLI_NOTIFY_H
#define CQ_CLI_NOTIFY_H

#include <cronq/server.h>
#include <pthread.h>
#include <stdatomic.h>

/* Lines as "READY=1" to NOTIFY_SOCKET; nothing when there is none, or nobody listens. */
void cq_notify(const char *lines);

/* A thread that says READY=1 once the server works, WATCHDOG=1 as long as its engine goes
 * round, and STOPPING=1 when it stops. */
typedef struct cq_herald {
    cronq_server *server;
    const cronq_logger *logger;
    int64_t watchdog_ms; /* 0: nobody waits for it */
    pthread_t thread;
    bool runs;
    atomic_bool over;
    const atomic_bool *is_reload; /* a stop is none of the service */
} cq_herald;

/* Does nothing without a NOTIFY_SOCKET. What it is given is borrowed until the stop. */
cronq_status cq_herald_start(cq_herald *herald, cronq_server *server,
                             const atomic_bool *is_reload, const cronq_logger *logger,
                             cronq_error *err);
void cq_herald_stop(cq_herald *herald); /* not started: fine */

#endif
