/* SPDX-License-Identifier: MIT */
/* net/uri.h - where a Redis is and how to enter: URIs and store options. */
#ifndef CQ_NET_URI_H
#define CQ_NET_URI_H

#include "base/str.h"
#include "net/tls.h"

#include <cronq/store.h>

typedef enum cq_topology {
    CQ_TOPOLOGY_SINGLE,
    CQ_TOPOLOGY_SENTINEL, /* sentinels know which server is the master */
    CQ_TOPOLOGY_CLUSTER,  /* each node knows which node has which slots */
} cq_topology;

#define CQ_SEEDS_LIMIT 1000

typedef struct cq_address {
    char *host;
    uint16_t port;
} cq_address;

/* One server and how to talk to it; or where to ask for servers that are talked to like
 * this: then host and socket_path are NULL. Strings are the endpoint's own. */
typedef struct cq_endpoint {
    char *host;                /* TCP */
    uint16_t port;             /* TCP */
    char *socket_path;         /* Unix; NULL: TCP */
    char *username, *password; /* NULL: none */
    char *password_file;       /* NULL: none; else wins over password */
    int32_t db;
    cq_tls *tls; /* shared; NULL: plain */
    uint32_t pool_size;
    int64_t dial_timeout_ms, read_timeout_ms, write_timeout_ms; /* negative: never */
    uint32_t wait_replica_count;
    int64_t wait_timeout_ms;

    cq_topology topology;
    cq_address *seeds; /* sentinels, or nodes of the cluster */
    size_t seed_count;
    char *master_name, *sentinel_username, *sentinel_password;
    uint32_t max_redirects;
} cq_endpoint;

/* redis://[USER:PASSWORD@]HOST[:PORT][/DB], HOST:PORT alone, redis-socket://PATH and
 * unix://PATH (absolute), ?db=N with each, percent-decoded, IPv6 in brackets; sentinels
 * and clusters as in cronq/store.h; then the options over it. EINVAL names the part and
 * never shows the password. */
cronq_status cq_endpoint_init(cq_endpoint *endpoint, const char *uri,
                              const cronq_store_options *options, cronq_error *err);
cronq_status cq_endpoint_copy(cq_endpoint *endpoint, const cq_endpoint *from,
                              cronq_error *err);
/* The same entry to another server of the topology. */
cronq_status cq_endpoint_copy_at(cq_endpoint *endpoint, const cq_endpoint *from,
                                 const char *host, uint16_t port, cronq_error *err);
void cq_endpoint_release(cq_endpoint *endpoint); /* wipes the passwords */

/* The password to use now: a copy for the caller to give to cq_wipe, or NULL for none.
 * EAUTH when the file cannot be read. */
cronq_status cq_endpoint_secret(const cq_endpoint *endpoint, char **out,
                                cronq_error *err);
/* Overwrite and free a secret; *secret is NULL then. */
void cq_wipe(char **secret);

/* "127.0.0.1:6379" or the socket's path: for texts. */
void cq_endpoint_print(const cq_endpoint *endpoint, char *out, size_t size);

/* uri.c: the part of cq_endpoint_init that reads the URI; *tls: it asks for TLS. What was
 * made is in the endpoint, also on failure. */
cronq_status cq_endpoint_read_uri(cq_endpoint *endpoint, const char *uri, bool *tls,
                                  cronq_error *err);

#endif
