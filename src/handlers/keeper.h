/* SPDX-License-Identifier: MIT */
/* handlers/keeper.h - the process between the worker and a command.
 *
 * It is the subreaper of everything that the command starts: what the command leaves
 * behind, in whatever session, is a descendant of its keeper until it is dead. It ends
 * after all of them, and it outlives the worker for as long as that takes. */
#ifndef CQ_HANDLERS_KEEPER_H
#define CQ_HANDLERS_KEEPER_H

#include "handlers/process.h"

/* Orders, a byte each. The end of the file is the death of the worker: as KILL. */
#define CQ_KEEPER_TERM 'T'
#define CQ_KEEPER_KILL 'K'

typedef enum cq_report_kind {
    CQ_REPORT_NOT_STARTED = 1, /* value: errno; stage */
    CQ_REPORT_ENDED            /* value: the status of wait(2) */
} cq_report_kind;

typedef enum cq_stage {
    CQ_STAGE_SESSION,
    CQ_STAGE_CGROUP,
    CQ_STAGE_LIMITS,
    CQ_STAGE_USER,
    CQ_STAGE_DIR,
    CQ_STAGE_EXEC
} cq_stage;

typedef struct cq_report {
    int kind, stage, value;
    int has_survivors;
} cq_report;

typedef struct cq_keeper {
    const cq_process_request *request;
    pid_t worker;
    int files[3]; /* of the command */
    int control, report;
    int cgroup_join, cgroup_kill; /* -1: none */
} cq_keeper;

/* In the child of a _Fork of a process with threads, all signals blocked: nothing but
 * system calls is allowed. */
_Noreturn void cq_keeper_run(cq_keeper *keeper);

/* Below it: become the command. */
_Noreturn void cq_become(const cq_keeper *keeper, pid_t parent);

#endif
