/* SPDX-License-Identifier: MIT */
/* become.c - from a child of vfork to the command.
 *
 * The memory is the keeper's until execve, so nothing is called but system calls, and
 * nothing written but the own stack. glibc's setuid and its kin tell all threads, of
 * which there are none here: the bare calls are used. */
#include "handlers/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static _Noreturn void die(const cq_keeper *keeper, cq_stage at)
{
    cq_report why = { CQ_REPORT_NOT_STARTED, (int)at, errno, 0 };
    ssize_t written = write(keeper->report, &why, sizeof why);

    (void)written;
    _exit(127);
}

static void reset_signals(void)
{
    struct sigaction standard = { .sa_handler = SIG_DFL };

    for (int number = 1; number < NSIG; number++)
        sigaction(number, &standard, NULL);
}

static bool take_files(const cq_keeper *keeper)
{
    for (int i = 0; i < 3; i++)
        if (dup2(keeper->files[i], i) < 0)
            return false;
    if (close_range(STDERR_FILENO + 1, ~0u, CLOSE_RANGE_CLOEXEC) == 0)
        return true;
    for (int fd = STDERR_FILENO + 1; fd < 1024; fd++)
        fcntl(fd, F_SETFD, FD_CLOEXEC);
    return true;
}

static bool limit(__rlimit_resource_t resource, int64_t value)
{
    struct rlimit both = { (rlim_t)value, (rlim_t)value }, now;

    if (value <= 0)
        return true;
    /* One that is stricter already stays. */
    if (getrlimit(resource, &now) == 0 && now.rlim_max < both.rlim_max)
        both.rlim_cur = both.rlim_max = now.rlim_max;
    return setrlimit(resource, &both) == 0;
}

/* SIGXCPU first, SIGKILL a second later. */
static bool limit_cpu(int64_t seconds)
{
    struct rlimit both = { (rlim_t)seconds, (rlim_t)seconds + 1 }, now;

    if (seconds <= 0)
        return true;
    if (getrlimit(RLIMIT_CPU, &now) == 0 && now.rlim_max < both.rlim_max) {
        both.rlim_max = now.rlim_max;
        if (both.rlim_cur > both.rlim_max)
            both.rlim_cur = both.rlim_max;
    }
    return setrlimit(RLIMIT_CPU, &both) == 0;
}

static bool take_limits(const cq_process_limits *limits)
{
    static const struct rlimit no_core;

    return setrlimit(RLIMIT_CORE, &no_core) == 0 &&
           limit(RLIMIT_AS, limits->memory_bytes) && limit_cpu(limits->cpu_s) &&
           limit(RLIMIT_FSIZE, limits->file_bytes) &&
           limit(RLIMIT_NPROC, limits->processes) &&
           limit(RLIMIT_NOFILE, limits->open_files);
}

/* Groups first: afterwards there is no right to change them. */
static bool take_user(const cq_process_user *user)
{
    if (!user->is_set)
        return true;
    return syscall(SYS_setgroups, user->group_count, user->groups) == 0 &&
           syscall(SYS_setresgid, user->gid, user->gid, user->gid) == 0 &&
           syscall(SYS_setresuid, user->uid, user->uid, user->uid) == 0;
}

static bool join(int cgroup_procs)
{
    return cgroup_procs < 0 || write(cgroup_procs, "0", 1) == 1;
}

void cq_become(const cq_keeper *keeper, pid_t parent)
{
    const cq_process_request *request = keeper->request;
    sigset_t none;

    reset_signals();
    if (setsid() < 0 || !take_files(keeper))
        die(keeper, CQ_STAGE_SESSION);
    if (!join(keeper->cgroup_join))
        die(keeper, CQ_STAGE_CGROUP);
    if (!take_limits(&request->limits))
        die(keeper, CQ_STAGE_LIMITS);
    if (!take_user(&request->user))
        die(keeper, CQ_STAGE_USER);
    if (request->dir && chdir(request->dir) != 0)
        die(keeper, CQ_STAGE_DIR);
    umask(S_IRWXG | S_IRWXO);
    /* A change of user takes the signal back, so it is asked for after it. */
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)
        die(keeper, CQ_STAGE_SESSION);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execve(request->path, (char *const *)(uintptr_t)request->argv,
           (char *const *)(uintptr_t)request->env);
    die(keeper, CQ_STAGE_EXEC);
}
