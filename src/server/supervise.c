/* SPDX-License-Identifier: MIT */
/* supervise.c - a process that works, and one that starts it again.
 *
 * The supervisor has one thread and never opens a store. It forks the worker; when that
 * dies, it ends whatever processes the worker left behind, and then forks two more: a
 * mourner, which archives the culprits and gives back the rest of what the dead worker
 * had in hand, and the next worker, which does not wait for it. */
#include "base/clock.h"
#include "base/connected.h"
#include "base/error.h"
#include "base/log.h"
#include "base/thread.h"
#include "obs/metrics.h"
#include "obs/span.h"
#include "server/server.h"
#include "worker/mourn.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define REPORT_LIMIT     64
#define MOURNER_LIMIT    16
#define SPARED_LIMIT     64
#define QUICK_RESTARTS   3 /* a minute; then each waits longer */
#define QUICK_WITHIN_NS  (60 * CQ_NS_PER_S)
#define BACK_OFF_LIMIT   30                /* times the first delay */
#define LAST_PATIENCE_NS (2 * CQ_NS_PER_S) /* beyond the shutdown timeout */
#define BURY_ROUND_MS    5
#define ASK_WORKER_MS    100 /* without a pidfd */
#define ORPHANS_ROUNDS   400
#define ORPHANS_ROUND_MS 5

typedef struct supervisor {
    cronq_server *server;
    cq_ledger ledger;
    sigset_t before, taken;
    int signal_fd, report_fd, worker_fd; /* worker_fd: a pidfd */
    pid_t worker;
    cq_report reports[REPORT_LIMIT];
    size_t report_count;
    bool reported, stopping;
    int64_t kill_at_ns;
    int64_t restarted_ns[QUICK_RESTARTS]; /* oldest first */
    int delay_factor;
    pid_t mourners[MOURNER_LIMIT];
    int64_t mourn_until_ns[MOURNER_LIMIT]; /* one that lives then hangs at the store */
    pid_t spared[SPARED_LIMIT];            /* children that were there before */
    size_t spared_count;
} supervisor;

static const cronq_logger *logger_of(const supervisor *s)
{
    return &s->server->options.logger;
}

/* ---- may this process be forked? ---- */

static bool is_open_as(const char *entry, const struct stat *file)
{
    char path[64];
    struct stat open;

    snprintf(path, sizeof path, "/proc/self/fd/%.20s", entry);
    return stat(path, &open) == 0 && open.st_dev == file->st_dev &&
           open.st_ino == file->st_ino;
}

/* Whoever closes a descriptor of the file drops all locks that the process has on it. */
static bool has_open(const char *path)
{
    DIR *fds = opendir("/proc/self/fd");
    struct stat file;
    bool found = false;

    if (fds && stat(path, &file) == 0)
        for (struct dirent *entry; !found && (entry = readdir(fds));)
            found = is_open_as(entry->d_name, &file);
    if (fds)
        closedir(fds);
    return found;
}

static cronq_status check_alone(const cronq_server *server, cronq_error *err)
{
    size_t threads = cq_thread_count();
    int connected = cq_connected_count();
    const cq_broker *broker = server->broker;

    if (server->state != CQ_SERVER_NEW)
        return cq_fail(err, CRONQ_ESTATE, "supervise: the server was started before");
    if (threads > 1)
        return cq_fail(err, CRONQ_ESTATE,
                       "supervise: the process has %zu threads and cannot be forked; "
                       "start the others in on_begin",
                       threads);
    if (connected > 0)
        return cq_fail(err, CRONQ_ESTATE,
                       "supervise: the process has %d connections to stores and cannot "
                       "be forked; close them, or open them in on_begin",
                       connected);
    if (broker->is_private)
        return cq_fail(err, CRONQ_ESTATE,
                       "supervise: a store in memory ends with the process that works");
    if (broker->file && has_open(broker->file))
        return cq_fail(err, CRONQ_ESTATE,
                       "supervise: the process has %s open and cannot be forked",
                       broker->file);
    return CRONQ_OK;
}

