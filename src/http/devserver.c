/* SPDX-License-Identifier: MIT */
/* devserver.c - a small HTTP server: listening, its thread, and limits against slow or
 * many peers. */
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/options.h"
#include "http/internal.h"
#include "http/process.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PORT_DEFAULT            6060
#define CONNECTIONS_DEFAULT     128
#define CONNECTIONS_LIMIT       10000
#define ADDRESS_SHARE           4 /* of the connections, for one address */
#define IDLE_TIMEOUT_S          5
#define CONNECTION_DEADLINE_MS  10000
#define CONNECTION_MEMORY_BYTES ((size_t)8 << 10)
#define LOOK_MS                 500 /* how often for connections that are over */
#define BACKLOG                 128

/* ---- connections ---- */

static void peer_came_or_went(void *arg, struct MHD_Connection *connection,
                              void **context, enum MHD_ConnectionNotificationCode what)
{
    cronq_devserver *server = arg;
    cq_peer *peer = *context;

    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        const union MHD_ConnectionInfo *info =
            MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);

        peer = calloc(1, sizeof *peer);
        if (!peer)
            return;
        *peer = (cq_peer){ .previous = server->newest,
                           .fd = info ? info->connect_fd : -1,
                           .begun_ms = cq_mono_ms() };
        *(server->newest ? &server->newest->next : &server->oldest) = peer;
        server->newest = peer;
        *context = peer;
        server->came++;
        return;
    }
    if (!peer)
        return;
    *(peer->previous ? &peer->previous->next : &server->oldest) = peer->next;
    *(peer->next ? &peer->next->previous : &server->newest) = peer->previous;
    free(peer);
    *context = NULL;
}

/* libmicrohttpd sees the end of the connection and closes it. */
static void cut_overdue(cronq_devserver *server)
{
    int64_t begun_before_ms = cq_mono_ms() - CONNECTION_DEADLINE_MS;

    for (cq_peer *peer = server->oldest; peer && peer->begun_ms < begun_before_ms;
         peer = peer->next) {
        if (!peer->cut)
            shutdown(peer->fd, SHUT_RDWR);
        peer->cut = true;
    }
}

/* Where its limit was reached, libmicrohttpd listens again only in the next run after
 * peers have gone: as long as some come or are there, that run must follow. */
static int timeout_ms(cronq_devserver *server, bool is_settled)
{
    MHD_UNSIGNED_LONG_LONG wanted_ms = LOOK_MS;

    if (MHD_get_timeout(server->daemon, &wanted_ms) == MHD_YES && wanted_ms < LOOK_MS)
        return (int)wanted_ms;
    return is_settled ? -1 : LOOK_MS;
}

static void *serve(void *arg)
{
    cronq_devserver *server = arg;
    const union MHD_DaemonInfo *info =
        MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    struct pollfd fds[2] = { { .fd = info->epoll_fd, .events = POLLIN },
                             { .fd = server->news.fd, .events = POLLIN } };
    bool is_settled = true;

    while (!atomic_load(&server->ending)) {
        bool was_held = server->oldest != NULL;
        uint64_t came = server->came;

        poll(fds, 2, timeout_ms(server, is_settled));
        cq_event_clear(&server->news);
        MHD_run(server->daemon);
        cut_overdue(server);
        is_settled = !was_held && !server->oldest && came == server->came;
    }
    return NULL;
}

/* ---- listening ---- */

static cronq_status listen_on(cronq_devserver *server, const struct addrinfo *address,
                              const char *host, int port, cronq_error *err)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } bound = { .v6 = { 0 } };
    socklen_t len = sizeof bound;
    int yes = 1;

    server->listen_fd =
        socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (server->listen_fd < 0)
        return cq_fail_errno(err, CRONQ_EIO, errno, "devserver: no socket");
    setsockopt(server->listen_fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(server->listen_fd, address->ai_addr, address->ai_addrlen) != 0 ||
        listen(server->listen_fd, BACKLOG) != 0 ||
        getsockname(server->listen_fd, &bound.any, &len) != 0)
        return cq_fail_errno(err, CRONQ_EIO, errno,
                             "devserver: cannot listen on %.200s port %d", host, port);
    server->port =
        ntohs(bound.any.sa_family == AF_INET6 ? bound.v6.sin6_port : bound.v4.sin_port);
    return CRONQ_OK;
}

