/* SPDX-License-Identifier: MIT */
/* witness.c - what redis-benchmark reaches on the same server: a second opinion about the
 * machine and the moment, by a program that is not ours. */
#include "bench/bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT "200000"

/* Its CSV: a line of names, then "the command","requests a second",… */
static double rate_of(FILE *csv)
{
    char line[4096], *at;
    double rate = 0;

    while (fgets(line, sizeof line, csv)) {
        at = strstr(line, "\",\"");
        if (at)
            rate = strtod(at + 3, NULL);
    }
    return rate;
}

/* "host:port", or the path of a socket. */
static int where(const char *address, char *out, size_t size)
{
    const char *colon = strrchr(address, ':');

    if (strchr(address, '\''))
        return -1;
    if (address[0] == '/')
        return snprintf(out, size, "-s '%s'", address);
    if (!colon)
        return -1;
    return snprintf(out, size, "-h '%.*s' -p '%s'", (int)(colon - address), address,
                    colon + 1);
}

cronq_status cq_bench_witness(const cq_bench_options *options,
                              const cq_bench_series *series, cq_bench_sample *out,
                              cronq_error *err)
{
    char name[64], command[1024], at[512];
    const char *queue = cq_bench_queue(name);
    cq_conn *conn;
    FILE *csv;

    (void)series, (void)err;
    out->value = 0; /* not known: no row */
    if (cq_bench_is_sqlite(options->uri) || strncmp(options->uri, "redis", 5) != 0 ||
        strncmp(options->uri, "rediss", 6) == 0 || strchr(options->uri, '@'))
        return CRONQ_OK;
    if (cq_bench_connect(options->uri, queue, &conn, NULL))
        return CRONQ_OK;
    if (where(cq_conn_address(conn), at, sizeof at) > 0) {
        snprintf(command, sizeof command,
                 "redis-benchmark %s -P 16 -n " COUNT " --csv SET 'asynq:{%s}:witness' "
                 "%0100d 2>/dev/null",
                 at, queue, 0);
        csv = popen(command, "r");
        if (csv) {
            out->value = rate_of(csv);
            pclose(csv);
        }
    }
    cq_conn_free(conn);
    cq_bench_empty(options->uri, queue, NULL);
    return CRONQ_OK;
}
