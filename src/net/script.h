/* SPDX-License-Identifier: MIT */
/* net/script.h - a Lua script in the server, called by its digest.
 *
 * The server forgets scripts (restart, failover, SCRIPT FLUSH) and then answers NOSCRIPT
 * without having run anything: the caller loads the script and repeats the call on the
 * same connection. */
#ifndef CQ_NET_SCRIPT_H
#define CQ_NET_SCRIPT_H

#include "net/conn.h"

typedef struct cq_script {
    const char *name;
    const char *body;
    size_t body_len;
    char digest[41]; /* SHA-1 of the body, filled by cq_script_init */
} cq_script;

void cq_script_init(cq_script *script, const char *name, const char *body,
                    size_t body_len);

/* Append EVALSHA with key_count keys; then append key_count + argument_count arguments
 * with cq_conn_arg*. */
void cq_script_call(cq_conn *conn, const cq_script *script, size_t key_count,
                    size_t argument_count);

/* Make the server know the script: SCRIPT LOAD, its reply read; no other may be due.
 * Then send again what was refused. */
cronq_status cq_script_load(cq_conn *conn, const cq_script *script, cq_arena *arena,
                            cronq_error *err);

#endif
