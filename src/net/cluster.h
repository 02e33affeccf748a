/* SPDX-License-Identifier: MIT */
/* net/cluster.h - which node of a Redis Cluster has which slots, and a pool for each.
 *
 * Invariants: a node that was once known keeps its pool until the cluster is freed, so
 * that a pool can be used without a lock; the map is a belief, which redirections correct
 * at once and an answer to CLUSTER SLOTS replaces as a whole. Any thread may call. */
#ifndef CQ_NET_CLUSTER_H
#define CQ_NET_CLUSTER_H

#include "net/pool.h"

#define CQ_SLOTS 16384

typedef struct cq_cluster cq_cluster;

/* The slot of a key: of what is between its first '{' and the next '}' when that is not
 * empty. */
uint16_t cq_key_slot(cq_str key);

/* endpoint (CQ_TOPOLOGY_CLUSTER) is copied; the rest is for the pools. Connects to
 * nothing yet. */
cronq_status cq_cluster_new(const cq_endpoint *endpoint, const cronq_logger *logger,
                            cq_prepare_fn *prepare, void *arg, cq_cluster **out,
                            cronq_error *err);
void cq_cluster_free(cq_cluster *cluster); /* NULL is fine */

/* The pool of the node that has the slot. EIO when nobody tells. Reads the map when it is
 * missing or doubted, which is not done more often than a few times a second. */
cronq_status cq_cluster_pool(cq_cluster *cluster, uint16_t slot, cq_pool **out,
                             cronq_error *err);

/* The pools of all nodes that have slots, at most limit. The same failures. */
cronq_status cq_cluster_pools(cq_cluster *cluster, size_t limit, cq_pool **pools,
                              size_t *count, cronq_error *err);

typedef enum cq_redirect {
    CQ_REDIRECT_NONE,
    CQ_REDIRECT_MOVED, /* the map has been corrected: send it again by the map */
    CQ_REDIRECT_ASK,   /* this one command is for another node, after ASKING */
    CQ_REDIRECT_LATER, /* the slot or the cluster is in between: try again later */
} cq_redirect;

/* What an error reply says about where to go; nothing of the command was executed then.
 * With ASK, *to is the pool to go to. */
cq_redirect cq_cluster_redirect(cq_cluster *cluster, const cq_reply *reply, cq_pool **to);

/* A node did not answer: have the map read again. */
void cq_cluster_doubt(cq_cluster *cluster);

#endif