static cronq_status open_listener(cronq_devserver *server,
                                  const cronq_devserver_options *options,
                                  cronq_error *err)
{
    const char *host = options->host && *options->host ? options->host : "127.0.0.1";
    int port = options->port ? options->port : PORT_DEFAULT, code;
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE };
    struct addrinfo *addresses;
    cronq_status status;
    char service[16];

    if (port < -1 || port > 65535)
        return cq_fail(err, CRONQ_EINVAL, "devserver: port %d is not between 1 and 65535",
                       port);
    snprintf(service, sizeof service, "%d", port < 0 ? 0 : port);
    code = getaddrinfo(host, service, &hints, &addresses);
    if (code)
        return cq_fail(err, CRONQ_EINVAL, "devserver: host %.200s: %s", host,
                       gai_strerror(code));
    status = listen_on(server, addresses, host, port, err);
    freeaddrinfo(addresses);
    return status;
}

/* ---- options ---- */

static cronq_status set_path(cronq_devserver *server, cq_route route, const char *path,
                             const char *otherwise, cronq_error *err)
{
    if (!path || !*path)
        path = otherwise;
    if (*path != '/' || strlen(path) > CQ_PATH_LIMIT_BYTES || strpbrk(path, "?# \t\r\n"))
        return cq_fail(err, CRONQ_EINVAL,
                       "devserver: \"%.200s\" is not a path of up to %d bytes", path,
                       CQ_PATH_LIMIT_BYTES);
    for (size_t i = 0; i < CQ_ROUTE_COUNT; i++)
        if (server->paths[i] && strcmp(server->paths[i], path) == 0)
            return cq_fail(err, CRONQ_EINVAL, "devserver: %s is two paths", path);
    server->paths[route] = strdup(path);
    return server->paths[route] ? CRONQ_OK : cq_fail_nomem(err);
}

static cronq_status take_options(cronq_devserver *server,
                                 const cronq_devserver_options *options, cronq_error *err)
{
    const char *response = options->health_response;
    cronq_status status = set_path(server, CQ_ROUTE_INDEX, "/", "/", err);

    if (!status)
        status = set_path(server, CQ_ROUTE_READY, "/readyz", "/readyz", err);
    if (!status)
        status = set_path(server, CQ_ROUTE_HEALTH, options->health_path, "/healthz", err);
    if (!status && options->metrics)
        status =
            set_path(server, CQ_ROUTE_METRICS, options->metrics_path, "/metrics", err);
    if (status)
        return status;
    server->logger = options->logger;
    server->metrics = options->metrics;
    server->ready = options->ready;
    server->ready_arg = options->ready_arg;
    server->health_response = strdup(response && *response ? response : "OK");
    return server->health_response ? CRONQ_OK : cq_fail_nomem(err);
}

static cronq_status check_limits(cronq_devserver_options *options, cronq_error *err)
{
    if (options->connection_limit == 0)
        options->connection_limit = CONNECTIONS_DEFAULT;
    if (options->connection_limit > CONNECTIONS_LIMIT)
        return cq_fail(err, CRONQ_EINVAL, "devserver: connection_limit %u is over %d",
                       options->connection_limit, CONNECTIONS_LIMIT);
    if (options->address_limit == 0)
        options->address_limit =
            (options->connection_limit + ADDRESS_SHARE - 1) / ADDRESS_SHARE;
    if (options->address_limit > options->connection_limit)
        return cq_fail(err, CRONQ_EINVAL,
                       "devserver: address_limit %u is over connection_limit, %u",
                       options->address_limit, options->connection_limit);
    return CRONQ_OK;
}

