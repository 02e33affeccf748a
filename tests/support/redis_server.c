/* SPDX-License-Identifier: MIT */
/* support/redis_server.c - a real redis-server of a test's own. */
#include "support/redis_server.h"

#include "support/certs.h"

#include <errno.h>
#include <ftw.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define START_MS    15000
#define START_TRIES 5 /* a port that was free may be taken a moment later */
#define PATIENCE_S  20
#define POLL_MS     2

struct redis_server {
    pid_t pid; /* 0: not running */
    char dir[32];
    char socket[64], config[64], uri[80];
    uint16_t port;
    const char *certs, *cert; /* NULL: no TLS */
    bool is_sentinel, is_node;
    uint16_t bus_port;
    redisContext *context;
};

static void sleep_ms(long ms)
{
    struct timespec time = { ms / 1000, ms % 1000 * 1000000 };

    nanosleep(&time, NULL);
}

static uint16_t free_port(void)
{
    struct sockaddr_in address = { .sin_family = AF_INET };
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, size) ||
        getsockname(fd, (struct sockaddr *)&address, &size))
        fail_msg("no free port: %s", strerror(errno));
    close(fd);
    return ntohs(address.sin_port);
}

static void write_config(const redis_server *server, const char *extra)
{
    FILE *file = fopen(server->config, "w");

    if (!file)
        fail_msg("%s: %s", server->config, strerror(errno));
    if (server->certs)
        fprintf(file,
                "tls-port %u\ntls-cert-file %s\ntls-key-file %s\ntls-ca-cert-file %s\n",
                server->port, certs_path(server->certs, server->cert, "pem"),
                certs_path(server->certs, server->cert, "key"),
                certs_path(server->certs, "ca", "pem"));
    if (server->is_node)
        fprintf(file, "cluster-enabled yes\ncluster-port %u\n", server->bus_port);
    fprintf(file,
            "bind 127.0.0.1\nport %u\nunixsocket %s\ndir %s\nlogfile %s/log\n"
            "save \"\"\nappendonly no\ndaemonize no\n%s\n",
            server->certs ? 0 : server->port, server->socket, server->dir, server->dir,
            extra ? extra : "");
    fclose(file);
}

static void run_server(const redis_server *server, pid_t parent)
{
    sigset_t none;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(126);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execlp("redis-server", "redis-server", server->config,
           server->is_sentinel ? "--sentinel" : (char *)NULL, (char *)NULL);
    _exit(127);
}

static void drop_context(redis_server *server)
{
    if (server->context)
        redisFree(server->context);
    server->context = NULL;
}

static bool answers(redis_server *server)
{
    struct timeval patience = { PATIENCE_S, 0 };
    redisReply *reply;

    drop_context(server);
    server->context = redisConnectUnixWithTimeout(server->socket, patience);
    if (!server->context || server->context->err)
        return false;
    redisSetTimeout(server->context, patience);
    reply = redisCommand(server->context, "PING");
    if (!reply)
        return false;
    /* Any other reply, NOAUTH too, is one of a server that is up. */
    if (reply->type == REDIS_REPLY_ERROR && strncmp(reply->str, "LOADING", 7) == 0) {
        freeReplyObject(reply);
        return false;
    }
    freeReplyObject(reply);
    return true;
}

/* False when the process ended instead. */
static bool launch(redis_server *server)
{
    pid_t self = getpid();

    unlink(server->socket);
    server->pid = fork();
    if (server->pid == 0)
        run_server(server, self);
    if (server->pid < 0)
        fail_msg("fork: %s", strerror(errno));
    for (int waited_ms = 0; waited_ms < START_MS; waited_ms += POLL_MS) {
        if (answers(server))
            return true;
        if (waitpid(server->pid, NULL, WNOHANG) == server->pid) {
            server->pid = 0;
            return false;
        }
        sleep_ms(POLL_MS);
    }
    fail_msg("redis-server does not answer");
    return false;
}

/* What is set in form decides what is started. */
static redis_server *start(const char *extra_config, bool tcp, const redis_server *form)
{
    redis_server *server = calloc(1, sizeof *server);

    if (!server)
        fail_msg("out of memory");
    *server = *form;
    strcpy(server->dir, "/tmp/cronq-redis-XXXXXX");
    if (!mkdtemp(server->dir))
        fail_msg("%s: %s", server->dir, strerror(errno));
    snprintf(server->socket, sizeof server->socket, "%s/redis.sock", server->dir);
    snprintf(server->config, sizeof server->config, "%s/redis.conf", server->dir);
    snprintf(server->uri, sizeof server->uri, "redis-socket://%s", server->socket);
    for (int i = 0; i < START_TRIES; i++) {
        server->port = tcp ? free_port() : 0;
        server->bus_port = server->is_node ? free_port() : 0;
        write_config(server, extra_config);
        if (launch(server))
            return server;
    }
    fail_msg("redis-server ends at once; see %s/log", server->dir);
    return NULL;
}

