/* SPDX-License-Identifier: MIT */
/* support/sentinel.h - a master, two replicas and three sentinels of a test's own. */
#ifndef CQ_TEST_SENTINEL_H
#define CQ_TEST_SENTINEL_H

#include "support/redis_server.h"

#include <stddef.h>

enum { SENTINEL_SERVERS = 3, SENTINELS = 3 };

typedef struct sentinel_group {
    redis_server *servers[SENTINEL_SERVERS]; /* the first is the master at the start */
    redis_server *sentinels[SENTINELS];
    char uri[160]; /* redis-sentinel://…?master=cronq */
} sentinel_group;

/* Returns when the replicas are in step and the sentinels know one another. A master that
 * does not answer for 500 ms is replaced. extra_config is of the servers; may be NULL. */
void sentinel_group_start(sentinel_group *group, const char *extra_config);
void sentinel_group_stop(sentinel_group *group);

/* The index of the server that the first sentinel calls the master. */
size_t sentinel_group_master(sentinel_group *group);

/* FLUSHALL. */
void sentinel_group_wipe(sentinel_group *group);

/* Kill the master, or ask for a failover; returns when the sentinels name another. */
void sentinel_group_kill_master(sentinel_group *group);
void sentinel_group_switch_master(sentinel_group *group);

/* Start again what was killed; returns when all replicas are in step. */
void sentinel_group_heal(sentinel_group *group);

#endif
