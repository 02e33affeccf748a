/* SPDX-License-Identifier: MIT */
/* net/uri.h - where a Redis is and how to enter: URIs and store options. */
#ifndef CQ_NET_URI_H
#define CQ_NET_URI_H

#include "base/str.h"

#include <cronq/store.h>

/* One server and how to talk to it. Strings are the endpoint's own. */
typedef struct cq_endpoint {
    char *host;                /* TCP */
    uint16_t port;             /* TCP */
    char *socket_path;         /* Unix; NULL: TCP */
    char *username, *password; /* NULL: none */
    int32_t db;
    uint32_t pool_size;
    int64_t dial_timeout_ms, read_timeout_ms, write_timeout_ms; /* negative: never */
} cq_endpoint;

/* redis://[USER:PASSWORD@]HOST[:PORT][/DB], HOST:PORT alone, redis-socket://PATH and
 * unix://PATH (absolute), ?db=N with either, percent-decoded, IPv6 in brackets; then the
 * options over it. EINVAL names the part and never shows the password; EUNSUPPORTED for
 * schemes that are known but not built. */
cronq_status cq_endpoint_init(cq_endpoint *endpoint, const char *uri,
                              const cronq_store_options *options, cronq_error *err);
cronq_status cq_endpoint_copy(cq_endpoint *endpoint, const cq_endpoint *from,
                              cronq_error *err);
void cq_endpoint_release(cq_endpoint *endpoint); /* wipes the password */

/* "127.0.0.1:6379" or the socket's path: for texts. */
void cq_endpoint_print(const cq_endpoint *endpoint, char *out, size_t size);

#endif