redis_server *redis_server_start(const char *extra_config)
{
    return start(extra_config, false, &(redis_server){ .pid = 0 });
}

redis_server *redis_server_start_tcp(const char *extra_config)
{
    return start(extra_config, true, &(redis_server){ .pid = 0 });
}

redis_server *redis_server_start_tls(const char *certs, const char *name,
                                     const char *extra_config)
{
    return start(extra_config, true,
                 &(redis_server){ .certs = certs, .cert = name ? name : "server" });
}

redis_server *redis_server_start_node(const char *extra_config)
{
    return start(extra_config, true, &(redis_server){ .is_node = true });
}

uint16_t redis_server_bus_port(const redis_server *server)
{
    return server->bus_port;
}

redis_server *redis_server_start_sentinel(const char *config)
{
    return start(config, true, &(redis_server){ .is_sentinel = true });
}

const char *redis_server_uri(const redis_server *server)
{
    return server->uri;
}

const char *redis_server_socket(const redis_server *server)
{
    return server->socket;
}

uint16_t redis_server_port(const redis_server *server)
{
    return server->port;
}

pid_t redis_server_pid(const redis_server *server)
{
    return server->pid;
}

void redis_server_kill(redis_server *server)
{
    drop_context(server);
    if (server->pid <= 0)
        return;
    kill(server->pid, SIGKILL);
    while (waitpid(server->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    server->pid = 0;
}

void redis_server_restart(redis_server *server)
{
    redis_server_kill(server);
    for (int i = 0; i < START_TRIES; i++)
        if (launch(server))
            return;
    fail_msg("redis-server does not start again; see %s/log", server->dir);
}

void redis_server_pause(redis_server *server)
{
    int status;

    kill(server->pid, SIGSTOP);
    while (waitpid(server->pid, &status, WUNTRACED) < 0 && errno == EINTR)
        ;
}

void redis_server_resume(redis_server *server)
{
    kill(server->pid, SIGCONT);
}

static int delete_entry(const char *path, const struct stat *stat, int flag,
                        struct FTW *where)
{
    (void)stat, (void)flag, (void)where;
    return remove(path);
}

void redis_server_stop(redis_server *server)
{
    if (!server)
        return;
    redis_server_kill(server);
    nftw(server->dir, delete_entry, 8, FTW_DEPTH | FTW_PHYS);
    free(server);
}

/* ---- commands ---- */

static redisReply *try_command(redis_server *server, const char *format, va_list args)
{
    redisReply *reply;

    if ((!server->context || server->context->err) && !answers(server))
        fail_msg("redis-server is not there for \"%s\"", format);
    reply = redisvCommand(server->context, format, args);
    if (!reply)
        fail_msg("\"%s\": %s", format, server->context->errstr);
    return reply;
}

static redisReply *must_command(redis_server *server, const char *format, va_list args)
{
    redisReply *reply = try_command(server, format, args);

    if (reply->type == REDIS_REPLY_ERROR)
        fail_msg("\"%s\": %s", format, reply->str);
    return reply;
}

redisReply *redis_server_try(redis_server *server, const char *format, ...)
{
    redisReply *reply;
    va_list args;

    va_start(args, format);
    reply = try_command(server, format, args);
    va_end(args);
    return reply;
}

redisReply *redis_server_words(redis_server *server, int count, const char **words)
{
    redisReply *reply;

    if ((!server->context || server->context->err) && !answers(server))
        fail_msg("redis-server is not there for \"%s\"", words[0]);
    reply = redisCommandArgv(server->context, count, words, NULL);
    if (!reply)
        fail_msg("\"%s\": %s", words[0], server->context->errstr);
    return reply;
}

redisReply *redis_server_command(redis_server *server, const char *format, ...)
{
    redisReply *reply;
    va_list args;

    va_start(args, format);
    reply = must_command(server, format, args);
    va_end(args);
    return reply;
}

long long redis_server_int(redis_server *server, const char *format, ...)
{
    redisReply *reply;
    long long value;
    va_list args;

    va_start(args, format);
    reply = must_command(server, format, args);
    va_end(args);
    assert_int_equal(reply->type, REDIS_REPLY_INTEGER);
    value = reply->integer;
    freeReplyObject(reply);
    return value;
}

void redis_server_do(redis_server *server, const char *format, ...)
{
    redisReply *reply;
    va_list args;

    va_start(args, format);
    reply = must_command(server, format, args);
    va_end(args);
    freeReplyObject(reply);
}