/* ---- children of this process ---- */

static size_t list_children(pid_t *out, size_t room)
{
    char path[64];
    FILE *file;
    size_t count = 0;
    int pid;

    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    file = fopen(path, "re");
    while (file && count < room && fscanf(file, "%d", &pid) == 1)
        out[count++] = pid;
    if (file)
        fclose(file);
    return count;
}

static bool is_among(pid_t pid, const pid_t *pids, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (pids[i] == pid)
            return true;
    return false;
}

/* What the worker left behind came to us: no handler may run on when its task is given
 * back. */
static void end_orphans(supervisor *s)
{
    for (int round = 0; round < ORPHANS_ROUNDS; round++) {
        pid_t pids[SPARED_LIMIT * 4];
        size_t count = list_children(pids, sizeof pids / sizeof pids[0]), orphans = 0;

        for (size_t i = 0; i < count; i++) {
            if (is_among(pids[i], s->spared, s->spared_count) ||
                is_among(pids[i], s->mourners, MOURNER_LIMIT))
                continue;
            orphans++;
            kill(pids[i], SIGKILL);
            waitpid(pids[i], NULL, WNOHANG);
        }
        if (orphans == 0)
            return;
        cq_sleep_ms(ORPHANS_ROUND_MS);
    }
    CQ_ERROR(logger_of(s), "processes of the dead worker do not end");
}

/* ---- the worker ---- */

static void work(supervisor *s, int report_fd, pid_t supervisor_pid)
{
    cq_ledger_shared *shared = s->ledger.shared;
    cq_supervision supervision = { &s->ledger, report_fd };
    cronq_error err = { CRONQ_OK, "" };

    setpgid(0, 0);
    prctl(PR_SET_CHILD_SUBREAPER, 0);
    if (prctl(PR_SET_PDEATHSIG, SIGTERM) != 0 || getppid() != supervisor_pid)
        _exit(EXIT_FAILURE);
    close(s->signal_fd);
    sigprocmask(SIG_SETMASK, &s->before, NULL);
    if (s->server->options.tracer)
        cq_tracer_reseed(s->server->options.tracer);
    s->server->supervision = &supervision;
    err.code = cq_server_run_here(s->server, &err);
    shared->final = err;
    atomic_store(&shared->over, true);
    fflush(NULL);
    _exit(EXIT_SUCCESS);
}

static cronq_status start_worker(supervisor *s, cronq_error *err)
{
    pid_t self = getpid();
    int ends[2];

    cq_ledger_clear(&s->ledger);
    s->report_count = 0;
    s->reported = false;
    s->kill_at_ns = INT64_MAX;
    if (pipe2(ends, O_CLOEXEC) != 0)
        return cq_fail_errno(err, CRONQ_EIO, errno, "cannot open a pipe");
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    s->worker = fork();
    if (s->worker == 0) {
        close(ends[0]);
        work(s, ends[1], self);
    }
    close(ends[1]);
    s->report_fd = ends[0];
    if (s->worker < 0) {
        close(ends[0]);
        return cq_fail_errno(err, CRONQ_EIO, errno, "cannot fork a worker");
    }
    s->worker_fd = pidfd_open(s->worker, 0); /* -1: it is asked now and then */
    return CRONQ_OK;
}

/* ---- watching it ---- */

static void take_report(supervisor *s, const cq_report *report)
{
    for (size_t i = 0; i < s->report_count; i++)
        if (s->reports[i].row == report->row) {
            s->reports[i] = *report; /* now with its frames */
            return;
        }
    if (s->report_count < REPORT_LIMIT)
        s->reports[s->report_count++] = *report;
}

static void read_reports(supervisor *s)
{
    cq_report report;

    while (read(s->report_fd, &report, sizeof report) == sizeof report) {
        if (report.row > s->ledger.row_count)
            continue;
        if (!s->reported)
            s->kill_at_ns = cq_mono_ns() + LAST_PATIENCE_NS +
                            s->server->options.shutdown_timeout_ms * CQ_NS_PER_MS;
        s->reported = true;
        take_report(s, &report);
    }
}

