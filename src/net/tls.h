/* SPDX-License-Identifier: MIT */
/* net/tls.h - how to talk TLS: certificates to trust and to show, shared by connections.
 *
 * A session is one connection's. Its calls never wait: they do what can be done at once.
 * Invariant: a session that failed is of no more use, but for its release. */
#ifndef CQ_NET_TLS_H
#define CQ_NET_TLS_H

#include <cronq/store.h>

typedef struct cq_tls cq_tls;
typedef struct ssl_st cq_tls_session;

/* Reads the files. EINVAL names the option and the file. */
cronq_status cq_tls_new(const cronq_tls_options *options, cq_tls **out, cronq_error *err);
cq_tls *cq_tls_share(cq_tls *tls); /* NULL is fine */
void cq_tls_free(cq_tls *tls);     /* the last one frees; NULL is fine */

bool cq_tls_verifies(const cq_tls *tls);

/* On a connected descriptor, which stays the caller's. host is whom the user meant. */
cronq_status cq_tls_open(cq_tls *tls, int fd, const char *host, cq_tls_session **out,
                         cronq_error *err);
/* Says goodbye unless the session failed. NULL is fine. */
void cq_tls_close(cq_tls_session *session);

/* *events: 0 done, else POLLIN or POLLOUT: wait for it and call again. EAUTH when one
 * side does not accept the other's certificate, EIO for all else. */
cronq_status cq_tls_handshake(cq_tls_session *session, short *events, cronq_error *err);

/* *count is 0 when nothing can be done before *events. EIO also at the end, EAUTH. */
cronq_status cq_tls_read(cq_tls_session *session, void *data, size_t size, size_t *count,
                         short *events, cronq_error *err);
cronq_status cq_tls_write(cq_tls_session *session, const void *data, size_t size,
                          size_t *count, short *events, cronq_error *err);

/* Has it decrypted bytes that were not read? */
bool cq_tls_pending(const cq_tls_session *session);

#endif
