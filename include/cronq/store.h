/* SPDX-License-Identifier: MIT */
/* cronq/store.h - how to reach the store that holds the queues. */
#ifndef CRONQ_STORE_H
#define CRONQ_STORE_H

#include "base.h"

CRONQ_BEGIN

#define CRONQ_NEVER (-1) /* a timeout that never comes */

/* What a URI does not say, or says otherwise: a field that is set here wins. All zero is
 * fine. Strings are borrowed for the call.
 *
 * URIs: redis://[USER:PASSWORD@]HOST[:PORT][/DB], redis-socket://PATH[?db=N] (or
 * unix://); rediss, redis-sentinel, redis-cluster and sqlite forms as far as this version
 * has them. */
typedef struct cronq_store_options {
    size_t struct_size; /* set by CRONQ_STORE_OPTIONS() */
    const char *username;
    const char *password;
    int32_t db;               /* 0: as in the URI */
    uint32_t pool_size;       /* connections at most; 0: ten a CPU */
    int64_t dial_timeout_ms;  /* 0: 5,000 */
    int64_t read_timeout_ms;  /* 0: 3,000; CRONQ_NEVER: none */
    int64_t write_timeout_ms; /* 0: as reading */
} cronq_store_options;

#define CRONQ_STORE_OPTIONS(...)                                               \
    (&(const cronq_store_options){ .struct_size = sizeof(cronq_store_options), \
                                   __VA_ARGS__ })

CRONQ_END
#endif /* CRONQ_STORE_H */
