/* SPDX-License-Identifier: MIT */
/* handlers/spawn.h - start a program with pipes on its three descriptors, below a keeper.
 */
#ifndef CQ_HANDLERS_SPAWN_H
#define CQ_HANDLERS_SPAWN_H

#include "handlers/keeper.h"

/* A program that runs. The descriptors are our ends of the pipes, do not block, and are
 * -1 when closed. */
typedef struct cq_child {
    pid_t keeper; /* our child, whose child it is */
    int report;   /* readable: how it ended, a cq_report */
    int control;  /* writable: CQ_KEEPER_TERM, CQ_KEEPER_KILL; closed: as KILL */
    int input, output, errors;
} cq_child;

/* EIO when there is no keeper; then nothing is left behind. */
cronq_status cq_spawn(const cq_process_request *request, cq_child *child,
                      cronq_error *err);

/* What a report says of a start that failed. */
cronq_status cq_spawn_fail(const cq_process_request *request, const cq_report *report,
                           cronq_error *err);

/* Close one of ours and remember it. */
void cq_close(int *fd);

#endif
