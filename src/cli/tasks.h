/* SPDX-License-Identifier: MIT */
/* cli/tasks.h - what a configuration file says is to be run, as handlers of a server. */
#ifndef CQ_CLI_TASKS_H
#define CQ_CLI_TASKS_H

#include <cronq/config.h>
#include <cronq/handlers.h>

/* Zero is empty. Lives as long as the server that has it. */
typedef struct cq_tasks {
    struct cq_work {
        cronq_command *command;
        cronq_http *http;
    } * works; /* one a task of the file */
    size_t count;
} cq_tasks;

/* Make all of them; cgroup is for commands, may be empty. On failure *failed is the task
 * that is to blame, NULL: none, and there is nothing to release. */
cronq_status cq_tasks_make(const cronq_config *config, const char *cgroup, cq_tasks *out,
                           const cronq_config_task **failed, cronq_error *err);
void cq_tasks_release(cq_tasks *tasks);

/* Give them, and the entries, to the server. */
cronq_status cq_tasks_add(const cq_tasks *tasks, const cronq_config *config,
                          cronq_server *server, const cronq_config_task **failed,
                          cronq_error *err);

#endif
