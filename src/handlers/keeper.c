/* SPDX-License-Identifier: MIT */
/* keeper.c - the process between the worker and a command.
 *
 *     waiting     until the command ends; TERM is passed on to everything below us
 *     killing     the command has ended, or KILL was ordered, or the worker is dead
 *     over        nothing is below us: the report is written, and we end
 *
 * The group of the command is signalled only while the command is not reaped, so that
 * its number can not be somebody else's. Whatever has left the group is found in /proc.
 * What is to be killed is stopped first: who is stopped can not start another. */
#include "handlers/keeper.h"

#include "handlers/descendants.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define KEPT_COUNT     7
#define MOST_STOPS     50    /* looks for what is not stopped yet */
#define KILL_ROUND_MS  20    /* between two rounds */
#define KILL_MOST_MS   10000 /* what lives then, lives on: in the kernel, most likely */
#define WORKER_IS_GONE SIGUSR1

typedef struct keep {
    const cq_keeper *keeper;
    pid_t command;
    int signals, status;
    bool has_ended, is_to_kill, worker_is_gone;
} keep;

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void close_all(unsigned first, unsigned last)
{
    if (first > last || close_range(first, last, 0) == 0)
        return;
    for (unsigned fd = first; fd <= last && fd < 1024; fd++)
        close((int)fd);
}

/* The worker's sockets and files are none of our business, and must not stay open here
 * when it is gone. */
static void close_others(const cq_keeper *keeper)
{
    int kept[KEPT_COUNT] = { keeper->files[0],   keeper->files[1], keeper->files[2],
                             keeper->control,    keeper->report,   keeper->cgroup_join,
                             keeper->cgroup_kill };
    unsigned from = 0;

    for (size_t i = 1; i < KEPT_COUNT; i++)
        for (size_t j = i; j > 0 && kept[j - 1] > kept[j]; j--) {
            int higher = kept[j - 1];

            kept[j - 1] = kept[j];
            kept[j] = higher;
        }
    for (size_t i = 0; i < KEPT_COUNT; i++) {
        if (kept[i] < 0)
            continue;
        if (kept[i] > 0)
            close_all(from, (unsigned)kept[i] - 1);
        from = (unsigned)kept[i] + 1;
    }
    close_all(from, ~0u);
}

static bool set_up(keep *k)
{
    struct sigaction standard = { .sa_handler = SIG_DFL };
    sigset_t looked_at;

    sigaction(SIGCHLD, &standard, NULL);
    sigaction(SIGPIPE, &standard, NULL);
    if (prctl(PR_SET_PDEATHSIG, WORKER_IS_GONE) != 0 || getppid() != k->keeper->worker)
        return false;
    setsid();
    /* Not by prctl(), behind which a sanitizer may wait for a thread that is not here. */
    syscall(SYS_prctl, PR_SET_NAME, "cronq-keeper", 0, 0, 0);
    prctl(PR_SET_DUMPABLE, 0); /* nobody is to read the worker's memory here */
    close_others(k->keeper);
    sigemptyset(&looked_at);
    sigaddset(&looked_at, SIGCHLD);
    sigaddset(&looked_at, WORKER_IS_GONE);
    k->signals = signalfd(-1, &looked_at, SFD_NONBLOCK | SFD_CLOEXEC);
    return k->signals >= 0 && prctl(PR_SET_CHILD_SUBREAPER, 1) == 0;
}

/* Not inlined: the command must not write over what the caller keeps in its frame. */
static __attribute__((noinline)) pid_t start(const cq_keeper *keeper)
{
    pid_t us = getpid(), pid = vfork();

    if (pid == 0)
        cq_become(keeper, us);
    return pid;
}

static void close_ours(const cq_keeper *keeper)
{
    for (int i = 0; i < 3; i++)
        close(keeper->files[i]);
    if (keeper->cgroup_join >= 0)
        close(keeper->cgroup_join);
}

