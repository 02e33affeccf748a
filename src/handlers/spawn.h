/* SPDX-License-Identifier: MIT */
/* handlers/spawn.h - start a program with pipes on its three descriptors. */
#ifndef CQ_HANDLERS_SPAWN_H
#define CQ_HANDLERS_SPAWN_H

#include "handlers/process.h"

#include <sys/types.h>

/* A program that runs, in a session and a process group of its own. The descriptors are
 * our ends of the pipes, do not block, and are -1 when closed. */
typedef struct cq_child {
    pid_t pid;
    int pid_fd; /* readable when it has ended; -1: the kernel has none */
    int input, output, errors;
} cq_child;

/* EIO when it can not be started; then nothing is left behind. */
cronq_status cq_spawn(const cq_process_request *request, cq_child *child,
                      cronq_error *err);

/* Close one of ours and remember it. */
void cq_close(int *fd);

#endif