static void take_signals(supervisor *s)
{
    struct signalfd_siginfo info;

    while (read(s->signal_fd, &info, sizeof info) == sizeof info) {
        int number = (int)info.ssi_signo;

        s->stopping |= number == SIGTERM || number == SIGINT;
        if (s->worker > 0)
            kill(s->worker, number);
    }
}

static int until_ms(int64_t at_ns)
{
    int64_t left_ns = at_ns - cq_mono_ns();

    if (at_ns == INT64_MAX)
        return -1;
    return left_ns <= 0 ? 0 : (int)(left_ns / CQ_NS_PER_MS + 1);
}

static bool has_ended(const supervisor *s, const struct pollfd *fd)
{
    siginfo_t info = { 0 };

    if (fd->fd >= 0)
        return fd->revents != 0;
    return waitid(P_PID, (id_t)s->worker, &info, WEXITED | WNOHANG | WNOWAIT) != 0 ||
           info.si_pid == s->worker;
}

/* Until it has ended; returns what waitpid says. */
static int watch(supervisor *s)
{
    struct pollfd fds[3] = { { s->signal_fd, POLLIN, 0 },
                             { s->worker_fd, POLLIN, 0 },
                             { s->report_fd, POLLIN, 0 } };
    int how = 0;

    while (!has_ended(s, &fds[1])) {
        int wait_ms = until_ms(s->kill_at_ns);

        if (s->worker_fd < 0 && (wait_ms < 0 || wait_ms > ASK_WORKER_MS))
            wait_ms = ASK_WORKER_MS;
        if (poll(fds, 3, wait_ms) < 0)
            continue;
        if (fds[0].revents)
            take_signals(s);
        if (fds[2].revents & POLLIN)
            read_reports(s);
        else if (fds[2].revents)
            fds[2].fd = -1; /* all writers are gone */
        if (cq_mono_ns() >= s->kill_at_ns) {
            kill(s->worker, SIGKILL);
            s->kill_at_ns = INT64_MAX;
        }
    }
    while (waitpid(s->worker, &how, 0) < 0 && errno == EINTR)
        continue;
    read_reports(s);
    s->worker = 0;
    if (s->worker_fd >= 0)
        close(s->worker_fd);
    close(s->report_fd);
    return how;
}

/* ---- after its death ---- */

static const cq_report *report_of(const supervisor *s, uint32_t row)
{
    for (size_t i = 0; i < s->report_count; i++)
        if (s->reports[i].row == row)
            return &s->reports[i];
    return NULL;
}

/* Counted here, because what this process has counted every later worker begins with. */
static void count_panic(const supervisor *s, const char *type)
{
    cronq_metrics *metrics = s->server->options.metrics;
    cq_type_cells *cells;

    if (!metrics)
        return;
    cells = cq_type_here(metrics, cq_metrics_type(metrics, cq_str_of(type)));
    cq_cell_add(&cells->died, 1);
    cq_cell_add(&cells->consumed[CQ_CONSUMED_FAIL], 1);
}

static void tell_culprit(const supervisor *s, const cq_report *report)
{
    char id[CQ_LEDGER_ID_BYTES + 1] = "", text[CQ_CRASH_TEXT_BYTES];
    cq_log_about about = { .duration_ms = -1 };
    const cq_row *row;

    cq_crash_text(&report->crash, 0, text);
    if (!report->row) {
        CQ_ERROR(logger_of(s), "the worker crashed outside of any handler: %s", text);
        cq_crash_log(&report->crash, logger_of(s), NULL);
        return;
    }
    row = &s->ledger.shared->rows[report->row - 1];
    memcpy(id, row->id, row->id_len <= CQ_LEDGER_ID_BYTES ? row->id_len : 0);
    about.task_id = id;
    about.task_type = row->type;
    about.queue = s->server->options.queues[row->queue].name;
    CQ_LOG_ABOUT(logger_of(s), CRONQ_LOG_ERROR, &about, "handler of %s crashed: %s",
                 row->type, text);
    cq_crash_log(&report->crash, logger_of(s), &about);
    count_panic(s, row->type);
}

