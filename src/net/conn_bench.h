/* SPDX-License-Identifier: MIT */
/* net/conn_bench.h - connections of tests, by their URIs. */
#ifndef CQ_NET_CONN_BENCH_H
#define CQ_NET_CONN_BENCH_H

#include "net/conn.h"

cronq_status conn_bench_try(const char *uri, const cronq_store_options *options,
                            cq_conn **out, cronq_error *err);
cq_conn *conn_bench_open(const char *uri, const cronq_store_options *options); /* must */

#endif
