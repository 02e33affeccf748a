/* SPDX-License-Identifier: MIT */
/* receiver.c - an OTLP receiver that takes everything, or never answers. */
#include "base/error.h"
#include "base/thread.h"
#include "bench/gear.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEAD_BYTES 8192
#define BODY_BYTES 65536

/* One connection at a time, as the exporter has; a new one ends the old one. */
struct cq_bench_receiver {
    pthread_t thread;
    cq_event over;
    int listener, peer;
    uint16_t port;
    bool is_silent;
    char head[HEAD_BYTES]; /* of the request that is being read */
    size_t head_len, body_left;
};

static void answer(cq_bench_receiver *receiver)
{
    static const char text[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

    receiver->head_len = 0;
    if (!receiver->is_silent &&
        send(receiver->peer, text, sizeof text - 1, MSG_NOSIGNAL) < 0)
        receiver->head_len = 0;
}

/* A byte of a head at a time is slow, and enough for a few requests a second. */
static bool read_head(cq_bench_receiver *receiver)
{
    const char *length;

    if (receiver->head_len == HEAD_BYTES - 1 ||
        recv(receiver->peer, receiver->head + receiver->head_len, 1, 0) != 1)
        return false;
    receiver->head[++receiver->head_len] = '\0';
    if (receiver->head_len < 4 ||
        memcmp(receiver->head + receiver->head_len - 4, "\r\n\r\n", 4) != 0)
        return true;
    length = strcasestr(receiver->head, "content-length:");
    receiver->body_left = length ? strtoul(length + 15, NULL, 10) : 0;
    if (receiver->body_left == 0)
        answer(receiver);
    return true;
}

static bool read_body(cq_bench_receiver *receiver)
{
    char bytes[BODY_BYTES];
    size_t most = receiver->body_left < BODY_BYTES ? receiver->body_left : BODY_BYTES;
    ssize_t got = recv(receiver->peer, bytes, most, 0);

    if (got <= 0)
        return false;
    receiver->body_left -= (size_t)got;
    if (receiver->body_left == 0)
        answer(receiver);
    return true;
}

static void hang_up(cq_bench_receiver *receiver)
{
    if (receiver->peer >= 0)
        close(receiver->peer);
    receiver->peer = -1;
    receiver->head_len = receiver->body_left = 0;
}

static void *serve(void *arg)
{
    cq_bench_receiver *receiver = arg;
    struct pollfd ready[3];

    for (;;) {
        ready[0] = (struct pollfd){ .fd = receiver->over.fd, .events = POLLIN };
        ready[1] = (struct pollfd){ .fd = receiver->listener, .events = POLLIN };
        ready[2] = (struct pollfd){ .fd = receiver->peer, .events = POLLIN };
        if (poll(ready, 3, -1) < 0 && errno != EINTR)
            return NULL;
        if (ready[0].revents)
            return NULL;
        if (ready[2].revents &&
            !(receiver->body_left ? read_body(receiver) : read_head(receiver)))
            hang_up(receiver);
        if (ready[1].revents) {
            hang_up(receiver);
            receiver->peer = accept4(receiver->listener, NULL, NULL, SOCK_CLOEXEC);
        }
    }
}

static cronq_status listen_somewhere(cq_bench_receiver *receiver, cronq_error *err)
{
    struct sockaddr_in address = { .sin_family = AF_INET };
    socklen_t size = sizeof address;

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    receiver->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (receiver->listener < 0 ||
        bind(receiver->listener, (struct sockaddr *)&address, size) != 0 ||
        listen(receiver->listener, 16) != 0 ||
        getsockname(receiver->listener, (struct sockaddr *)&address, &size) != 0)
        return cq_fail_errno(err, CRONQ_EIO, errno, "cannot listen on 127.0.0.1");
    receiver->port = ntohs(address.sin_port);
    return CRONQ_OK;
}

static void release(cq_bench_receiver *receiver)
{
    hang_up(receiver);
    if (receiver->listener >= 0)
        close(receiver->listener);
    cq_event_release(&receiver->over);
    free(receiver);
}

cronq_status cq_bench_receiver_start(bool is_silent, cq_bench_receiver **out,
                                     cronq_error *err)
{
    cq_bench_receiver *receiver = calloc(1, sizeof *receiver);
    cronq_status status;

    if (!receiver)
        return cq_fail_nomem(err);
    receiver->is_silent = is_silent;
    receiver->listener = receiver->peer = receiver->over.fd = -1;
    status = cq_event_init(&receiver->over, err);
    if (!status)
        status = listen_somewhere(receiver, err);
    if (!status)
        status = cq_thread_start(&receiver->thread, "receiver", serve, receiver, err);
    if (status) {
        release(receiver);
        return status;
    }
    *out = receiver;
    return CRONQ_OK;
}

uint16_t cq_bench_receiver_port(const cq_bench_receiver *receiver)
{
    return receiver->port;
}

void cq_bench_receiver_stop(cq_bench_receiver *receiver)
{
    if (!receiver)
        return;
    cq_event_set(&receiver->over);
    pthread_join(receiver->thread, NULL);
    release(receiver);
}
