/* SPDX-License-Identifier: MIT */
/* http_peer.c - an HTTP server of a test's own: a thread a connection. */
#include "support/http_peer.h"

#include "support/certs.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>
/* after the others */
#include <setjmp.h>

#include <cmocka.h>

#define HEAD_BYTES 16384
#define BODY_BYTES (1u << 20)
#define MOST       64 /* connections */
#define LOOK_MS    20

typedef struct connection {
    http_peer *peer;
    int fd;
    SSL *tls;
    char head[HEAD_BYTES], body[BODY_BYTES];
    size_t head_len, body_len;
} connection;

struct http_peer {
    int listener;
    uint16_t port;
    SSL_CTX *tls;
    pthread_t thread, threads[MOST];
    size_t thread_count;
    atomic_bool over;
    pthread_mutex_t mutex;
    char *answer, *head, *body;
    size_t body_len, connections, requests;
};

static bool wait_readable(const connection *c)
{
    struct pollfd fd = { .fd = c->fd, .events = POLLIN };

    if (c->tls && SSL_pending(c->tls) > 0)
        return true;
    while (!atomic_load(&c->peer->over))
        if (poll(&fd, 1, LOOK_MS) > 0)
            return true;
    return false;
}

static ssize_t receive(const connection *c, void *data, size_t size)
{
    if (!wait_readable(c))
        return -1;
    return c->tls ? SSL_read(c->tls, data, (int)size) : read(c->fd, data, size);
}

static void reply(const connection *c, const char *text)
{
    if (c->tls)
        SSL_write(c->tls, text, (int)strlen(text));
    else
        send(c->fd, text, strlen(text), MSG_NOSIGNAL);
}

/* Byte by byte until the empty line; false: the peer has closed. */
static bool read_head(connection *c)
{
    c->head_len = 0;
    while (c->head_len < HEAD_BYTES - 1) {
        if (receive(c, c->head + c->head_len, 1) != 1)
            return false;
        c->head[++c->head_len] = '\0';
        if (c->head_len >= 4 && strcmp(c->head + c->head_len - 4, "\r\n\r\n") == 0)
            return true;
    }
    return false;
}

static bool read_body(connection *c)
{
    const char *field = strcasestr(c->head, "\r\nContent-Length:");
    size_t wanted = field ? strtoul(field + 17, NULL, 10) : 0;

    c->body_len = 0;
    while (c->body_len < wanted && wanted < BODY_BYTES) {
        ssize_t got = receive(c, c->body + c->body_len, wanted - c->body_len);

        if (got <= 0)
            return false;
        c->body_len += (size_t)got;
    }
    return c->body_len == wanted;
}

static char *keep_request(const connection *c)
{
    http_peer *peer = c->peer;
    char *answer;

    pthread_mutex_lock(&peer->mutex);
    memcpy(peer->head, c->head, c->head_len + 1);
    memcpy(peer->body, c->body, c->body_len);
    peer->body[c->body_len] = '\0';
    peer->body_len = c->body_len;
    peer->requests++;
    answer = peer->answer ? strdup(peer->answer) : NULL;
    pthread_mutex_unlock(&peer->mutex);
    return answer;
}

static bool shake_hands(connection *c)
{
    if (!c->peer->tls)
        return true;
    c->tls = SSL_new(c->peer->tls);
    SSL_set_fd(c->tls, c->fd);
    return SSL_accept(c->tls) == 1;
}

static void *serve(void *arg)
{
    connection *c = arg;

    if (shake_hands(c))
        while (read_head(c) && read_body(c)) {
            char *answer = keep_request(c);

            if (answer)
                reply(c, answer);
            free(answer);
        }
    SSL_free(c->tls);
    close(c->fd);
    free(c);
    return NULL;
}

static void *accept_all(void *arg)
{
    http_peer *peer = arg;
    struct pollfd fd = { .fd = peer->listener, .events = POLLIN };

    while (!atomic_load(&peer->over)) {
        connection *c;

        if (poll(&fd, 1, LOOK_MS) <= 0 || peer->thread_count == MOST)
            continue;
        c = calloc(1, sizeof *c);
        if (!c)
            abort();
        c->peer = peer;
        c->fd = accept(peer->listener, NULL, NULL);
        pthread_mutex_lock(&peer->mutex);
        peer->connections++;
        pthread_mutex_unlock(&peer->mutex);
        if (pthread_create(&peer->threads[peer->thread_count++], NULL, serve, c) != 0)
            abort();
    }
    return NULL;
}

static SSL_CTX *open_tls(const char *certs, const char *name)
{
    SSL_CTX *tls = SSL_CTX_new(TLS_server_method());

    if (!tls ||
        SSL_CTX_use_certificate_file(tls, certs_path(certs, name, "pem"),
                                     SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_use_PrivateKey_file(tls, certs_path(certs, name, "key"),
                                    SSL_FILETYPE_PEM) != 1)
        fail_msg("no TLS with the certificate %s", name);
    return tls;
}

http_peer *http_peer_start(const char *certs, const char *name)
{
    http_peer *peer = calloc(1, sizeof *peer);
    struct sockaddr_in at = { .sin_family = AF_INET };
    socklen_t len = sizeof at;

    assert_non_null(peer);
    peer->head = calloc(1, HEAD_BYTES);
    peer->body = calloc(1, BODY_BYTES + 1);
    assert_true(peer->head && peer->body);
    peer->tls = certs ? open_tls(certs, name) : NULL;
    pthread_mutex_init(&peer->mutex, NULL);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    peer->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (peer->listener < 0 || bind(peer->listener, (void *)&at, sizeof at) != 0 ||
        listen(peer->listener, MOST) != 0 ||
        getsockname(peer->listener, (void *)&at, &len) != 0 ||
        pthread_create(&peer->thread, NULL, accept_all, peer) != 0)
        fail_msg("no HTTP server");
    peer->port = ntohs(at.sin_port);
    return peer;
}

void http_peer_stop(http_peer *peer)
{
    atomic_store(&peer->over, true);
    pthread_join(peer->thread, NULL);
    for (size_t i = 0; i < peer->thread_count; i++)
        pthread_join(peer->threads[i], NULL);
    close(peer->listener);
    SSL_CTX_free(peer->tls);
    pthread_mutex_destroy(&peer->mutex);
    free(peer->answer);
    free(peer->head);
    free(peer->body);
    free(peer);
}

uint16_t http_peer_port(const http_peer *peer)
{
    return peer->port;
}

void http_peer_answer(http_peer *peer, const char *answer)
{
    pthread_mutex_lock(&peer->mutex);
    free(peer->answer);
    peer->answer = answer ? strdup(answer) : NULL;
    pthread_mutex_unlock(&peer->mutex);
}

static size_t read_count(http_peer *peer, const size_t *count)
{
    size_t value;

    pthread_mutex_lock(&peer->mutex);
    value = *count;
    pthread_mutex_unlock(&peer->mutex);
    return value;
}

size_t http_peer_connections(http_peer *peer)
{
    return read_count(peer, &peer->connections);
}

size_t http_peer_requests(http_peer *peer)
{
    return read_count(peer, &peer->requests);
}

const char *http_peer_head(http_peer *peer)
{
    return peer->head;
}

const char *http_peer_body(http_peer *peer, size_t *len)
{
    *len = peer->body_len;
    return peer->body;
}
