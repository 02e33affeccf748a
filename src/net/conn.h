/* SPDX-License-Identifier: MIT */
/* net/conn.h - one connection to a Redis server: commands out, replies in.
 *
 * Invariants: commands are appended to the out buffer and leave with flush (or when a
 * read needs them to); as many replies are due as commands were appended; after the first
 * I/O or protocol error the connection is broken and every later call fails with the same
 * error. One thread at a time, but for cq_conn_fd. */
#ifndef CQ_NET_CONN_H
#define CQ_NET_CONN_H

#include "base/buf.h"
#include "net/reply.h"
#include "net/uri.h"

typedef struct cq_conn cq_conn;

/* Dial, authenticate, select the database, check the version (6.2 is the least). EIO,
 * EAUTH, EUNSUPPORTED, EINVAL for a database that the server does not have; the text
 * names the address, never a secret. endpoint is borrowed for the call. */
cronq_status cq_conn_open(const cq_endpoint *endpoint, cq_conn **out, cronq_error *err);
void cq_conn_free(cq_conn *conn); /* NULL is fine */

/* Have it called, once, before the connection is freed. */
typedef void cq_conn_freed_fn(cq_conn *conn, void *arg);
void cq_conn_on_free(cq_conn *conn, cq_conn_freed_fn *freed, void *arg);

/* Break it, whatever thread waits on it. Any thread, while it is not being freed. */
void cq_conn_shut(cq_conn *conn);
/* "127.0.0.1:6379", as it was dialled. */
const char *cq_conn_address(const cq_conn *conn);

bool cq_conn_broken(const cq_conn *conn);
int cq_conn_fd(const cq_conn *conn);
/* 60200 for 6.2.0, and for a server that an ACL keeps from telling. */
uint32_t cq_conn_server_version(const cq_conn *conn);
size_t cq_conn_due(const cq_conn *conn); /* replies that were not read yet */
/* Nothing appended, nothing due, nothing arrived, the server has not closed it and has
 * not answered READONLY (who dials again may reach the new master)? */
bool cq_conn_reusable(const cq_conn *conn);

/* Begin a command of argc arguments, then append exactly these. */
void cq_conn_command(cq_conn *conn, size_t argc);
void cq_conn_arg(cq_conn *conn, const void *data, size_t len);
void cq_conn_arg_str(cq_conn *conn, cq_str text);
void cq_conn_arg_text(cq_conn *conn, const char *text);
void cq_conn_arg_int(cq_conn *conn, int64_t value);

/* Send all that was appended; replies that arrive meanwhile are kept. EIO; ENOMEM and
 * ETOOBIG (640 MiB) when appending failed: then nothing was sent, what was appended is
 * forgotten, and the connection is not broken. */
cronq_status cq_conn_flush(cq_conn *conn, cronq_error *err);

/* The next reply, in the arena; flushes first. An error reply is a reply (OK), not a
 * failure. EIO when the connection broke or was silent for the read timeout, EPROTO for
 * what is not RESP or too large, ENOMEM. */
cronq_status cq_conn_read(cq_conn *conn, cq_arena *arena, cq_reply **out,
                          cronq_error *err);

/* The same, waiting at most timeout_ms (0: not at all, negative: for ever) for a reply to
 * begin; *out is NULL when none did, which does not break the connection. The rest of
 * one that began is waited for as above. */
cronq_status cq_conn_read_within(cq_conn *conn, int64_t timeout_ms, cq_arena *arena,
                                 cq_reply **out, cronq_error *err);

/* One command from words, and its reply: cq_conn_call(conn, arena, &reply, err, 2, "GET",
 * k). */
cronq_status cq_conn_call(cq_conn *conn, cq_arena *arena, cq_reply **out,
                          cronq_error *err, int argc, ...);

/* The status that an error reply means: NOAUTH, WRONGPASS, NOPERM, DENIED: EAUTH; OOM:
 * EFULL; LOADING, BUSY, READONLY, MASTERDOWN, CLUSTERDOWN, TRYAGAIN, MOVED, ASK,
 * NOREPLICAS, MISCONF, max number of clients: EIO (come back later); anything else
 * EPROTO. err gets its text.
 */
cronq_status cq_conn_reply_failure(const cq_reply *reply, cronq_error *err);

#endif