static void take_signals(keep *k)
{
    struct signalfd_siginfo info;

    while (read(k->signals, &info, sizeof info) == (ssize_t)sizeof info)
        if (info.ssi_signo == WORKER_IS_GONE)
            k->is_to_kill = k->worker_is_gone = true;
}

static void terminate(const keep *k)
{
    pid_t group = k->has_ended ? 0 : k->command;
    int moving;

    if (group > 0) {
        /* Where vfork is a plain fork, as under a sanitizer, it may not have its group
         * yet, and get it while we look for those outside of it. */
        if (kill(-group, SIGTERM) != 0)
            kill(group, SIGTERM);
        kill(-group, SIGCONT); /* who is stopped does not hear SIGTERM */
    }
    cq_descendants_signal(SIGTERM, group, &moving);
    cq_descendants_signal(SIGCONT, group, &moving);
}

static void take_orders(keep *k)
{
    char order;
    ssize_t got = read(k->keeper->control, &order, 1);

    if (got < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (got == 1 && order == CQ_KEEPER_TERM) {
        terminate(k);
        return;
    }
    k->is_to_kill = true;
    k->worker_is_gone |= got != 1;
}

/* Take the bodies away. Returns whether any child is left; the command is only seen to
 * have ended, and reaped after its group was killed. */
static bool reap(keep *k)
{
    siginfo_t info = { 0 };
    int status;
    pid_t pid;

    if (!k->has_ended &&
        waitid(P_PID, (id_t)k->command, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
        info.si_pid == k->command) {
        kill(-k->command, SIGKILL);
        k->has_ended = true;
    }
    do {
        pid = waitpid(-1, &status, WNOHANG);
        if (pid == k->command) {
            k->status = status;
            k->has_ended = true;
        }
    } while (pid > 0);
    return pid == 0 || errno != ECHILD;
}

static void kill_cgroup(const keep *k)
{
    ssize_t written =
        k->keeper->cgroup_kill < 0 ? 0 : write(k->keeper->cgroup_kill, "1", 1);

    (void)written;
}

static void kill_round(const keep *k)
{
    int moving = 1;

    kill_cgroup(k);
    if (!k->has_ended)
        kill(-k->command, SIGKILL);
    for (int i = 0; i < MOST_STOPS && moving > 0; i++)
        if (cq_descendants_signal(SIGSTOP, 0, &moving) <= 0)
            break;
    cq_descendants_signal(SIGKILL, 0, &moving);
}

static void wait_for_something(keep *k, int timeout_ms)
{
    struct pollfd fds[] = {
        { .fd = k->signals, .events = POLLIN },
        { .fd = k->worker_is_gone ? -1 : k->keeper->control, .events = POLLIN },
    };

    if (poll(fds, 2, timeout_ms) <= 0)
        return;
    take_signals(k);
    if (fds[1].revents)
        take_orders(k);
}

static void report(const cq_keeper *keeper, cq_report what)
{
    ssize_t written = write(keeper->report, &what, sizeof what);

    (void)written;
}

static _Noreturn void give_up(const cq_keeper *keeper)
{
    report(keeper, (cq_report){ CQ_REPORT_NOT_STARTED, CQ_STAGE_SESSION, errno, 0 });
    _exit(1);
}

void cq_keeper_run(cq_keeper *keeper)
{
    keep k = { .keeper = keeper };
    bool children = true;
    int64_t until_ms;

    if (!set_up(&k))
        give_up(keeper);
    k.command = start(keeper);
    if (k.command < 0)
        give_up(keeper);
    close_ours(keeper);
    while (!k.has_ended && !k.is_to_kill) {
        wait_for_something(&k, -1);
        children = reap(&k);
    }
    until_ms = now_ms() + KILL_MOST_MS;
    while (children && now_ms() < until_ms) {
        kill_round(&k);
        children = reap(&k);
        if (children)
            wait_for_something(&k, KILL_ROUND_MS);
    }
    report(keeper, (cq_report){ CQ_REPORT_ENDED, 0, k.status, children });
    _exit(0);
}
