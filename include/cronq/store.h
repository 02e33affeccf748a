/* SPDX-License-Identifier: MIT */
/* cronq/store.h - how to reach the store that holds the queues. */
#ifndef CRONQ_STORE_H
#define CRONQ_STORE_H

#include "base.h"

CRONQ_BEGIN

#define CRONQ_NEVER (-1) /* a timeout that never comes */

typedef enum cronq_tls_version {
    CRONQ_TLS_VERSION_DEFAULT = 0, /* 1.2 */
    CRONQ_TLS_1_2 = 12,
    CRONQ_TLS_1_3 = 13,
} cronq_tls_version;

/* Encrypted connections. All zero verifies the server's certificate against the system's
 * authorities, and the host of the URI (name or IP) against the certificate. Files are
 * PEM and are read when the client, worker or inspector is made. */
typedef struct cronq_tls_options {
    size_t struct_size;  /* set by CRONQ_TLS_OPTIONS() */
    const char *ca_file; /* authorities to trust instead of the system's */
    const char *ca_dir;  /* the same, a directory as made by `openssl rehash` */
    const char *cert_file, *key_file; /* our own certificate, for servers that ask */
    const char *server_name;          /* who the server must be; NULL: the host */
    cronq_tls_version min_version;
    bool insecure_skip_verify; /* anybody may be the server: logged as a warning */
} cronq_tls_options;

#define CRONQ_TLS_OPTIONS(...) \
    (&(const cronq_tls_options){ .struct_size = sizeof(cronq_tls_options), __VA_ARGS__ })

/* What a URI does not say, or says otherwise: a field that is set here wins. All zero is
 * fine. Strings are borrowed for the call.
 *
 * URIs: redis://[USER:PASSWORD@]HOST[:PORT][/DB], redis-socket://PATH[?db=N] (or
 * unix://), redis-sentinel://[USER:PASSWORD@]HOST[:PORT],…/DB?master=NAME,
 * redis-cluster://[USER:PASSWORD@]HOST[:PORT],…; rediss, redis-sentinels and
 * redis-clusters are the same over TLS; sqlite forms as far as this version has them. */
typedef struct cronq_store_options {
    size_t struct_size; /* set by CRONQ_STORE_OPTIONS() */
    const char *username;
    const char *password;
    int32_t db;                   /* 0: as in the URI */
    uint32_t pool_size;           /* connections at most (to each node); 0: ten a CPU */
    int64_t dial_timeout_ms;      /* 0: 5,000 */
    int64_t read_timeout_ms;      /* 0: 3,000; CRONQ_NEVER: none */
    int64_t write_timeout_ms;     /* 0: as reading */
    const cronq_tls_options *tls; /* not NULL: TLS, whatever the URI's scheme */
    /* The file that holds the password, wins over password. It is read again for each new
     * connection, so that a password can be changed without a restart. */
    const char *password_file;
    const char *sentinel_username, *sentinel_password; /* of the sentinels themselves */
    uint32_t max_redirects; /* of one command in a cluster; 0: 8 */
    /* A push is accepted when so many replicas have it, within the timeout; else EIO. */
    uint32_t wait_replica_count; /* 0: not awaited */
    int64_t wait_timeout_ms;     /* 0: 1,000 */
    /* Whoever archives a task deletes the oldest of the queue's archive beyond these, a
     * thousand at a time at most. What is 0 here is not deleted by an inspector. */
    uint32_t archive_max_count; /* 0: 10,000 */
    bool must_exist; /* a database file that is not there is not made: ENOENT */
    int64_t archive_max_age_ms; /* 0: 90 days; CRONQ_NEVER: kept for ever */
} cronq_store_options;

#define CRONQ_STORE_OPTIONS(...)                                               \
    (&(const cronq_store_options){ .struct_size = sizeof(cronq_store_options), \
                                   __VA_ARGS__ })

CRONQ_END
#endif /* CRONQ_STORE_H */
