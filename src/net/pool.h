/* SPDX-License-Identifier: MIT */
/* net/pool.h - connections to one server, wherever it is now, shared by threads.
 *
 * Invariants: at most pool_size connections exist; one that was taken is the taker's
 * alone until it is given back; a broken one is closed when given back, and with it those
 * that are idle. After failed dials a new one is tried only when a delay is over that
 * grows to 5 s, with jitter: takers meanwhile get the last error at once. A change
 * between reachable and not is logged once. */
#ifndef CQ_NET_POOL_H
#define CQ_NET_POOL_H

#include "net/conn.h"

typedef struct cq_pool cq_pool;

/* endpoint is copied. prepare, when not NULL, is called on each new connection. */
typedef cronq_status cq_prepare_fn(cq_conn *conn, void *arg, cronq_error *err);

cronq_status cq_pool_new(const cq_endpoint *endpoint, const cronq_logger *logger,
                         cq_prepare_fn *prepare, void *arg, cq_pool **out,
                         cronq_error *err);
void cq_pool_free(cq_pool *pool); /* all connections must have been given back */

/* Waits for one to be given back when pool_size are taken, at most the read timeout. Idle
 * connections that the server has closed are noticed and replaced. */
cronq_status cq_pool_take(cq_pool *pool, cq_conn **out, cronq_error *err);
void cq_pool_give(cq_pool *pool, cq_conn *conn);

/* Changes with each new connection of the pool, and differs from any other pool's: as
 * long as it is the same, takers talk to the server that they talked to before. */
uint64_t cq_pool_epoch(cq_pool *pool);

/* A connection beyond pool_size, never shared: for those that block or subscribe. The
 * caller frees it. Same delays after failures. */
cronq_status cq_pool_dial(cq_pool *pool, cq_conn **out, cronq_error *err);

#endif
