/* SPDX-License-Identifier: MIT */
/* cli/server.c - cronq server: run what a configuration file says.
 *
 * The parts are made in the order of the struct and freed in reverse: the server before
 * the commands that it runs and the log that it writes. SIGHUP is blocked before any
 * thread exists and taken by one thread, which opens the log files anew. */
#include "base/error.h"
#include "base/log.h"
#include "cli/cli.h"
#include "cli/load.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

typedef struct worker_parts {
    cronq_config *config;
    cronq_log_file *log;
    cronq_logger logger;
    cronq_command **commands; /* one a task of the file; NULL: it has none */
    size_t command_count;
    cronq_server *server;
    pthread_t reopener;
    bool reopener_runs;
    atomic_bool over;
} worker_parts;

static void *reopen_on_hangup(void *arg)
{
    worker_parts *worker = arg;
    cronq_error err;
    sigset_t hangup;
    int number;

    sigemptyset(&hangup);
    sigaddset(&hangup, SIGHUP);
    while (sigwait(&hangup, &number) == 0 && !atomic_load(&worker->over)) {
        if (cronq_log_file_reopen(worker->log, &err))
            CQ_ERROR(&worker->logger, "log files: %s", err.text);
        else
            CQ_INFO(&worker->logger, "log files opened anew");
    }
    return NULL;
}

static cronq_status start_reopener(worker_parts *worker, cronq_error *err)
{
    sigset_t hangup;
    int code;

    sigemptyset(&hangup);
    sigaddset(&hangup, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &hangup, NULL);
    code = pthread_create(&worker->reopener, NULL, reopen_on_hangup, worker);
    if (code)
        return cq_fail_errno(err, CRONQ_EIO, code, "cannot start a thread");
    worker->reopener_runs = true;
    return CRONQ_OK;
}

static void release(worker_parts *worker)
{
    cronq_server_free(worker->server);
    for (size_t i = 0; i < worker->command_count; i++)
        cronq_command_free(worker->commands[i]);
    free(worker->commands);
    if (worker->reopener_runs) {
        atomic_store(&worker->over, true);
        pthread_kill(worker->reopener, SIGHUP);
        pthread_join(worker->reopener, NULL);
    }
    cronq_log_file_free(worker->log);
    cronq_config_free(worker->config);
}

static cronq_status open_log(worker_parts *worker, cronq_error *err)
{
    cronq_status status =
        cronq_log_file_new(cronq_config_log_options(worker->config), &worker->log, err);

    if (status)
        return status;
    worker->logger = cronq_log_file_logger(worker->log);
    return start_reopener(worker, err);
}

/* -u, else the file, else CRONQ_URI. The credentials of the file belong to its store
 * only. */
static const char *choose_store(const cq_cli *cli, const worker_parts *worker,
                                cronq_store_options *store)
{
    const char *of_file = cronq_config_uri(worker->config);

    *store = *cronq_config_store_options(worker->config);
    if (of_file && !cq_cli_has(cli, "uri"))
        return of_file;
    store->username = NULL;
    store->password = NULL;
    store->db = 0;
    return cq_cli_uri(cli);
}

static cronq_status add_task(worker_parts *worker, size_t index, cronq_error *err)
{
    const cronq_config_task *task = cronq_config_task_at(worker->config, index);
    cronq_command **command = &worker->commands[index];
    cronq_handler *handler = task->command ? cronq_command_handle : NULL;

    if (task->command) {
        cronq_status status = cronq_command_new(task->command, command, err);

        if (status)
            return status;
    }
    if (task->cron_spec)
        return cronq_server_cron_add(worker->server, task->cron_spec, task->pattern,
                                     handler, *command, task->entry, NULL, err);
    return cronq_server_add(worker->server, task->pattern, handler, *command, NULL, err);
}

/* Where a task of the file does not fit, the file is to blame. */
static int add_tasks(const cq_cli *cli, worker_parts *worker, const char *path)
{
    size_t count = cronq_config_task_count(worker->config);
    cronq_error err;

    worker->commands = calloc(count + 1, sizeof *worker->commands);
    if (!worker->commands)
        return cq_cli_fail(cli, CQ_CLI_RUNTIME, "out of memory");
    worker->command_count = count;
    for (size_t i = 0; i < count; i++) {
        const cronq_config_task *task = cronq_config_task_at(worker->config, i);

        if (add_task(worker, i, &err))
            return cq_cli_fail(cli, CQ_CLI_CONFIG, "%.200s:%zu:%zu: %s", path, task->line,
                               task->column, err.text);
    }
    return CQ_CLI_OK;
}

/* A fault of what the file says is one of the configuration. */
static int report(const cq_cli *cli, const cronq_error *err)
{
    int code = cq_cli_report(cli, err);

    return code == CQ_CLI_USAGE ? CQ_CLI_CONFIG : code;
}

static int make(const cq_cli *cli, worker_parts *worker, const char *path)
{
    cronq_server_options options;
    cronq_store_options store;
    cronq_error err;
    const char *uri = choose_store(cli, worker, &store);

    if (!uri)
        return cq_cli_fail(cli, CQ_CLI_CONFIG,
                           "no store is named: give -u URI, WorkConf.Addr in %.200s, or "
                           "set CRONQ_URI",
                           path);
    if (open_log(worker, &err))
        return report(cli, &err);
    options = *cronq_config_server_options(worker->config);
    options.store = &store;
    options.logger = worker->logger;
    if (cronq_server_new(uri, &options, &worker->server, &err))
        return report(cli, &err);
    return add_tasks(cli, worker, path);
}

static int work(const cq_cli *cli, const worker_parts *worker)
{
    cronq_error err;
    cronq_status status;

    if (cq_cli_has(cli, "drain"))
        status = cronq_server_drain(worker->server, &err);
    else
        status = cronq_server_run(worker->server, &err);
    return status ? report(cli, &err) : CQ_CLI_OK;
}

static int run(cq_cli *cli)
{
    const char *path = cq_cli_text(cli, "file");
    worker_parts worker = { 0 };
    cronq_error err;
    int code;

    if (!path)
        return cq_cli_misuse(cli, "--file is missing");
    if (cronq_config_new(&worker.config, &err))
        return cq_cli_report(cli, &err);
    code = cq_cli_config_verdict(cli, worker.config,
                                 cronq_config_load(worker.config, path, &err), &err);
    if (!code)
        code = make(cli, &worker, path);
    if (!code)
        code = work(cli, &worker);
    release(&worker);
    return code;
}

static const cq_cli_option options[] = {
    { "file", 'f', "FILE", CQ_CLI_FILE, .help = "the configuration" },
    { "drain", 0, NULL, CQ_CLI_FLAG, .help = "end when the queues are empty" },
    { 0 },
};

const cq_cli_command cq_cli_server = {
    .name = "server",
    .summary = "Run the tasks and the schedule of a configuration file",
    .args = "-f FILE",
    .details = "SIGTERM and SIGINT end it: what runs may finish, within ShutdownTimeout. "
               "SIGTSTP: take\nno new tasks. SIGHUP: open the log files anew.",
    .options = options,
    .run = run,
};
