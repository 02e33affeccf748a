/* SPDX-License-Identifier: MIT */
/* support/http_peer.h - an HTTP server of a test's own on a port of 127.0.0.1, which
 * gives the answer that it was told to and remembers what it was asked. */
#ifndef CQ_TEST_HTTP_PEER_H
#define CQ_TEST_HTTP_PEER_H

#include <stddef.h>
#include <stdint.h>

typedef struct http_peer http_peer;

/* certs: a directory of certs.h, for TLS with DIR/NAME.pem; NULL: plain. */
http_peer *http_peer_start(const char *certs, const char *name);
void http_peer_stop(http_peer *peer);
uint16_t http_peer_port(const http_peer *peer);

/* What each request gets, a head and a body with its Content-Length, word for word; NULL:
 * nothing, for ever. A copy is kept. */
void http_peer_answer(http_peer *peer, const char *answer);

size_t http_peer_connections(http_peer *peer);
size_t http_peer_requests(http_peer *peer);

/* The last request: its head, and its body; valid until the next. */
const char *http_peer_head(http_peer *peer);
const char *http_peer_body(http_peer *peer, size_t *len);

#endif
