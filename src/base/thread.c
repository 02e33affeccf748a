/* SPDX-License-Identifier: MIT */
/* thread.c - threads, timed waits and events. */
#include "base/thread.h"

#include "base/clock.h"
#include "base/error.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

cronq_status cq_thread_start(pthread_t *thread, const char *name, void *(*run)(void *),
                             void *arg, cronq_error *err)
{
    static const int of_crashes[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGSYS };
    sigset_t all, before;
    int failed;

    sigfillset(&all);
    for (size_t i = 0; i < sizeof of_crashes / sizeof of_crashes[0]; i++)
        sigdelset(&all, of_crashes[i]); /* a handler may want to report them */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    failed = pthread_create(thread, NULL, run, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed)
        return cq_fail_errno(err, CRONQ_ENOMEM, failed, "cannot start thread %s", name);
    pthread_setname_np(*thread, name);
    return CRONQ_OK;
}

size_t cq_thread_count(void)
{
    DIR *tasks = opendir("/proc/self/task");
    size_t count = 0;

    if (!tasks)
        return 1;
    for (struct dirent *entry; (entry = readdir(tasks));)
        count += entry->d_name[0] != '.';
    closedir(tasks);
    return count ? count : 1;
}

void cq_cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attributes;

    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attributes);
    pthread_condattr_destroy(&attributes);
}

bool cq_cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *mutex, int64_t until_ns)
{
    struct timespec until = { until_ns / CQ_NS_PER_S, (long)(until_ns % CQ_NS_PER_S) };

    return pthread_cond_timedwait(cond, mutex, &until) != ETIMEDOUT;
}

bool cq_futex_wait(_Atomic uint32_t *word, uint32_t value, int64_t until_ns)
{
    struct timespec until = { until_ns / CQ_NS_PER_S, (long)(until_ns % CQ_NS_PER_S) };

    return syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, value, &until, NULL,
                   FUTEX_BITSET_MATCH_ANY) == 0 ||
           errno != ETIMEDOUT;
}

void cq_futex_wake(_Atomic uint32_t *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

cronq_status cq_event_init(cq_event *event, cronq_error *err)
{
    event->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (event->fd < 0)
        return cq_fail_errno(err, CRONQ_EIO, errno, "cannot create an eventfd");
    return CRONQ_OK;
}

void cq_event_release(cq_event *event)
{
    if (event->fd >= 0)
        close(event->fd);
    event->fd = -1;
}

void cq_event_set(cq_event *event)
{
    uint64_t one = 1;
    ssize_t written;

    do
        written = write(event->fd, &one, sizeof one);
    while (written < 0 && errno == EINTR);
}

bool cq_event_clear(cq_event *event)
{
    uint64_t count;
    ssize_t got;

    do
        got = read(event->fd, &count, sizeof count);
    while (got < 0 && errno == EINTR);
    return got == sizeof count;
}

bool cq_event_wait(cq_event *event, int64_t timeout_ms)
{
    struct pollfd fd = { .fd = event->fd, .events = POLLIN };
    int64_t until_ns = cq_mono_ns() + timeout_ms * CQ_NS_PER_MS;

    for (;;) {
        int wait = timeout_ms < 0 ? -1 : timeout_ms > INT_MAX ? INT_MAX : (int)timeout_ms;

        if (poll(&fd, 1, wait) > 0)
            return true;
        if (timeout_ms < 0)
            continue;
        timeout_ms = (until_ns - cq_mono_ns() + CQ_NS_PER_MS - 1) / CQ_NS_PER_MS;
        if (timeout_ms <= 0)
            return false;
    }
}
