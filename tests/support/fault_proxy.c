/* SPDX-License-Identifier: MIT */
/* fault_proxy.c - stands between clients and a Redis, and does what networks do.
 *
 * Invariants: of each connection, expected[] names what is to happen to the replies that
 * are due, in order: one for each command that came, sent on or not. Only the proxy's
 * thread touches connections; the plan and the flags are shared under the mutex. */
#include "support/fault_proxy.h"

#include "base/buf.h"
#include "base/clock.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#define CONNECTIONS  64
#define EXPECTED     16384
#define BUFFER_LIMIT ((size_t)256 << 20)

typedef struct connection {
    int client, server;
    cq_buf commands, replies;         /* what came and is not complete yet */
    unsigned char expected[EXPECTED]; /* fault_kind of each reply that is due: a ring */
    size_t first, due;
    bool frozen;
} connection;

struct fault_proxy {
    char dir[64], path[100], uri[128], upstream[108];
    int listener, bell;
    pthread_t thread;
    connection *connections[CONNECTIONS];

    pthread_mutex_t mutex; /* protects what follows */
    fault_kind kind;
    char command[32], error_line[128];
    int nth, seen, delay_ms;
    bool struck, holding, split, freeze, drop, refuse, stopping;
};

/* ---- RESP: how long is the first whole value? ---- */

static const char *line_end(const char *at, const char *end)
{
    const char *newline = at < end ? memchr(at, '\n', (size_t)(end - at)) : NULL;

    return newline ? newline + 1 : NULL;
}

/* The end of the value at at, or NULL while it is not complete. */
static const char *value_end(const char *at, const char *end)
{
    const char *behind = line_end(at, end);
    long count;

    if (!behind)
        return NULL;
    count = strtol(at + 1, NULL, 10);
    if (*at == '$' && count >= 0)
        return end - behind >= count + 2 ? behind + count + 2 : NULL;
    if (*at != '*')
        return behind;
    for (; behind && count > 0; count--)
        behind = value_end(behind, end);
    return behind;
}

static size_t value_len(const cq_buf *buf)
{
    const char *end = buf->len ? value_end(buf->data, buf->data + buf->len) : NULL;

    return end ? (size_t)(end - buf->data) : 0;
}

/* ---- sockets ---- */

static bool write_all(int fd, const char *data, size_t len, bool split)
{
    while (len > 0) {
        ssize_t sent = send(fd, data, split ? 1 : len, MSG_NOSIGNAL);

        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return false;
        data += sent;
        len -= (size_t)sent;
    }
    return true;
}

static bool read_some(int fd, cq_buf *buf)
{
    char *room = cq_buf_reserve(buf, 65536);
    ssize_t got = room ? recv(fd, room, 65536, 0) : -1;

    if (got <= 0)
        return false;
    buf->len += (size_t)got;
    return true;
}

static int connect_to(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address)) {
        close(fd);
        return -1;
    }
    return fd;
}

/* ---- connections ---- */

static void end_connection(fault_proxy *proxy, size_t place)
{
    connection *c = proxy->connections[place];

    close(c->client);
    close(c->server);
    cq_buf_release(&c->commands);
    cq_buf_release(&c->replies);
    free(c);
    proxy->connections[place] = NULL;
}

static void accept_one(fault_proxy *proxy, bool refuse)
{
    int client = accept4(proxy->listener, NULL, NULL, SOCK_CLOEXEC), server = -1;
    size_t place = 0;

    while (place < CONNECTIONS && proxy->connections[place])
        place++;
    if (client >= 0 && !refuse && place < CONNECTIONS)
        server = connect_to(proxy->upstream);
    if (server < 0) {
        if (client >= 0)
            close(client);
        return;
    }
    proxy->connections[place] = calloc(1, sizeof(connection));
    proxy->connections[place]->client = client;
    proxy->connections[place]->server = server;
    cq_buf_init(&proxy->connections[place]->commands, BUFFER_LIMIT);
    cq_buf_init(&proxy->connections[place]->replies, BUFFER_LIMIT);
}

static bool is_command(const cq_buf *buf, const char *word)
{
    const char *at = line_end(buf->data, buf->data + buf->len); /* behind "*3" */
    size_t len = strlen(word);

    at = at ? line_end(at, buf->data + buf->len) : NULL; /* behind "$7" */
    return at && (size_t)(buf->data + buf->len - at) >= len &&
           strncasecmp(at, word, len) == 0;
}

