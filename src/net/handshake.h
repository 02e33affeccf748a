/* SPDX-License-Identifier: MIT */
/* net/handshake.h - what a new connection says first: who, which database, which
 * version. */
#ifndef CQ_NET_HANDSHAKE_H
#define CQ_NET_HANDSHAKE_H

#include "net/conn.h"

#define CQ_SERVER_VERSION_LEAST 60200

/* "6.2.14" is 60214; 0 for what is not a version. */
uint32_t cq_version_parse(cq_str text);

/* EAUTH; EUNSUPPORTED below 6.2; EINVAL for a database that the server does not have.
 * password may be NULL. A server that tells its version to nobody is taken for the least
 * one. */
cronq_status cq_handshake(cq_conn *conn, const cq_endpoint *endpoint,
                          const char *password, uint32_t *version, cronq_error *err);

#endif
