/* SPDX-License-Identifier: MIT */
/* support/peer.c - a peer on a Unix socket that says what a test wants it to say. */
#include "support/peer.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

struct test_peer {
    pthread_t thread;
    int fd;
    char dir[32];
    char path[64], uri[80];
    const char *greeting;
    void (*talk)(int fd);
};

int peer_send(int fd, const void *data, size_t len)
{
    const char *bytes = data;

    while (len > 0) {
        ssize_t sent = send(fd, bytes, len, MSG_NOSIGNAL);

        if (sent < 0 && errno != EINTR)
            return 0;
        if (sent > 0) {
            bytes += sent;
            len -= (size_t)sent;
        }
    }
    return 1;
}

int peer_say(int fd, const char *text)
{
    return peer_send(fd, text, strlen(text));
}

void peer_drain(int fd)
{
    char bytes[4096];

    while (recv(fd, bytes, sizeof bytes, 0) > 0)
        ;
}

static void *run(void *arg)
{
    test_peer *peer = arg;
    char bytes[4096];
    int fd = accept(peer->fd, NULL, NULL);

    if (fd < 0)
        return NULL;
    if (peer->greeting && recv(fd, bytes, sizeof bytes, 0) > 0)
        peer_say(fd, peer->greeting);
    if (peer->talk)
        peer->talk(fd);
    close(fd);
    return NULL;
}

test_peer *peer_start(const char *greeting, void (*talk)(int fd))
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    test_peer *peer = calloc(1, sizeof *peer);

    if (!peer)
        fail_msg("out of memory");
    peer->greeting = greeting;
    peer->talk = talk;
    strcpy(peer->dir, "/tmp/cronq-peer-XXXXXX");
    if (!mkdtemp(peer->dir))
        fail_msg("%s: %s", peer->dir, strerror(errno));
    snprintf(peer->path, sizeof peer->path, "%s/sock", peer->dir);
    snprintf(peer->uri, sizeof peer->uri, "unix://%s", peer->path);
    memcpy(address.sun_path, peer->path, sizeof peer->path);
    peer->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (peer->fd < 0 || bind(peer->fd, (struct sockaddr *)&address, sizeof address) ||
        listen(peer->fd, 8))
        fail_msg("%s: %s", peer->path, strerror(errno));
    if (pthread_create(&peer->thread, NULL, run, peer))
        fail_msg("no thread");
    return peer;
}

void peer_stop(test_peer *peer)
{
    shutdown(peer->fd, SHUT_RDWR); /* ends an accept that nobody came for */
    pthread_join(peer->thread, NULL);
    close(peer->fd);
    unlink(peer->path);
    rmdir(peer->dir);
    free(peer);
}

const char *peer_uri(const test_peer *peer)
{
    return peer->uri;
}
