/* SPDX-License-Identifier: MIT */
/* stream.c - bytes to and from a server: TCP, TLS or a Unix socket. */
#include "net/stream.h"

#include "base/clock.h"
#include "base/error.h"

#include <errno.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* A peer that is gone without a word is noticed within 15 s: 6 + 3 * 3. */
#define KEEPALIVE_IDLE_S     6
#define KEEPALIVE_INTERVAL_S 3
#define KEEPALIVE_PROBES     3
#define UNACKNOWLEDGED_MS    15000

static int64_t deadline_of(int64_t timeout_ms)
{
    int64_t now_ms = cq_mono_ms();

    return timeout_ms < 0 || timeout_ms > INT64_MAX - now_ms ? INT64_MAX
                                                             : now_ms + timeout_ms;
}

/* What is left, as poll(2) wants it. */
static int remaining(int64_t deadline_ms)
{
    int64_t left_ms;

    if (deadline_ms == INT64_MAX)
        return -1;
    left_ms = deadline_ms - cq_mono_ms();
    if (left_ms < 0)
        return 0;
    return left_ms > INT_MAX ? INT_MAX : (int)left_ms;
}

/* 0, or errno. *ready is 0 when the deadline came. */
static int wait_until(int fd, short events, int64_t deadline_ms, short *ready)
{
    struct pollfd poll_fd = { .fd = fd, .events = events };
    int count;

    do
        count = poll(&poll_fd, 1, remaining(deadline_ms));
    while (count < 0 && errno == EINTR);
    if (count < 0)
        return errno;
    *ready = count ? poll_fd.revents : 0;
    return 0;
}

/* 0, or errno. */
static int finish_connect(int fd, int64_t deadline_ms)
{
    socklen_t size = sizeof(int);
    short ready = 0;
    int error = wait_until(fd, POLLOUT, deadline_ms, &ready);

    if (error)
        return error;
    if (!ready)
        return ETIMEDOUT;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) ? errno : error;
}

/* A connected descriptor in *out and 0, or errno. */
static int connect_to(int family, const struct sockaddr *address, socklen_t size,
                      int64_t deadline_ms, int *out)
{
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int error;

    if (fd < 0)
        return errno;
    error = connect(fd, address, size) ? errno : 0;
    if (error == EINPROGRESS || error == EINTR)
        error = finish_connect(fd, deadline_ms);
    if (error) {
        close(fd);
        return error;
    }
    *out = fd;
    return 0;
}

static void set_option(int fd, int level, int name, int value)
{
    /* Where the system refuses one of these the connection works without. */
    (void)setsockopt(fd, level, name, &value, sizeof value);
}

static void tune_tcp(int fd)
{
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S);
    set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S);
    set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_PROBES);
    set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS);
}

static cronq_status look_up(const cq_endpoint *endpoint, struct addrinfo **out,
                            cronq_error *err)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
    char port[8];
    int code;

    snprintf(port, sizeof port, "%u", endpoint->port);
    code = getaddrinfo(endpoint->host, port, &hints, out);
    if (code == EAI_SYSTEM)
        return cq_fail_errno(err, CRONQ_EIO, errno, "cannot look up the host");
    if (code)
        return cq_fail(err, CRONQ_EIO, "cannot look up the host: %s", gai_strerror(code));
    return CRONQ_OK;
}

/* Each address gets an equal part of the time that is left, so that one that does not
 * answer does not keep the others from being tried. */
static cronq_status open_tcp(cq_stream *stream, const cq_endpoint *endpoint,
                             int64_t deadline_ms, cronq_error *err)
{
    struct addrinfo *addresses;
    cronq_status status = look_up(endpoint, &addresses, err);
    int64_t left_count = 0;
    int error = EADDRNOTAVAIL;

    if (status)
        return status;
    for (struct addrinfo *a = addresses; a; a = a->ai_next)
        left_count++;
    for (struct addrinfo *a = addresses; a && error; a = a->ai_next, left_count--) {
        int64_t part_ms =
            deadline_ms == INT64_MAX ? -1 : remaining(deadline_ms) / left_count;

        error = connect_to(a->ai_family, a->ai_addr, a->ai_addrlen, deadline_of(part_ms),
                           &stream->fd);
    }
    freeaddrinfo(addresses);
    if (error)
        return cq_fail_errno(err, CRONQ_EIO, error, "cannot connect");
    tune_tcp(stream->fd);
    return CRONQ_OK;
}

static cronq_status open_socket(cq_stream *stream, const cq_endpoint *endpoint,
                                int64_t deadline_ms, cronq_error *err)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    size_t len = strlen(endpoint->socket_path);
    int error;

    if (len >= sizeof address.sun_path)
        return cq_fail(err, CRONQ_EIO, "the path of the socket is too long");
    memcpy(address.sun_path, endpoint->socket_path, len);
    /* EAGAIN: its backlog is full, and a Unix socket cannot be waited for. */
    while ((error = connect_to(AF_UNIX, (struct sockaddr *)&address, sizeof address,
                               deadline_ms, &stream->fd)) == EAGAIN) {
        if (remaining(deadline_ms) == 0)
            break;
        cq_sleep_ms(1);
    }
    if (error)
        return cq_fail_errno(err, CRONQ_EIO, error, "cannot connect");
    return CRONQ_OK;
}