/* What it had in hand; NULL: nothing, or no memory. */
static cq_dead *take_rows(const supervisor *s, size_t *count)
{
    const cq_ledger_shared *shared = s->ledger.shared;
    cq_dead *dead = calloc(s->ledger.row_count, sizeof *dead);

    *count = 0;
    for (uint32_t i = 0; dead && i < s->ledger.row_count; i++) {
        const cq_report *report = report_of(s, i + 1);

        if (atomic_load(&shared->rows[i].state) == CQ_ROW_FREE ||
            shared->rows[i].queue >= s->server->options.queue_count ||
            shared->rows[i].id_len > CQ_LEDGER_ID_BYTES)
            continue;
        memcpy(&dead[*count].row, &shared->rows[i], sizeof dead->row);
        if (report)
            dead[*count].report = *report;
        ++*count;
    }
    return dead;
}

/* At the latest when its time is over: it ends by itself before, but a call to the store
 * may hang. The leases bring back what it did not. */
static void wait_for_mourner(supervisor *s, size_t i)
{
    while (s->mourners[i] && waitpid(s->mourners[i], NULL, WNOHANG) == 0) {
        if (cq_mono_ns() >= s->mourn_until_ns[i]) {
            CQ_ERROR(logger_of(s), "giving back the tasks of a dead worker takes too "
                                   "long: they wait for the ends of their leases");
            kill(s->mourners[i], SIGKILL);
            waitpid(s->mourners[i], NULL, 0);
            break;
        }
        cq_sleep_ms(BURY_ROUND_MS);
    }
    s->mourners[i] = 0;
}

static void bury_mourners(supervisor *s, bool wait)
{
    for (size_t i = 0; i < MOURNER_LIMIT; i++)
        if (wait)
            wait_for_mourner(s, i);
        else if (s->mourners[i] && waitpid(s->mourners[i], NULL, WNOHANG) != 0)
            s->mourners[i] = 0;
}

static void note_mourner(supervisor *s, pid_t pid)
{
    size_t i = 0;

    bury_mourners(s, false);
    while (i < MOURNER_LIMIT - 1 && s->mourners[i])
        i++;
    wait_for_mourner(s, i);
    s->mourners[i] = pid;
    s->mourn_until_ns[i] = cq_mono_ns() + LAST_PATIENCE_NS +
                           cq_worker_mourn_ms(s->server->worker) * CQ_NS_PER_MS;
}

/* Only a report about a task names a culprit; any other death is charged to all that had
 * been started. */
static bool has_culprit(const supervisor *s)
{
    for (size_t i = 0; i < s->report_count; i++)
        if (s->reports[i].row)
            return true;
    return false;
}

static void mourn(supervisor *s)
{
    size_t count;
    cq_dead *dead;
    cronq_error err;
    pid_t pid;

    for (size_t i = 0; i < s->report_count; i++)
        tell_culprit(s, &s->reports[i]);
    dead = take_rows(s, &count);
    if (count == 0) {
        free(dead);
        return;
    }
    pid = fork();
    if (pid == 0) {
        if (cq_worker_mourn(s->server->worker, dead, count, has_culprit(s), &err))
            CQ_ERROR(logger_of(s), "%zu tasks wait for the ends of their leases: %s",
                     count, err.text);
        _exit(EXIT_SUCCESS);
    }
    if (pid > 0)
        note_mourner(s, pid);
    else
        CQ_ERROR(logger_of(s),
                 "%zu tasks wait for the ends of their leases: cannot fork: %s", count,
                 strerror(errno));
    free(dead);
}

/* ---- starting it again ---- */

