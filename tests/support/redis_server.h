/* SPDX-License-Identifier: MIT */
/* support/redis_server.h - a real redis-server of a test's own.
 *
 * It listens on a Unix socket in a directory of its own below /tmp (and on a port of
 * 127.0.0.1, with start_tcp), writes nothing to disk unless told to, and dies with the
 * thread that started it. A function that cannot do its work fails the test. */
#ifndef CQ_TEST_REDIS_SERVER_H
#define CQ_TEST_REDIS_SERVER_H

#include <hiredis/hiredis.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct redis_server redis_server;

/* extra_config: lines of a redis.conf, or NULL. Returns once it answers. */
redis_server *redis_server_start(const char *extra_config);
redis_server *redis_server_start_tcp(const char *extra_config);
/* Its port speaks TLS only, with server.pem of certs.h (name: another one) and, unless
 * told otherwise by extra_config (tls-auth-clients no), for clients by its ca only. */
redis_server *redis_server_start_tls(const char *certs, const char *name,
                                     const char *extra_config);

/* A node of a cluster, alone yet; redis_server_bus_port is for CLUSTER MEET. */
redis_server *redis_server_start_node(const char *extra_config);
uint16_t redis_server_bus_port(const redis_server *server);

/* A sentinel on a port. config holds its "sentinel" lines. */
redis_server *redis_server_start_sentinel(const char *config);

/* Ends the process and deletes its directory. NULL is fine. */
void redis_server_stop(redis_server *server);

const char *redis_server_uri(const redis_server *server);    /* redis-socket://PATH */
const char *redis_server_socket(const redis_server *server); /* PATH */
uint16_t redis_server_port(const redis_server *server);      /* 0 without TCP */
pid_t redis_server_pid(const redis_server *server);

/* SIGKILL, and started again at the same place; what it had persisted is there again. */
void redis_server_kill(redis_server *server);
void redis_server_restart(redis_server *server); /* kills when it runs */

/* It exists and keeps its connections, but does nothing. */
void redis_server_pause(redis_server *server);
void redis_server_resume(redis_server *server);

/* One command, as redisCommand formats it, on a connection kept for this; the caller
 * frees with freeReplyObject. An error reply fails the test, but not with try. */
redisReply *redis_server_command(redis_server *server, const char *format, ...);
redisReply *redis_server_try(redis_server *server, const char *format, ...);

redisReply *redis_server_words(redis_server *server, int count, const char **words);

/* The same for a reply that is an integer, and one that nobody looks at. */
long long redis_server_int(redis_server *server, const char *format, ...);
void redis_server_do(redis_server *server, const char *format, ...);

#endif