/* What is to happen to the command at the front. */
static fault_kind judge(fault_proxy *proxy, const connection *c)
{
    fault_kind kind = FAULT_NONE;

    pthread_mutex_lock(&proxy->mutex);
    if (is_command(&c->commands, proxy->command) && ++proxy->seen == proxy->nth) {
        kind = proxy->kind;
        proxy->struck = kind != FAULT_NONE;
        proxy->holding = kind == FAULT_HOLD;
        proxy->kind = FAULT_NONE;
    }
    pthread_mutex_unlock(&proxy->mutex);
    return kind;
}

static bool carry_commands(fault_proxy *proxy, connection *c)
{
    size_t len;

    while ((len = value_len(&c->commands)) > 0) {
        fault_kind kind = judge(proxy, c);

        if (kind == FAULT_CUT_BEFORE || c->due == EXPECTED)
            return false;
        if (kind != FAULT_ERROR && !write_all(c->server, c->commands.data, len, false))
            return false;
        c->expected[(c->first + c->due++) % EXPECTED] = (unsigned char)kind;
        cq_buf_consume(&c->commands, len);
    }
    return true;
}

/* Error lines that are due come from here, not from the server. */
static bool answer_errors(fault_proxy *proxy, connection *c)
{
    while (c->due > 0 && c->expected[c->first] == FAULT_ERROR) {
        char line[160];

        snprintf(line, sizeof line, "%s\r\n", proxy->error_line);
        c->first = (c->first + 1) % EXPECTED;
        c->due--;
        if (!write_all(c->client, line, strlen(line), false))
            return false;
    }
    return true;
}

static bool carry_replies(fault_proxy *proxy, connection *c)
{
    size_t len;

    if (!answer_errors(proxy, c))
        return false;
    while ((len = value_len(&c->replies)) > 0) {
        /* Beyond what is due: messages to a subscriber. */
        fault_kind kind = c->due ? (fault_kind)c->expected[c->first] : FAULT_NONE;

        if (kind == FAULT_HOLD && proxy->holding)
            return true;
        if (kind == FAULT_CUT_AFTER)
            return false;
        if (proxy->delay_ms)
            cq_sleep_ms(proxy->delay_ms);
        if (!write_all(c->client, c->replies.data,
                       kind == FAULT_CUT_WITHIN ? (len + 1) / 2 : len, proxy->split))
            return false;
        if (kind == FAULT_CUT_WITHIN)
            return false;
        cq_buf_consume(&c->replies, len);
        if (c->due) {
            c->first = (c->first + 1) % EXPECTED;
            c->due--;
        }
        if (!answer_errors(proxy, c))
            return false;
    }
    return true;
}

/* ---- the thread ---- */

static size_t watch(fault_proxy *proxy, struct pollfd fds[2 + 2 * CONNECTIONS],
                    size_t places[CONNECTIONS])
{
    size_t count = 0;

    fds[0] = (struct pollfd){ proxy->listener, POLLIN, 0 };
    fds[1] = (struct pollfd){ proxy->bell, POLLIN, 0 };
    for (size_t i = 0; i < CONNECTIONS; i++) {
        if (!proxy->connections[i] || proxy->connections[i]->frozen)
            continue;
        fds[2 + 2 * count] = (struct pollfd){ proxy->connections[i]->client, POLLIN, 0 };
        fds[3 + 2 * count] = (struct pollfd){ proxy->connections[i]->server, POLLIN, 0 };
        places[count++] = i;
    }
    return count;
}

static bool serve(fault_proxy *proxy, connection *c, const struct pollfd pair[2])
{
    if (c->frozen)
        return true;
    if (pair[0].revents && !read_some(c->client, &c->commands))
        return false;
    if (pair[1].revents && !read_some(c->server, &c->replies))
        return false;
    return carry_commands(proxy, c) && carry_replies(proxy, c);
}

static void freeze(fault_proxy *proxy)
{
    for (size_t i = 0; i < CONNECTIONS; i++)
        if (proxy->connections[i])
            proxy->connections[i]->frozen = true;
}

static bool obey(fault_proxy *proxy, bool *drop, bool *refuse)
{
    uint64_t rings;
    bool go_on;

    if (read(proxy->bell, &rings, sizeof rings) < 0)
        rings = 0;
    pthread_mutex_lock(&proxy->mutex);
    *drop = proxy->drop;
    *refuse = proxy->refuse;
    proxy->drop = false;
    if (proxy->freeze)
        freeze(proxy);
    proxy->freeze = false;
    go_on = !proxy->stopping;
    pthread_mutex_unlock(&proxy->mutex);
    return go_on;
}