/* ---- life ---- */

static cronq_status start(cronq_devserver *server, const cronq_devserver_options *options,
                          cronq_error *err)
{
    cronq_status status;

    /* clang-format off */
    server->daemon = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL,
        cq_http_access, server,
        MHD_OPTION_LISTEN_SOCKET, server->listen_fd,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)options->connection_limit,
        MHD_OPTION_PER_IP_CONNECTION_LIMIT, (unsigned)options->address_limit,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_TIMEOUT_S,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_MEMORY_BYTES,
        MHD_OPTION_NOTIFY_CONNECTION, peer_came_or_went, server,
        MHD_OPTION_NOTIFY_COMPLETED, cq_http_completed, server, MHD_OPTION_END);
    /* clang-format on */
    if (!server->daemon)
        return cq_fail(err, CRONQ_EIO, "devserver: libmicrohttpd does not start");
    server->listen_fd = -1; /* is the daemon's */
    status =
        cq_thread_start(&server->clerk, "cronq-http-ask", cq_http_clerk, server, err);
    server->clerk_runs = !status;
    if (status)
        return status;
    status = cq_thread_start(&server->thread, "cronq-http", serve, server, err);
    server->thread_runs = !status;
    return status;
}

cronq_status cronq_devserver_new(const cronq_devserver_options *options,
                                 cronq_devserver **out, cronq_error *err)
{
    cronq_devserver_options own;
    cronq_devserver *server;
    cronq_status status =
        cq_options_copy(&own, sizeof own, options, "cronq_devserver_options", err);

    if (!status)
        status = check_limits(&own, err);
    if (status)
        return status;
    server = calloc(1, sizeof *server);
    if (!server)
        return cq_fail_nomem(err);
    server->listen_fd = server->news.fd = -1;
    pthread_mutex_init(&server->mutex, NULL);
    pthread_cond_init(&server->more, NULL);
    status = cq_event_init(&server->news, err);
    if (!status)
        status = take_options(server, &own, err);
    if (!status)
        status = open_listener(server, &own, err);
    if (!status && own.metrics)
        status = cq_process_watch(own.metrics, &server->own_metrics, err);
    if (!status)
        status = start(server, &own, err);
    if (status) {
        cronq_devserver_free(server);
        return status;
    }
    CQ_INFO(&server->logger, "devserver listens on port %u", (unsigned)server->port);
    *out = server;
    return CRONQ_OK;
}

/* The server's thread first, so that no job is added; then the clerk; then what it did
 * not come to. */
static void end_threads(cronq_devserver *server)
{
    atomic_store(&server->ending, true);
    cq_event_set(&server->news);
    if (server->thread_runs)
        pthread_join(server->thread, NULL);
    pthread_mutex_lock(&server->mutex);
    server->closed = true;
    pthread_cond_signal(&server->more);
    pthread_mutex_unlock(&server->mutex);
    if (server->clerk_runs)
        pthread_join(server->clerk, NULL);
    cq_http_resume_rest(server);
}

void cronq_devserver_free(cronq_devserver *server)
{
    if (!server)
        return;
    if (server->daemon) {
        end_threads(server);
        MHD_stop_daemon(server->daemon);
    }
    if (server->listen_fd >= 0)
        close(server->listen_fd);
    if (server->metrics)
        cq_process_unwatch(server->metrics, server->own_metrics);
    cq_event_release(&server->news);
    pthread_cond_destroy(&server->more);
    pthread_mutex_destroy(&server->mutex);
    for (size_t i = 0; i < CQ_ROUTE_COUNT; i++)
        free(server->paths[i]);
    free(server->health_response);
    free(server);
}

uint16_t cronq_devserver_port(const cronq_devserver *server)
{
    return server->port;
}
