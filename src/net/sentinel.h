/* SPDX-License-Identifier: MIT */
/* net/sentinel.h - where the master is now, as sentinels tell it.
 *
 * Any sentinel that is known may be asked; each answer brings the others. A thread
 * listens to one of them and tells when the master moves. Any thread may call. */
#ifndef CQ_NET_SENTINEL_H
#define CQ_NET_SENTINEL_H

#include "net/conn.h"

typedef struct cq_sentinel cq_sentinel;

/* Called by the listening thread: the master is at host:port now. */
typedef void cq_moved_fn(void *arg, const char *host, uint16_t port);

/* endpoint (CQ_TOPOLOGY_SENTINEL) is copied. Connects to nothing yet. */
cronq_status cq_sentinel_new(const cq_endpoint *endpoint, const cronq_logger *logger,
                             cq_moved_fn *moved, void *arg, cq_sentinel **out,
                             cronq_error *err);
void cq_sentinel_free(cq_sentinel *sentinel); /* NULL is fine */

/* The endpoint of the master, to be released by the caller. EIO when no sentinel knows,
 * EAUTH when they refuse us. */
cronq_status cq_sentinel_find(cq_sentinel *sentinel, cq_endpoint *out, cronq_error *err);

/* Is what was found the master? EIO when not: an old master that came back, or one that
 * is being demoted. */
cronq_status cq_sentinel_check(cq_sentinel *sentinel, cq_conn *conn, cronq_error *err);

/* What was found is not there or not the master: ask again, another one first. */
void cq_sentinel_doubt(cq_sentinel *sentinel);

#endif
