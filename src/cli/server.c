/* SPDX-License-Identifier: MIT */
/* cli/server.c - cronq server: run what a configuration file says.
 *
 * The parts are made in the order of the struct and freed in reverse, but for the signal
 * thread, which uses the server and goes first. The signals that it takes are blocked
 * before any other thread exists. Threads are made by begin, in the process that works: a
 * supervisor can be forked as long as there are none.
 *
 * SIGHUP: a good new file stops the server, and everything is made once more of it. What
 * says so is shared with processes that are forked, since those may be who work. */
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "cli/cli.h"
#include "cli/load.h"
#include "cli/notify.h"
#include "cli/reload.h"
#include "cli/tasks.h"
#include "cli/telemetry.h"
#include "cli/told.h"

#include <cronq/devserver.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define CGROUP_BYTES 4096
#define FILE_BYTES   ((size_t)2 << 20)
#define AGAIN        (-1) /* no exit code: with the new file */

typedef struct worker_parts {
    const char *path, *uri;
    atomic_bool *is_reload;
    cq_buf text; /* of the file */
    cronq_config *config;
    cronq_log_file *log;
    cronq_logger logger;
    cq_tasks tasks;
    char cgroup[CGROUP_BYTES]; /* for commands; empty: none */
    cronq_notice *notice;      /* NULL: nobody is told of archived tasks */
    cronq_metrics *metrics;    /* NULL: nobody asks for them */
    cronq_server *server;
    cronq_devserver *devserver;
    cq_telemetry telemetry;
    cq_herald herald;
    sigset_t signals; /* that the signal thread takes */
    pthread_t signal_thread;
    bool signal_thread_runs, is_drain;
    atomic_bool over;
} worker_parts;

static void open_log_anew(worker_parts *worker)
{
    cronq_error err;

    if (cronq_log_file_reopen(worker->log, &err))
        CQ_ERROR(&worker->logger, "log files: %s", err.text);
    else
        CQ_INFO(&worker->logger, "log files opened anew");
}

static bool is_changed(const worker_parts *worker)
{
    cq_buf now;
    bool changed;

    cq_buf_init(&now, FILE_BYTES);
    cq_reload_read(worker->path, &now);
    changed = !cq_str_eq(cq_buf_str(&now), cq_buf_str(&worker->text));
    cq_buf_release(&now);
    return changed;
}

static void reload(worker_parts *worker)
{
    char lines[80];

    if (!is_changed(worker)) {
        CQ_INFO(&worker->logger, "reload: %s has not changed", worker->path);
        return;
    }
    snprintf(lines, sizeof lines, "RELOADING=1\nMONOTONIC_USEC=%lld",
             (long long)(cq_mono_ns() / 1000));
    cq_notify(lines);
    if (!cq_reload_check(worker->path, worker->uri, worker->cgroup, &worker->logger)) {
        CQ_ERROR(&worker->logger, "reload: %s is wrong: the old configuration stays",
                 worker->path);
        cq_notify("READY=1\nSTATUS=Working; the new configuration is wrong");
        return;
    }
    CQ_INFO(&worker->logger, "reload: starting again with %s", worker->path);
    atomic_store(worker->is_reload, true);
    cronq_server_stop(worker->server, NULL);
}

/* A drain that is told to stop ends with ECANCELED, whatever stopping says. */
static void stop(worker_parts *worker)
{
    CQ_INFO(&worker->logger, "stopping");
    cronq_server_stop(worker->server, NULL);
}

static void *take_signals(void *arg)
{
    worker_parts *worker = arg;
    int number;

    while (sigwait(&worker->signals, &number) == 0 && !atomic_load(&worker->over)) {
        if (number != SIGHUP) {
            stop(worker);
            continue;
        }
        open_log_anew(worker);
        if (!worker->is_drain)
            reload(worker);
    }
    return NULL;
}

/* Those that cronq_server_run does not take, and without it also those that end it. */
static void block_signals(worker_parts *worker, bool drain)
{
    sigemptyset(&worker->signals);
    sigaddset(&worker->signals, SIGHUP);
    if (drain) {
        sigaddset(&worker->signals, SIGTERM);
        sigaddset(&worker->signals, SIGINT);
    }
    sigprocmask(SIG_BLOCK, &worker->signals, NULL);
}

static cronq_status start_signal_thread(worker_parts *worker, cronq_error *err)
{
    int code = pthread_create(&worker->signal_thread, NULL, take_signals, worker);

    if (code)
        return cq_fail_errno(err, CRONQ_EIO, code, "cannot start a thread");
    worker->signal_thread_runs = true;
    return CRONQ_OK;
}

static void release(worker_parts *worker)
{
    cq_herald_stop(&worker->herald);
    if (worker->signal_thread_runs) {
        atomic_store(&worker->over, true);
        pthread_kill(worker->signal_thread, SIGHUP);
        pthread_join(worker->signal_thread, NULL);
    }
    cronq_devserver_free(worker->devserver);
    cronq_server_free(worker->server);
    cronq_notice_free(worker->notice);
    cronq_metrics_free(worker->metrics);
    cq_telemetry_stop(&worker->telemetry);
    cq_tasks_release(&worker->tasks);
    cronq_log_file_free(worker->log);
    cronq_config_free(worker->config);
    cq_buf_release(&worker->text);
}

