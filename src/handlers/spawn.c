/* SPDX-License-Identifier: MIT */
/* spawn.c - start a program with pipes on its three descriptors.
 *
 * By vfork: fork copies page tables, and posix_spawn can neither mark all descriptors nor
 * ask for a signal when the parent dies. The child shares our memory until execve, so it
 * calls nothing but system calls and writes nothing but its own stack; all signals are
 * blocked until it has reset their handlers. Why an execve failed comes through a pipe,
 * which an execve that worked closes: that works with a vfork that is a fork, too. */
#include "handlers/spawn.h"

#include "base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <pthread.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* The ends of pipes, by who uses them. */
typedef struct pipes {
    int child[3], ours[3];
    int report_out, report_in;
} pipes;

typedef enum stage { STAGE_SESSION, STAGE_DIR, STAGE_EXEC } stage;

typedef struct report {
    int stage, errnum;
} report;

void cq_close(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* Away from 0, 1 and 2, which the child is about to replace. */
static bool move_up(int *fd)
{
    int moved;

    if (*fd > STDERR_FILENO)
        return true;
    moved = fcntl(*fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    cq_close(fd);
    *fd = moved;
    return moved >= 0;
}

static bool open_pipe(int *in, int *out)
{
    int fds[2];

    if (pipe2(fds, O_CLOEXEC) != 0)
        return false;
    *in = fds[0];
    *out = fds[1];
    return move_up(in) && move_up(out);
}

static bool unblock(int fd)
{
    return fcntl(fd, F_SETFL, O_NONBLOCK) == 0;
}

static void close_pipes(pipes *p)
{
    for (int i = 0; i < 3; i++) {
        cq_close(&p->child[i]);
        cq_close(&p->ours[i]);
    }
    cq_close(&p->report_in);
    cq_close(&p->report_out);
}

static bool open_pipes(pipes *p)
{
    return open_pipe(&p->child[0], &p->ours[0]) && open_pipe(&p->ours[1], &p->child[1]) &&
           open_pipe(&p->ours[2], &p->child[2]) &&
           open_pipe(&p->report_in, &p->report_out) && unblock(p->ours[0]) &&
           unblock(p->ours[1]) && unblock(p->ours[2]);
}

/* From here to the end of run_child: in the child, on our memory. */

static void die(const pipes *p, stage at)
{
    report why = { (int)at, errno };
    ssize_t written = write(p->report_out, &why, sizeof why);

    (void)written;
    _exit(127);
}

static void reset_signals(void)
{
    struct sigaction standard = { .sa_handler = SIG_DFL };

    for (int number = 1; number < NSIG; number++)
        sigaction(number, &standard, NULL);
}

/* Descriptors that others of this process opened without O_CLOEXEC. */
static void close_others(void)
{
    if (close_range(STDERR_FILENO + 1, ~0u, CLOSE_RANGE_CLOEXEC) == 0)
        return;
    for (int fd = STDERR_FILENO + 1; fd < 1024; fd++)
        fcntl(fd, F_SETFD, FD_CLOEXEC);
}

static void run_child(const cq_process_request *request, const pipes *p, pid_t parent)
{
    sigset_t none;

    reset_signals();
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent || setsid() < 0)
        die(p, STAGE_SESSION);
    for (int i = 0; i < 3; i++)
        if (dup2(p->child[i], i) < 0)
            die(p, STAGE_SESSION);
    close_others();
    if (request->dir && chdir(request->dir) != 0)
        die(p, STAGE_DIR);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execve(request->path, (char *const *)(uintptr_t)request->argv,
           (char *const *)(uintptr_t)request->env);
    die(p, STAGE_EXEC);
}

/* Not inlined: the child must not write over what the caller keeps in its frame. */
static __attribute__((noinline)) pid_t start_child(const cq_process_request *request,
                                                   const pipes *p)
{
    pid_t parent = getpid(), pid;
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid = vfork();
    if (pid == 0)
        run_child(request, p, parent);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return pid;
}

static cronq_status fail_start(const cq_process_request *request, const report *why,
                               cronq_error *err)
{
    if (why->stage == STAGE_DIR)
        return cq_fail_errno(err, CRONQ_EIO, why->errnum, "cannot enter %s",
                             request->dir);
    return cq_fail_errno(err, CRONQ_EIO, why->errnum, "cannot start %s", request->path);
}

/* Wait until the child has become the program; if it can not, take its body away. */
static cronq_status check_started(const cq_process_request *request, pipes *p, pid_t pid,
                                  cronq_error *err)
{
    report why;
    ssize_t got;

    cq_close(&p->report_out);
    do
        got = read(p->report_in, &why, sizeof why);
    while (got < 0 && errno == EINTR);
    if (got != sizeof why)
        return CRONQ_OK;
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
    return fail_start(request, &why, err);
}

cronq_status cq_spawn(const cq_process_request *request, cq_child *child,
                      cronq_error *err)
{
    pipes p = { { -1, -1, -1 }, { -1, -1, -1 }, -1, -1 };
    cronq_status status;
    pid_t pid;

    if (!open_pipes(&p)) {
        status = cq_fail_errno(err, CRONQ_EIO, errno, "cannot open pipes for %s",
                               request->path);
        close_pipes(&p);
        return status;
    }
    pid = start_child(request, &p);
    status = pid < 0
                 ? cq_fail_errno(err, CRONQ_EIO, errno, "cannot start %s", request->path)
                 : check_started(request, &p, pid, err);
    if (status == CRONQ_OK) {
        *child = (cq_child){ pid, pidfd_open(pid, 0), p.ours[0], p.ours[1], p.ours[2] };
        p.ours[0] = p.ours[1] = p.ours[2] = -1;
    }
    close_pipes(&p);
    return status;
}
