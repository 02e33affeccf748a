/* SPDX-License-Identifier: MIT */
/* forks.c - the fork server. */
#include "worker/forks.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/thread.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define LAST_PATIENCE_MS 200

typedef struct forks {
    int fd, worker_fd, child_ended_fd;
    cq_child_fn *child;
    void *arg;
    uint32_t seat_count;
    struct seat {
        pid_t pid; /* 0: none */
        uint32_t generation;
    } * seats;
} forks;

/* ---- packets ---- */

bool cq_forks_order(int fd, const cq_order *order)
{
    ssize_t sent;

    do
        sent = send(fd, order, sizeof *order, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent == sizeof *order;
}

typedef union control {
    struct cmsghdr header;
    char room[CMSG_SPACE(sizeof(int))];
} control;

static bool tell(int fd, cq_news *news, int passed)
{
    struct iovec bytes = { news, sizeof *news };
    struct msghdr message = { .msg_iov = &bytes, .msg_iovlen = 1 };
    control with = { .header = { .cmsg_len = CMSG_LEN(sizeof passed),
                                 .cmsg_level = SOL_SOCKET,
                                 .cmsg_type = SCM_RIGHTS } };
    ssize_t sent;

    if (passed >= 0) {
        message.msg_control = &with;
        message.msg_controllen = CMSG_SPACE(sizeof passed);
        memcpy(CMSG_DATA(&with.header), &passed, sizeof passed);
    }
    do
        sent = sendmsg(fd, &message, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent == sizeof *news;
}

bool cq_forks_hear(int fd, cq_news *news, int *passed)
{
    struct iovec bytes = { news, sizeof *news };
    control with;
    struct msghdr message = { .msg_iov = &bytes,
                              .msg_iovlen = 1,
                              .msg_control = &with,
                              .msg_controllen = sizeof with };
    struct cmsghdr *header;
    ssize_t got;

    *passed = -1;
    do
        got = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
    while (got < 0 && errno == EINTR);
    if (got != sizeof *news)
        return false;
    header = CMSG_FIRSTHDR(&message);
    if (header && header->cmsg_type == SCM_RIGHTS)
        memcpy(passed, CMSG_DATA(header), sizeof *passed);
    return true;
}

/* ---- children ---- */

static void reset_signals(void)
{
    struct sigaction standard = { .sa_handler = SIG_DFL };
    sigset_t none;

    for (int number = 1; number < NSIG; number++)
        if (number != SIGPIPE)
            sigaction(number, &standard, NULL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static void become_child(forks *f, uint32_t seat, int fd, pid_t server)
{
    setsid();
    reset_signals();
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != server)
        _exit(EXIT_FAILURE);
    close(f->fd);
    close(f->child_ended_fd);
    free(f->seats);
    f->child(f->arg, seat, fd);
    _exit(EXIT_FAILURE);
}

static void fork_child(forks *f, const cq_order *order)
{
    struct seat *seat = &f->seats[order->seat];
    cq_news news = { .kind = CQ_NEWS_FAILED,
                     .seat = order->seat,
                     .generation = order->generation };
    pid_t server = getpid();
    int ends[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
        news.why = errno;
        tell(f->fd, &news, -1);
        return;
    }
    news.pid = fork();
    if (news.pid == 0) {
        close(ends[0]);
        become_child(f, order->seat, ends[1], server);
    }
    close(ends[1]);
    if (news.pid > 0) {
        news.kind = CQ_NEWS_FORKED;
        *seat = (struct seat){ news.pid, order->generation };
    } else {
        news.why = errno;
    }
    tell(f->fd, &news, news.pid > 0 ? ends[0] : -1);
    close(ends[0]);
}

/* The group, or the child alone when it has none yet. */
static void signal_child(pid_t pid, int number)
{
    if (kill(-pid, number) != 0)
        kill(pid, number);
}

static void obey(forks *f, const cq_order *order)
{
    struct seat *seat;

    if (order->seat >= f->seat_count)
        return;
    seat = &f->seats[order->seat];
    if (order->kind == CQ_ORDER_FORK && !seat->pid)
        fork_child(f, order);
    else if (order->kind == CQ_ORDER_KILL && seat->pid &&
             seat->generation == order->generation)
        signal_child(seat->pid, order->signal);
}

static struct seat *seat_of(forks *f, pid_t pid)
{
    for (uint32_t i = 0; i < f->seat_count; i++)
        if (f->seats[i].pid == pid)
            return &f->seats[i];
    return NULL;
}

/* Before the body is taken away nobody else can have its number, nor its group's. */
static bool bury_one(forks *f)
{
    siginfo_t info = { .si_pid = 0 };
    cq_news news = { .kind = CQ_NEWS_ENDED };
    struct seat *seat;

    if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0)
        return false;
    seat = seat_of(f, info.si_pid);
    if (seat)
        kill(-info.si_pid, SIGKILL);
    waitpid(info.si_pid, &news.why, 0);
    if (!seat)
        return true;
    news.seat = (uint32_t)(seat - f->seats);
    news.generation = seat->generation;
    news.pid = seat->pid;
    seat->pid = 0;
    tell(f->fd, &news, -1);
    return true;
}

static size_t count_children(const forks *f)
{
    size_t count = 0;

    for (uint32_t i = 0; i < f->seat_count; i++)
        count += f->seats[i].pid != 0;
    return count;
}

/* The worker is gone, or wants it so: idle children have seen their streams close. */
static void end(forks *f)
{
    int64_t until_ms = cq_mono_ms() + LAST_PATIENCE_MS;
    struct pollfd ended = { .fd = f->child_ended_fd, .events = POLLIN };
    struct signalfd_siginfo info;

    while (bury_one(f) || (count_children(f) && cq_mono_ms() < until_ms))
        if (poll(&ended, 1, 10) > 0 &&
            read(f->child_ended_fd, &info, sizeof info) != sizeof info)
            break;
    for (uint32_t i = 0; i < f->seat_count; i++)
        if (f->seats[i].pid)
            signal_child(f->seats[i].pid, SIGKILL);
    while (waitpid(-1, NULL, 0) > 0)
        continue;
    _exit(EXIT_SUCCESS);
}

/* ---- the loop ---- */

static bool serve_once(forks *f, struct pollfd fds[3])
{
    struct signalfd_siginfo info;
    cq_order order;

    if (poll(fds, 3, -1) < 0)
        return errno == EINTR;
    if (fds[1].revents && read(f->child_ended_fd, &info, sizeof info) > 0)
        while (bury_one(f))
            continue;
    if (fds[2].revents) /* the worker has ended */
        return false;
    if (!fds[0].revents)
        return true;
    if (recv(f->fd, &order, sizeof order, 0) != sizeof order)
        return false;
    obey(f, &order);
    return true;
}

static void take_signals(forks *f)
{
    static const int ignored[] = { SIGINT, SIGTERM, SIGHUP, SIGTSTP, SIGUSR1, SIGUSR2 };
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_SETMASK, &set, NULL);
    f->child_ended_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    for (size_t i = 0; i < sizeof ignored / sizeof ignored[0]; i++)
        signal(ignored[i], SIG_IGN);
}

static void serve(forks *f, pid_t worker)
{
    struct pollfd fds[3] = { { .events = POLLIN },
                             { .events = POLLIN },
                             { .events = POLLIN } };

    close(f->worker_fd);
    prctl(PR_SET_NAME, "cronq-forks");
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    take_signals(f);
    fds[0].fd = f->fd;
    fds[1].fd = f->child_ended_fd;
    fds[2].fd = pidfd_open(worker, 0);
    if (getppid() == worker)
        while (serve_once(f, fds))
            continue;
    end(f);
}

cronq_status cq_forks_start(uint32_t seat_count, cq_child_fn *child, void *arg, int *fd,
                            pid_t *pid, cronq_error *err)
{
    forks f = { .child = child, .arg = arg, .seat_count = seat_count };
    size_t threads = cq_thread_count();
    pid_t worker = getpid();
    int ends[2];

    if (threads > 1)
        return cq_fail(
            err, CRONQ_ESTATE,
            "handlers with process isolation: the process has %zu threads, and "
            "must be forked before the second",
            threads);
    f.seats = calloc(seat_count, sizeof *f.seats);
    if (!f.seats)
        return cq_fail_nomem(err);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
        free(f.seats);
        return cq_fail_errno(err, CRONQ_EIO, errno, "cannot open a pair of sockets");
    }
    f.worker_fd = ends[0];
    f.fd = ends[1];
    *pid = fork();
    if (*pid == 0)
        serve(&f, worker);
    close(ends[1]);
    free(f.seats);
    if (*pid > 0) {
        *fd = ends[0];
        return CRONQ_OK;
    }
    close(ends[0]);
    return cq_fail_errno(err, CRONQ_EIO, errno, "cannot fork a fork server");
}

void cq_forks_stop(int *fd, pid_t pid)
{
    if (*fd < 0)
        return;
    close(*fd);
    *fd = -1;
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        continue;
}
