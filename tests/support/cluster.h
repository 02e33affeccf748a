/* SPDX-License-Identifier: MIT */
/* support/cluster.h - a Redis Cluster of a test's own: three masters with a replica each.
 */
#ifndef CQ_TEST_CLUSTER_H
#define CQ_TEST_CLUSTER_H

#include "support/redis_server.h"

#include <stdbool.h>
#include <stddef.h>

enum { CLUSTER_MASTERS = 3, CLUSTER_NODES = 6 };

typedef struct cluster_group {
    redis_server *nodes[CLUSTER_NODES]; /* masters first; i + 3 is the replica of i */
    char ids[CLUSTER_NODES][41];
    char uri[128]; /* redis-cluster://… with two of the masters */
} cluster_group;

/* Returns when all nodes agree that all slots are served. A node that does not answer for
 * a second is replaced. */
void cluster_group_start(cluster_group *group);
void cluster_group_stop(cluster_group *group);
void cluster_group_wipe(cluster_group *group); /* FLUSHALL on all masters */

/* The index of the node that serves the slot of a key now. */
size_t cluster_group_owner(cluster_group *group, const char *key);

/* Move the slot of a key with all that is in it to another master; for hold_ms it is half
 * moved. Returns the number of keys that were moved. */
size_t cluster_group_move(cluster_group *group, const char *key, size_t to, int hold_ms);

/* Kill the node that serves the slot of a key; returns when another serves it. */
void cluster_group_kill_owner(cluster_group *group, const char *key);

#endif
