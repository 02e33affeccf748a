/* SPDX-License-Identifier: MIT */
/* cli/tasks.c - what a configuration file says is to be run, as handlers of a server. */
#include "cli/tasks.h"

#include "base/error.h"

#include <stdlib.h>

static cronq_status make(const cronq_config_task *task, const char *cgroup,
                         struct cq_work *work, cronq_error *err)
{
    cronq_command_options command;

    if (task->http)
        return cronq_http_new(task->http, &work->http, err);
    if (!task->command)
        return CRONQ_OK;
    command = *task->command;
    command.cgroup = cgroup;
    return cronq_command_new(&command, &work->command, err);
}

cronq_status cq_tasks_make(const cronq_config *config, const char *cgroup, cq_tasks *out,
                           const cronq_config_task **failed, cronq_error *err)
{
    cq_tasks tasks = { NULL, cronq_config_task_count(config) };
    cronq_status status = CRONQ_OK;

    *failed = NULL;
    tasks.works = calloc(tasks.count + 1, sizeof *tasks.works);
    if (!tasks.works)
        return cq_fail_nomem(err);
    for (size_t i = 0; !status && i < tasks.count; i++) {
        const cronq_config_task *task = cronq_config_task_at(config, i);

        status = make(task, cgroup, &tasks.works[i], err);
        if (status)
            *failed = task;
    }
    if (status)
        cq_tasks_release(&tasks);
    else
        *out = tasks;
    return status;
}

void cq_tasks_release(cq_tasks *tasks)
{
    for (size_t i = 0; i < tasks->count; i++) {
        cronq_command_free(tasks->works[i].command);
        cronq_http_free(tasks->works[i].http);
    }
    free(tasks->works);
    *tasks = (cq_tasks){ NULL, 0 };
}

static cronq_status add(const cronq_config_task *task, const struct cq_work *work,
                        cronq_server *server, cronq_error *err)
{
    cronq_handler *handler = NULL;
    void *arg = NULL;

    if (work->command) {
        handler = cronq_command_handle;
        arg = work->command;
    } else if (work->http) {
        handler = cronq_http_handle;
        arg = work->http;
    }
    if (task->cron_spec && !handler)
        return cronq_server_cron_add(server, task->cron_spec, task->pattern, NULL, NULL,
                                     task->entry, NULL, err);
    return cronq_server_add(server, task->pattern, handler, arg,
                            CRONQ_HANDLER_OPTIONS(.cron_spec = task->cron_spec,
                                                  .entry = task->entry,
                                                  .isolation = task->isolation),
                            err);
}

cronq_status cq_tasks_add(const cq_tasks *tasks, const cronq_config *config,
                          cronq_server *server, const cronq_config_task **failed,
                          cronq_error *err)
{
    for (size_t i = 0; i < tasks->count; i++) {
        const cronq_config_task *task = cronq_config_task_at(config, i);
        cronq_status status = add(task, &tasks->works[i], server, err);

        if (status) {
            *failed = task;
            return status;
        }
    }
    return CRONQ_OK;
}