/* systemd names the stream that it reads by JOURNAL_STREAM=DEVICE:INODE. */
static bool is_journal(int fd)
{
    const char *stream = getenv("JOURNAL_STREAM");
    unsigned long long device, inode;
    struct stat st;

    return stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 &&
           fstat(fd, &st) == 0 && st.st_dev == device && st.st_ino == inode;
}

static cronq_status open_log(worker_parts *worker, cronq_error *err)
{
    cronq_log_file_options options = *cronq_config_log_options(worker->config);
    cronq_status status;

    options.level_prefix =
        options.mode == CRONQ_LOG_MODE_CONSOLE && is_journal(STDERR_FILENO);
    status = cronq_log_file_new(&options, &worker->log, err);
    if (status)
        return status;
    worker->logger = cronq_log_file_logger(worker->log);
    return CRONQ_OK;
}

static double read_dropped(void *log)
{
    return (double)cronq_log_file_dropped_count(log);
}

static cronq_status make_metrics(worker_parts *worker, cronq_error *err)
{
    cronq_status status;

    if (!cronq_config_has_metrics(worker->config))
        return CRONQ_OK;
    status = cronq_metrics_new(&worker->metrics, err);
    if (status)
        return status;
    return cronq_metrics_watch(worker->metrics, "cronq_log_lines_dropped_total",
                               "Log lines that could not be written.",
                               CRONQ_METRIC_COUNTER, read_dropped, worker->log, err);
}

static double read_spans_dropped(void *otlp)
{
    return (double)cronq_otlp_dropped_count(otlp);
}

static cronq_status start_telemetry(worker_parts *worker, cronq_error *err)
{
    cronq_status status = cq_telemetry_start(cronq_config_get_telemetry(worker->config),
                                             cronq_config_name(worker->config),
                                             &worker->logger, &worker->telemetry, err);

    if (status || !worker->metrics || !worker->telemetry.otlp)
        return status;
    return cronq_metrics_watch(worker->metrics, "cronq_spans_dropped_total",
                               "Spans that could not be exported.", CRONQ_METRIC_COUNTER,
                               read_spans_dropped, worker->telemetry.otlp, err);
}

static cronq_status is_ready(void *server, cronq_error *err)
{
    return cronq_server_ready(server, err);
}

static cronq_status start_devserver(worker_parts *worker, cronq_error *err)
{
    const cronq_devserver_options *of_file =
        cronq_config_devserver_options(worker->config);
    cronq_devserver_options options;

    if (!of_file)
        return CRONQ_OK;
    options = *of_file;
    options.logger = worker->logger;
    options.metrics = worker->metrics;
    options.ready = is_ready;
    options.ready_arg = worker->server;
    return cronq_devserver_new(&options, &worker->devserver, err);
}

/* -u, else the file, else CRONQ_URI, else the state directory. The credentials of the
 * file belong to its store only. */
static const char *choose_store(const cq_cli *cli, const worker_parts *worker,
                                cronq_store_options *store)
{
    const char *of_file = cronq_config_uri(worker->config);

    *store = *cronq_config_store_options(worker->config);
    if (of_file && !cq_cli_has(cli, "uri"))
        return cq_cli_prepare(cli, of_file);
    store->username = NULL;
    store->password = NULL;
    store->db = 0;
    return cq_cli_need_uri(cli);
}

/* Without one, commands have the limits that need none. */
static void find_cgroup(worker_parts *worker)
{
    cronq_error err;
    cronq_status status =
        cronq_command_cgroup(worker->cgroup, sizeof worker->cgroup, &err);

    if (status && status != CRONQ_ENOENT)
        CQ_WARN(&worker->logger, "commands get no cgroups: %s", err.text);
}

/* Where a task of the file does not fit, the file is to blame. */
static int add_tasks(const cq_cli *cli, worker_parts *worker, const char *path)
{
    const cronq_config_task *failed = NULL;
    cronq_error err;
    cronq_status status;

    find_cgroup(worker);
    status = cq_tasks_make(worker->config, worker->cgroup, &worker->tasks, &failed, &err);
    if (!status)
        status =
            cq_tasks_add(&worker->tasks, worker->config, worker->server, &failed, &err);
    if (status && failed)
        return cq_cli_fail(cli, CQ_CLI_CONFIG, "%.200s:%zu:%zu: %s", path, failed->line,
                           failed->column, err.text);
    return status ? cq_cli_report(cli, &err) : CQ_CLI_OK;
}

/* A fault of what the file says is one of the configuration. */
static int report(const cq_cli *cli, const cronq_error *err)
{
    int code = cq_cli_report(cli, err);

    return code == CQ_CLI_USAGE ? CQ_CLI_CONFIG : code;
}