/* How long to wait first. */
static int64_t plan_restart(supervisor *s)
{
    int64_t now_ns = cq_mono_ns();
    bool often = s->restarted_ns[0] && now_ns - s->restarted_ns[0] < QUICK_WITHIN_NS;

    memmove(s->restarted_ns, s->restarted_ns + 1,
            (QUICK_RESTARTS - 1) * sizeof s->restarted_ns[0]);
    s->restarted_ns[QUICK_RESTARTS - 1] = now_ns;
    s->delay_factor = !often ? 0 : s->delay_factor ? s->delay_factor * 2 : 1;
    if (s->delay_factor > BACK_OFF_LIMIT)
        s->delay_factor = BACK_OFF_LIMIT;
    return s->delay_factor * s->server->options.restart_delay_ms * CQ_NS_PER_MS;
}

static void wait_before_restart(supervisor *s, int64_t delay_ns)
{
    struct pollfd fd = { s->signal_fd, POLLIN, 0 };
    int64_t until_ns = cq_mono_ns() + delay_ns;

    while (!s->stopping && cq_mono_ns() < until_ns)
        if (poll(&fd, 1, until_ms(until_ns)) > 0)
            take_signals(s);
}

static void tell_death(const supervisor *s, int how, int64_t delay_ns)
{
    char text[CQ_CRASH_TEXT_BYTES];

    CQ_ERROR(logger_of(s), "the worker has ended%s (%s), it is started again%s",
             s->reported ? " after a crash" : " without a word",
             cq_crash_text(NULL, how, text), delay_ns ? ", but not at once" : "");
}

static cronq_status supervise(supervisor *s, cronq_error *err)
{
    cq_ledger_shared *shared = s->ledger.shared;

    for (;;) {
        cronq_status status = start_worker(s, err);
        int64_t delay_ns;
        int how;

        if (status)
            return status;
        how = watch(s);
        end_orphans(s);
        if (atomic_load(&shared->over)) {
            if (shared->final.code && err)
                *err = shared->final;
            return shared->final.code;
        }
        mourn(s);
        if (s->stopping)
            return CRONQ_OK;
        delay_ns = plan_restart(s);
        tell_death(s, how, delay_ns);
        wait_before_restart(s, delay_ns);
        if (s->stopping)
            return CRONQ_OK;
    }
}

/* ---- life ---- */

static cronq_status take_over_signals(supervisor *s, cronq_error *err)
{
    static const int always[] = { SIGTERM, SIGINT, SIGTSTP },
                     if_blocked[] = { SIGHUP, SIGUSR1, SIGUSR2 };

    sigemptyset(&s->taken);
    sigprocmask(SIG_SETMASK, NULL, &s->before);
    for (size_t i = 0; i < sizeof always / sizeof always[0]; i++)
        sigaddset(&s->taken, always[i]);
    for (size_t i = 0; i < sizeof if_blocked / sizeof if_blocked[0]; i++)
        if (sigismember(&s->before, if_blocked[i]))
            sigaddset(&s->taken, if_blocked[i]);
    s->signal_fd = signalfd(-1, &s->taken, SFD_CLOEXEC | SFD_NONBLOCK);
    if (s->signal_fd < 0)
        return cq_fail_errno(err, CRONQ_EIO, errno, "cannot take signals");
    sigprocmask(SIG_BLOCK, &s->taken, NULL);
    return CRONQ_OK;
}

cronq_status cq_server_supervise(cronq_server *server, cronq_error *err)
{
    supervisor s = { .server = server, .signal_fd = -1 };
    int was_reaper = 0;
    cronq_status status = check_alone(server, err);

    if (!status)
        status = cq_ledger_init(&s.ledger, server->options.concurrency, err);
    if (status)
        return status;
    status = take_over_signals(&s, err);
    if (!status) {
        prctl(PR_GET_CHILD_SUBREAPER, &was_reaper);
        prctl(PR_SET_CHILD_SUBREAPER, 1);
        s.spared_count = list_children(s.spared, SPARED_LIMIT);
        status = supervise(&s, err);
        bury_mourners(&s, true);
        prctl(PR_SET_CHILD_SUBREAPER, was_reaper);
        close(s.signal_fd);
        sigprocmask(SIG_SETMASK, &s.before, NULL);
        server->state = CQ_SERVER_STOPPED;
    }
    cq_ledger_release(&s.ledger);
    return status;
}
