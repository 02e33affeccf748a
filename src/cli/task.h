/* SPDX-License-Identifier: MIT */
/* cli/task.h - the verbs of cronq task that are in files of their own. */
#ifndef CQ_CLI_TASK_H
#define CQ_CLI_TASK_H

#include "cli/look.h"

#include <cronq/client.h>

/* What a verb does with tasks. */
typedef struct cq_cli_act {
    const char *verb, *done; /* "delete", "deleted" */
    bool asks;               /* it destroys: leave is needed */
    const cronq_state
        *states; /* of --all, and of a filter that names none; ends with 0 */
    cronq_status (*one)(void *arg, cronq_inspector *inspector, const char *queue,
                        const char *id, cronq_error *err);
    /* All of a state that fit; EINVAL for a state that it can not be done to. NULL: one
     * by one. */
    cronq_status (*all)(void *arg, cronq_inspector *inspector, const char *queue,
                        cronq_state state, const cronq_bulk_options *options,
                        uint64_t *done, cronq_error *err);
} cq_cli_act;

/* Does it to the ids that are named, or to all that fit the options. Prints how many, as
 * JSON {"queue", "action", "done"}. */
int cq_cli_act_run(cq_cli *cli, cronq_inspector *inspector, const cq_cli_act *act,
                   void *arg);

/* What it prints. */
void cq_cli_act_result(const cq_cli *cli, const char *queue, const char *verb,
                       const char *done, uint64_t count, cq_buf *out);

/* One by one: to each task that fits and is in one of the states, which end with 0. All
 * are listed first: what it moves to another of the states is not met again there. */
cronq_status cq_cli_act_each(const cq_cli_act *act, void *arg, cronq_inspector *inspector,
                             const char *queue, const cronq_state *states,
                             const cronq_bulk_options *options, uint64_t *done,
                             cronq_error *err);

/* The rows of a verb that takes ids or a filter. */
/* clang-format off */
#define CQ_CLI_ACT_ROWS \
    CQ_CLI_FILTER_ROWS, \
    { "all", 'a', NULL, CQ_CLI_FLAG, .help = "all tasks of the queue that this can be done to" }
/* clang-format on */

extern const cq_cli_command cq_cli_task_archive;
extern const cq_cli_command cq_cli_task_cancel;
extern const cq_cli_command cq_cli_task_delete;
extern const cq_cli_command cq_cli_task_reschedule;
extern const cq_cli_command cq_cli_task_run;
extern const cq_cli_command cq_cli_task_update;

#endif