static cronq_status make_notice(worker_parts *worker, cronq_error *err)
{
    const cronq_command_options *command = cronq_config_notice_command(worker->config);
    const cronq_http_options *http = cronq_config_notice_http(worker->config);

    if (!command && !http)
        return CRONQ_OK;
    return cronq_notice_new(command, http, &worker->notice, err);
}

/* In the process that works: what must not be there before a fork. */
static cronq_status begin(void *arg, cronq_error *err)
{
    worker_parts *worker = arg;
    cronq_status status = start_signal_thread(worker, err);

    if (!status)
        status = start_devserver(worker, err);
    return status ? status
                  : cq_herald_start(&worker->herald, worker->server, worker->is_reload,
                                    &worker->logger, err);
}

/* Under a supervisor this process ends right after. */
static void end(void *arg)
{
    worker_parts *worker = arg;

    cq_herald_stop(&worker->herald);
    cronq_devserver_free(worker->devserver);
    worker->devserver = NULL;
    cq_telemetry_stop(&worker->telemetry);
    worker->telemetry = (cq_telemetry){ 0 };
}

static int make(const cq_cli *cli, worker_parts *worker, const char *path)
{
    cronq_server_options options;
    cronq_store_options store;
    cronq_error err;
    const char *uri = choose_store(cli, worker, &store);

    if (!uri)
        return CQ_CLI_CONFIG;
    worker->uri = uri;
    worker->is_drain = cq_cli_has(cli, "drain");
    if (open_log(worker, &err) || make_metrics(worker, &err) ||
        start_telemetry(worker, &err))
        return report(cli, &err);
    options = *cronq_config_server_options(worker->config);
    if (make_notice(worker, &err))
        return report(cli, &err);
    options.on_archive = worker->notice ? cronq_notice_send : NULL;
    options.on_archive_arg = worker->notice;
    options.store = &store;
    options.logger = worker->logger;
    options.metrics = worker->metrics;
    options.tracer = worker->telemetry.tracer;
    options.on_begin = begin;
    options.on_end = end;
    options.on_begin_arg = worker;
    block_signals(worker, worker->is_drain);
    if (cronq_server_new(uri, &options, &worker->server, &err))
        return report(cli, &err);
    return add_tasks(cli, worker, path);
}

static int work(const cq_cli *cli, worker_parts *worker)
{
    cronq_error err;
    cronq_status status;

    CQ_INFO(&worker->logger, "%s: process %ld of cronq %s works on %zu kinds of tasks",
            cronq_config_name(worker->config), (long)getpid(), cronq_version_string(),
            worker->tasks.count);
    if (worker->is_drain)
        status = cronq_server_drain(worker->server, &err);
    else
        status = cronq_server_run(worker->server, &err);
    /* Also when the stop came before the start. */
    if (status && atomic_load(worker->is_reload))
        return AGAIN;
    return status ? report(cli, &err) : CQ_CLI_OK;
}

/* From the file to the end of the work. */
static int run_file(const cq_cli *cli, const char *path, atomic_bool *is_reload)
{
    worker_parts worker = { .path = path, .is_reload = is_reload };
    cronq_error err;
    int code;

    atomic_store(is_reload, false);
    cq_buf_init(&worker.text, FILE_BYTES);
    if (cronq_config_new(&worker.config, &err))
        return cq_cli_report(cli, &err);
    cq_reload_read(path, &worker.text);
    code = cq_cli_config_verdict(cli, worker.config,
                                 cronq_config_load(worker.config, path, &err), &err);
    if (!code)
        code = make(cli, &worker, path);
    if (!code)
        code = work(cli, &worker);
    release(&worker);
    return code;
}

static int run(cq_cli *cli)
{
    const char *path = cq_cli_text(cli, "file");
    atomic_bool *is_reload;
    sigset_t hang_up;
    int code;

    if (!path)
        return cq_cli_misuse(cli, "--file is missing");
    is_reload = mmap(NULL, sizeof *is_reload, PROT_READ | PROT_WRITE,
                     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (is_reload == MAP_FAILED)
        return cq_cli_fail(cli, CQ_CLI_RUNTIME, "out of memory");
    /* From the start: it would end the process. */
    sigemptyset(&hang_up);
    sigaddset(&hang_up, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &hang_up, NULL);
    do
        code = run_file(cli, path, is_reload);
    while (code == AGAIN);
    munmap(is_reload, sizeof *is_reload);
    return code;
}

static const cq_cli_option options[] = {
    { "file", 'f', "FILE", CQ_CLI_FILE, .help = "the configuration" },
    { "drain", 0, NULL, CQ_CLI_FLAG, .help = "end when the queues are empty" },
    { 0 },
};

static const cq_cli_command *const verbs[] = { &cq_cli_server_list, NULL };

const cq_cli_command cq_cli_server = {
    .name = "server",
    .summary = "Run the tasks and the schedule of a configuration file",
    .args = "-f FILE",
    .details =
        "SIGTERM and SIGINT end it: what runs may finish, within ShutdownTimeout; "
        "a second\none does not wait for them. SIGTSTP: take no new tasks. SIGHUP: "
        "open the log files\nanew, and read FILE again when it has changed.",
    .options = options,
    .run = run,
    .verbs = verbs,
};
