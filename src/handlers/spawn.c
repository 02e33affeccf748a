/* SPDX-License-Identifier: MIT */
/* spawn.c - start a program with pipes on its three descriptors, below a keeper.
 *
 * The keeper is a copy of this process, since a library has no program of its own to
 * start. _Fork runs no handlers of others; in a process with threads its child may only
 * make system calls, and does. */
#include "handlers/spawn.h"

#include "base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

/* The ends of pipes, by who uses them. */
typedef struct pipes {
    int child[3], ours[3];
    int report_out, report_in, control_out, control_in;
} pipes;

void cq_close(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* Away from 0, 1 and 2, which the command is about to replace. */
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
    cq_close(&p->control_in);
    cq_close(&p->control_out);
}

static bool open_pipes(pipes *p)
{
    return open_pipe(&p->child[0], &p->ours[0]) && open_pipe(&p->ours[1], &p->child[1]) &&
           open_pipe(&p->ours[2], &p->child[2]) &&
           open_pipe(&p->report_in, &p->report_out) &&
           open_pipe(&p->control_in, &p->control_out) && unblock(p->ours[0]) &&
           unblock(p->ours[1]) && unblock(p->ours[2]) && unblock(p->report_in) &&
           unblock(p->control_out);
}

/* Kernels before 5.14 have no cgroup.kill. */
static bool open_in_cgroup(const char *cgroup, const char *name, bool is_optional,
                           int *fd)
{
    char path[4200];

    if (!cgroup)
        return true;
    snprintf(path, sizeof path, "%s/%s", cgroup, name);
    *fd = open(path, O_WRONLY | O_CLOEXEC);
    if (*fd < 0)
        return is_optional && errno == ENOENT;
    return move_up(fd);
}

static pid_t start_keeper(cq_keeper *keeper)
{
    sigset_t all, before;
    pid_t pid;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid = _Fork();
    if (pid == 0)
        cq_keeper_run(keeper);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return pid;
}

cronq_status cq_spawn_fail(const cq_process_request *request, const cq_report *report,
                           cronq_error *err)
{
    static const char *const steps[] = {
        [CQ_STAGE_SESSION] = "its session",
        [CQ_STAGE_CGROUP] = "its cgroup",
        [CQ_STAGE_LIMITS] = "its limits",
        [CQ_STAGE_USER] = "its user",
        [CQ_STAGE_EXEC] = NULL,
    };

    if (report->stage == CQ_STAGE_DIR)
        return cq_fail_errno(err, CRONQ_EIO, report->value, "cannot enter %s",
                             request->dir);
    if (report->stage < 0 || report->stage >= CQ_STAGE_EXEC)
        return cq_fail_errno(err, CRONQ_EIO, report->value, "cannot start %s",
                             request->path);
    return cq_fail_errno(err, CRONQ_EIO, report->value, "cannot start %s: %s",
                         request->path, steps[report->stage]);
}

cronq_status cq_spawn(const cq_process_request *request, cq_child *child,
                      cronq_error *err)
{
    pipes p = { { -1, -1, -1 }, { -1, -1, -1 }, -1, -1, -1, -1 };
    cq_keeper keeper = {
        .request = request, .worker = getpid(), .cgroup_join = -1, .cgroup_kill = -1
    };
    bool ready =
        open_pipes(&p) &&
        open_in_cgroup(request->cgroup, "cgroup.procs", false, &keeper.cgroup_join) &&
        open_in_cgroup(request->cgroup, "cgroup.kill", true, &keeper.cgroup_kill);
    cronq_status status = CRONQ_OK;
    pid_t pid = -1;

    if (ready) {
        memcpy(keeper.files, p.child, sizeof keeper.files);
        keeper.control = p.control_in;
        keeper.report = p.report_out;
        pid = start_keeper(&keeper);
    }
    if (pid < 0) {
        status = cq_fail_errno(err, CRONQ_EIO, errno, "cannot start %s", request->path);
    } else {
        *child = (cq_child){ pid,       p.report_in, p.control_out,
                             p.ours[0], p.ours[1],   p.ours[2] };
        p.report_in = p.control_out = p.ours[0] = p.ours[1] = p.ours[2] = -1;
    }
    cq_close(&keeper.cgroup_join);
    cq_close(&keeper.cgroup_kill);
    close_pipes(&p);
    return status;
}
