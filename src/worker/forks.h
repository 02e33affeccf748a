/* SPDX-License-Identifier: MIT */
/* worker/forks.h - the fork server: a process of one thread, forked before the worker has
 * a second one, which forks the children and waits for them.
 *
 * It ends, and its children with it, when the worker's end of its socket is closed, by
 * whatever end the worker took. */
#ifndef CQ_WORKER_FORKS_H
#define CQ_WORKER_FORKS_H

#include "worker/wire.h"

/* What a new child does, on its end of the stream. It does not return. */
typedef void cq_child_fn(void *arg, uint32_t seat, int fd);

/* *fd is the worker's end. Fails with ESTATE in a process that has threads. */
cronq_status cq_forks_start(uint32_t seat_count, cq_child_fn *child, void *arg, int *fd,
                            pid_t *pid, cronq_error *err);
/* Closes *fd, waits until the server and all children are gone. */
void cq_forks_stop(int *fd, pid_t pid);

/* One packet each; false when the fork server is gone. *passed is a descriptor or -1. */
bool cq_forks_order(int fd, const cq_order *order);
bool cq_forks_hear(int fd, cq_news *news, int *passed);

#endif
