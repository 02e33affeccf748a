/* SPDX-License-Identifier: MIT */
/* sink.c - a descriptor that takes lines, whatever becomes of its other end. */
#include "log/sink.h"

#include "base/error.h"
#include "base/sigpipe.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define STUCK_WAIT_MS 50

/* O_NONBLOCK belongs to the open file, which a shell may share with us: so a pipe or a
 * terminal is opened anew. Where that is not allowed, the duplicate may block. */
static int open_anew(int fd)
{
    char path[64];

    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return open(path, O_WRONLY | O_NONBLOCK | O_APPEND | O_NOCTTY | O_CLOEXEC);
}

cronq_status cq_sink_dup(cq_sink *sink, int fd, cronq_error *err)
{
    struct stat st;
    int copy = -1;

    if (fstat(fd, &st) != 0)
        return cq_fail_errno(err, CRONQ_EIO, errno, "log: descriptor %d", fd);
    if (S_ISFIFO(st.st_mode) || isatty(fd))
        copy = open_anew(fd);
    if (copy < 0)
        copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (copy < 0)
        return cq_fail_errno(err, CRONQ_EIO, errno, "log: descriptor %d", fd);
    *sink = (cq_sink){ .fd = copy,
                       .is_socket = S_ISSOCK(st.st_mode),
                       .is_pipe = S_ISFIFO(st.st_mode) };
    return CRONQ_OK;
}

cronq_status cq_sink_open(cq_sink *sink, const char *path, cronq_error *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_NONBLOCK | O_NOCTTY | O_CLOEXEC,
                  0640);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) != 0) {
        cronq_status status =
            cq_fail_errno(err, CRONQ_EIO, errno, "log: cannot open %s", path);

        if (fd >= 0)
            close(fd);
        return status;
    }
    *sink = (cq_sink){ .fd = fd, .is_pipe = S_ISFIFO(st.st_mode) };
    return CRONQ_OK;
}

void cq_sink_close(cq_sink *sink)
{
    if (sink->fd >= 0)
        close(sink->fd);
    *sink = (cq_sink){ .fd = -1 };
}

static ssize_t write_once(const cq_sink *sink, const char *data, size_t len)
{
    ssize_t written;

    do
        written = sink->is_socket ? send(sink->fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT)
                                  : write(sink->fd, data, len);
    while (written < 0 && errno == EINTR);
    return written;
}

/* Give a reader that lags a moment, once. */
static bool wait_for_room(cq_sink *sink)
{
    struct pollfd fd = { .fd = sink->fd, .events = POLLOUT };

    if (sink->stuck)
        return false;
    sink->stuck = true;
    return poll(&fd, 1, STUCK_WAIT_MS) > 0;
}

static bool write_line(cq_sink *sink, const char *data, size_t len)
{
    size_t done = 0;

    while (done < len) {
        ssize_t written = write_once(sink, data + done, len - done);

        if (written > 0)
            done += (size_t)written;
        else if (written < 0 && errno == EAGAIN && wait_for_room(sink))
            continue;
        else
            break;
    }
    if (done > 0)
        sink->torn = done < len;
    if (done == len)
        sink->stuck = false;
    return done == len;
}

bool cq_sink_write(cq_sink *sink, const char *line, size_t len)
{
    cq_sigpipe guard;
    bool whole;

    if (sink->fd < 0)
        return false;
    if (sink->torn) {
        line--;
        len++;
    }
    if (!sink->is_pipe)
        return write_line(sink, line, len);
    cq_sigpipe_block(&guard);
    whole = write_line(sink, line, len);
    cq_sigpipe_restore(&guard);
    return whole;
}
