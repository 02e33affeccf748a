/* SPDX-License-Identifier: MIT */
/* net/script.h - a Lua script in the server, called by its digest.
 *
 * The server forgets scripts (restart, failover, SCRIPT FLUSH) and then answers NOSCRIPT
 * without having run anything: the call is repeated with the body on the same connection.
 */
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

/* A call and its reply. append appends the keys and arguments, and may be asked twice. */
typedef struct cq_script_run {
    const cq_script *script;
    size_t key_count, argument_count;
    void (*append)(cq_conn *conn, void *arg);
    void *arg;
    cq_reply *reply; /* out: may be an error reply */
} cq_script_run;

/* All in one flush; those that the server answers with NOSCRIPT are repeated once, after
 * the others, with the body. No other replies may be due. A failure is the connection's,
 * and some may have run: those with a reply have. */
cronq_status cq_script_run_all(cq_conn *conn, cq_script_run *runs, size_t count,
                               cq_arena *arena, cronq_error *err);

/* Make the server know the script: SCRIPT LOAD, its reply read; no other may be due. For
 * pipelines, where a NOSCRIPT cannot be repeated in place: load and send again what was
 * refused. */
cronq_status cq_script_load(cq_conn *conn, const cq_script *script, cq_arena *arena,
                            cronq_error *err);

#endif