static cronq_status open_tls(cq_stream *stream, const cq_endpoint *endpoint,
                             int64_t deadline_ms, cronq_error *err)
{
    const char *host = endpoint->host ? endpoint->host : "localhost";
    cronq_status status = cq_tls_open(endpoint->tls, stream->fd, host, &stream->tls, err);
    short events = 0, ready;
    int error;

    while (!status) {
        status = cq_tls_handshake(stream->tls, &events, err);
        if (status || !events)
            break;
        error = wait_until(stream->fd, events, deadline_ms, &ready);
        if (error || !ready)
            return cq_fail_errno(err, CRONQ_EIO, error ? error : ETIMEDOUT,
                                 "TLS: no handshake; does the server speak TLS on this "
                                 "port?");
    }
    stream->reading_needs = POLLIN;
    stream->writing_needs = POLLOUT;
    return status;
}

cronq_status cq_stream_open(cq_stream *stream, const cq_endpoint *endpoint,
                            cronq_error *err)
{
    int64_t deadline_ms = deadline_of(endpoint->dial_timeout_ms);
    cronq_status status = endpoint->socket_path
                              ? open_socket(stream, endpoint, deadline_ms, err)
                              : open_tcp(stream, endpoint, deadline_ms, err);

    if (!status && endpoint->tls)
        status = open_tls(stream, endpoint, deadline_ms, err);
    return status;
}

void cq_stream_close(cq_stream *stream)
{
    cq_tls_close(stream->tls);
    stream->tls = NULL;
    if (stream->fd >= 0)
        close(stream->fd);
    stream->fd = -1;
}

void cq_stream_shut(const cq_stream *stream)
{
    if (stream->fd >= 0)
        (void)shutdown(stream->fd, SHUT_RDWR);
}

static bool would_block(int error)
{
    return error == EAGAIN || error == EWOULDBLOCK || error == EINTR;
}

cronq_status cq_stream_read(cq_stream *stream, void *data, size_t size, size_t *count,
                            cronq_error *err)
{
    ssize_t got;

    if (stream->tls) {
        cronq_status status =
            cq_tls_read(stream->tls, data, size, count, &stream->reading_needs, err);

        if (!stream->reading_needs)
            stream->reading_needs = POLLIN;
        return status;
    }
    got = recv(stream->fd, data, size, 0);
    if (got == 0)
        return cq_fail(err, CRONQ_EIO, "the server closed the connection");
    if (got < 0 && !would_block(errno))
        return cq_fail_errno(err, CRONQ_EIO, errno, "reading failed");
    *count = got < 0 ? 0 : (size_t)got;
    return CRONQ_OK;
}

cronq_status cq_stream_write(cq_stream *stream, const void *data, size_t size,
                             size_t *count, cronq_error *err)
{
    ssize_t sent;

    if (stream->tls) {
        cronq_status status =
            cq_tls_write(stream->tls, data, size, count, &stream->writing_needs, err);

        if (!stream->writing_needs)
            stream->writing_needs = POLLOUT;
        return status;
    }
    sent = send(stream->fd, data, size, MSG_NOSIGNAL);
    if (sent < 0 && !would_block(errno))
        return cq_fail_errno(err, CRONQ_EIO, errno, "writing failed");
    *count = sent < 0 ? 0 : (size_t)sent;
    return CRONQ_OK;
}

static cronq_status wait_tls(const cq_stream *stream, short events, int64_t timeout_ms,
                             short *ready, cronq_error *err)
{
    short reading = events & POLLIN ? stream->reading_needs : 0;
    short writing = events & POLLOUT ? stream->writing_needs : 0;
    short found = 0, ends = POLLERR | POLLHUP;
    int error;

    *ready = POLLIN;
    if (reading && cq_tls_pending(stream->tls))
        return CRONQ_OK;
    error = wait_until(stream->fd, (short)(reading | writing), deadline_of(timeout_ms),
                       &found);
    if (error)
        return cq_fail_errno(err, CRONQ_EIO, error, "waiting failed");
    *ready = (short)((found & (reading | ends) && reading ? POLLIN : 0) |
                     (found & (writing | ends) && writing ? POLLOUT : 0));
    return CRONQ_OK;
}

cronq_status cq_stream_wait(cq_stream *stream, short events, int64_t timeout_ms,
                            short *ready, cronq_error *err)
{
    int error;

    if (stream->tls)
        return wait_tls(stream, events, timeout_ms, ready, err);
    error = wait_until(stream->fd, events, deadline_of(timeout_ms), ready);
    if (error)
        return cq_fail_errno(err, CRONQ_EIO, error, "waiting failed");
    return CRONQ_OK;
}

bool cq_stream_quiet(const cq_stream *stream)
{
    char byte;
    ssize_t got = recv(stream->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

    if (stream->tls && cq_tls_pending(stream->tls))
        return false;
    return got < 0 && would_block(errno);
}
