/* SPDX-License-Identifier: MIT */
/* support/peer.h - a peer on a Unix socket that says what a test wants it to say.
 *
 * For what a real redis-server does not do: garbage, half replies, silence. */
#ifndef CQ_TEST_PEER_H
#define CQ_TEST_PEER_H

#include <stddef.h>

typedef struct test_peer test_peer;

/* What the greeting of a new connection ("HELLO 2") gets from a redis 7.0.0. */
#define PEER_GREETING "*2\r\n$7\r\nversion\r\n$5\r\n7.0.0\r\n"

/* A thread accepts one connection, reads what the client sends first, answers greeting
 * (when not NULL), calls talk with the descriptor (when not NULL), and closes it. */
test_peer *peer_start(const char *greeting, void (*talk)(int fd));
void peer_stop(test_peer *peer); /* waits for the end of talk */
const char *peer_uri(const test_peer *peer);

/* For talk: all of it, whatever it takes; false when the client has gone. */
int peer_send(int fd, const void *data, size_t len);
int peer_say(int fd, const char *text);
/* Read until the client closes. */
void peer_drain(int fd);

#endif
