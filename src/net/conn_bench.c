/* SPDX-License-Identifier: MIT */
/* conn_bench.c - connections of tests, by their URIs. */
#include "net/conn_bench.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

cronq_status conn_bench_try(const char *uri, const cronq_store_options *options,
                            cq_conn **out, cronq_error *err)
{
    cq_endpoint endpoint;
    cronq_status status = cq_endpoint_init(&endpoint, uri, options, err);

    if (status)
        return status;
    status = cq_conn_open(&endpoint, out, err);
    cq_endpoint_release(&endpoint);
    return status;
}

cq_conn *conn_bench_open(const char *uri, const cronq_store_options *options)
{
    cronq_error err = { .text = "" };
    cq_conn *conn = NULL;

    if (conn_bench_try(uri, options, &conn, &err))
        fail_msg("%s: %s", uri, err.text);
    return conn;
}
