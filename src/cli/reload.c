/* SPDX-License-Identifier: MIT */
/* cli/reload.c - reading the configuration file again.
 *
 * A new file is tried as far as that goes without a store: its handlers and a server are
 * made, and thrown away. */
#include "cli/reload.h"

#include "base/log.h"
#include "cli/tasks.h"

#include <fcntl.h>
#include <unistd.h>

void cq_reload_read(const char *path, cq_buf *text)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    char *room;
    ssize_t got = 0;

    cq_buf_reset(text);
    do {
        text->len += (size_t)got;
        room = cq_buf_reserve(text, 4096);
        got = fd >= 0 && room ? read(fd, room, 4096) : 0;
    } while (got > 0);
    if (fd >= 0)
        close(fd);
}

static cronq_status try_tasks(const cronq_config *config, const cq_tasks *tasks,
                              const char *uri, const cronq_config_task **failed,
                              cronq_error *err)
{
    cronq_server_options options = *cronq_config_server_options(config);
    const char *of_file = cronq_config_uri(config);
    cronq_server *server = NULL;
    cronq_status status =
        cronq_server_new(of_file ? of_file : uri, &options, &server, err);

    if (!status)
        status = cq_tasks_add(tasks, config, server, failed, err);
    cronq_server_free(server);
    return status;
}

static bool try_config(const cronq_config *config, const char *path, const char *uri,
                       const char *cgroup, const cronq_logger *logger)
{
    const cronq_config_task *failed = NULL;
    cq_tasks tasks = { 0 };
    cronq_error err;
    cronq_status status = cq_tasks_make(config, cgroup, &tasks, &failed, &err);

    if (!status)
        status = try_tasks(config, &tasks, uri, &failed, &err);
    cq_tasks_release(&tasks);
    if (status && failed)
        CQ_ERROR(logger, "reload: %.200s:%zu:%zu: %s", path, failed->line, failed->column,
                 err.text);
    else if (status)
        CQ_ERROR(logger, "reload: %.200s: %s", path, err.text);
    return !status;
}

bool cq_reload_check(const char *path, const char *uri, const char *cgroup,
                     const cronq_logger *logger)
{
    cronq_config *config = NULL;
    cronq_error err;
    bool is_good;

    if (cronq_config_new(&config, &err)) {
        CQ_ERROR(logger, "reload: %s", err.text);
        return false;
    }
    is_good = !cronq_config_load(config, path, &err);
    for (size_t i = 0; i < cronq_config_warning_count(config); i++)
        CQ_WARN(logger, "reload: %s", cronq_config_warning_at(config, i));
    for (size_t i = 0; i < cronq_config_error_count(config); i++)
        CQ_ERROR(logger, "reload: %s", cronq_config_error_at(config, i));
    if (!is_good && cronq_config_error_count(config) == 0)
        CQ_ERROR(logger, "reload: %s", err.text);
    is_good = is_good && try_config(config, path, uri, cgroup, logger);
    cronq_config_free(config);
    return is_good;
}