static void *run(void *arg)
{
    fault_proxy *proxy = arg;
    struct pollfd fds[2 + 2 * CONNECTIONS];
    size_t places[CONNECTIONS];
    bool drop, refuse;

    for (;;) {
        size_t count = watch(proxy, fds, places);

        poll(fds, (nfds_t)(2 + 2 * count), -1);
        if (!obey(proxy, &drop, &refuse))
            break;
        for (size_t i = 0; i < count; i++)
            if (drop || !serve(proxy, proxy->connections[places[i]], &fds[2 + 2 * i]))
                end_connection(proxy, places[i]);
        if (fds[0].revents)
            accept_one(proxy, refuse);
    }
    for (size_t i = 0; i < CONNECTIONS; i++)
        if (proxy->connections[i])
            end_connection(proxy, i);
    return NULL;
}

/* ---- for the test ---- */

static void ring(fault_proxy *proxy)
{
    uint64_t one = 1;

    assert_int_equal(write(proxy->bell, &one, sizeof one), sizeof one);
}

fault_proxy *fault_proxy_start(const char *upstream_socket)
{
    fault_proxy *proxy = calloc(1, sizeof *proxy);
    struct sockaddr_un address = { .sun_family = AF_UNIX };

    assert_non_null(proxy);
    snprintf(proxy->upstream, sizeof proxy->upstream, "%s", upstream_socket);
    strcpy(proxy->dir, "/tmp/cronq-proxy-XXXXXX");
    assert_non_null(mkdtemp(proxy->dir));
    snprintf(proxy->path, sizeof proxy->path, "%s/proxy.sock", proxy->dir);
    snprintf(proxy->uri, sizeof proxy->uri, "redis-socket://%s", proxy->path);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", proxy->path);
    proxy->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(proxy->listener, (struct sockaddr *)&address, sizeof address),
                     0);
    assert_int_equal(listen(proxy->listener, 64), 0);
    proxy->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    assert_true(proxy->bell >= 0);
    pthread_mutex_init(&proxy->mutex, NULL);
    assert_int_equal(pthread_create(&proxy->thread, NULL, run, proxy), 0);
    return proxy;
}

void fault_proxy_stop(fault_proxy *proxy)
{
    if (!proxy)
        return;
    pthread_mutex_lock(&proxy->mutex);
    proxy->stopping = true;
    pthread_mutex_unlock(&proxy->mutex);
    ring(proxy);
    pthread_join(proxy->thread, NULL);
    close(proxy->listener);
    close(proxy->bell);
    unlink(proxy->path);
    rmdir(proxy->dir);
    pthread_mutex_destroy(&proxy->mutex);
    free(proxy);
}

const char *fault_proxy_uri(const fault_proxy *proxy)
{
    return proxy->uri;
}

void fault_proxy_plan(fault_proxy *proxy, fault_kind kind, const char *command, int nth,
                      const char *error_line)
{
    pthread_mutex_lock(&proxy->mutex);
    snprintf(proxy->command, sizeof proxy->command, "%s", command ? command : "");
    snprintf(proxy->error_line, sizeof proxy->error_line, "%s",
             error_line ? error_line : "-ERR planned");
    proxy->kind = kind;
    proxy->nth = nth;
    proxy->seen = 0;
    proxy->struck = false;
    pthread_mutex_unlock(&proxy->mutex);
}

bool fault_proxy_struck(fault_proxy *proxy)
{
    bool struck;

    pthread_mutex_lock(&proxy->mutex);
    struck = proxy->struck;
    pthread_mutex_unlock(&proxy->mutex);
    return struck;
}

int fault_proxy_seen(fault_proxy *proxy)
{
    int seen;

    pthread_mutex_lock(&proxy->mutex);
    seen = proxy->seen;
    pthread_mutex_unlock(&proxy->mutex);
    return seen;
}

void fault_proxy_release(fault_proxy *proxy)
{
    pthread_mutex_lock(&proxy->mutex);
    proxy->holding = false;
    pthread_mutex_unlock(&proxy->mutex);
    ring(proxy);
}

void fault_proxy_split(fault_proxy *proxy, bool split)
{
    pthread_mutex_lock(&proxy->mutex);
    proxy->split = split;
    pthread_mutex_unlock(&proxy->mutex);
}

void fault_proxy_delay(fault_proxy *proxy, int delay_ms)
{
    pthread_mutex_lock(&proxy->mutex);
    proxy->delay_ms = delay_ms;
    pthread_mutex_unlock(&proxy->mutex);
}

void fault_proxy_freeze(fault_proxy *proxy)
{
    pthread_mutex_lock(&proxy->mutex);
    proxy->freeze = true;
    pthread_mutex_unlock(&proxy->mutex);
    ring(proxy);
}

void fault_proxy_drop(fault_proxy *proxy, bool refuse)
{
    pthread_mutex_lock(&proxy->mutex);
    proxy->drop = true;
    proxy->refuse = refuse;
    pthread_mutex_unlock(&proxy->mutex);
    ring(proxy);
}
