/* SPDX-License-Identifier: MIT */
/* stores.c - runs `cronq bench` on every kind of store, each started for it: Redis by
 * TCP, by a Unix socket, by TLS, a cluster of three masters, SQLite with both
 * durabilities; and through a network that is 1 and 5 ms long.
 *
 * stores CRONQ DIRECTORY [STORE]: the tables go to stdout, JSON and pictures to the
 * directory. Environment: ROUNDS, TASKS. */
#include "support/certs.h"
#include "support/cluster.h"
#include "support/fault_proxy.h"
#include "support/redis_server.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROUNDS_LIMIT 9

static const char *cronq, *directory, *only;

static const char *setting(const char *name, const char *otherwise)
{
    const char *value = getenv(name);

    return value && *value ? value : otherwise;
}

/* Run the command line; exits with it when it fails. */
static void run(const char *format, ...)
{
    char line[4096];
    va_list args;
    int status;

    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    fflush(stdout);
    status = system(line);
    if (status == 0)
        return;
    fprintf(stderr, "%s: failed\n", line);
    exit(1);
}

static void measure(const char *name, const char *uri, bool scale)
{
    const char *rounds = setting("ROUNDS", "5"), *tasks = setting("TASKS", "60000");

    printf("\n==== %s\n\n", name);
    run("'%s' -u '%s' bench throughput -r %s -n %s --svg '%s/%s-throughput.svg'", cronq,
        uri, rounds, tasks, directory, name);
    puts("");
    run("'%s' -u '%s' bench latency -i 100 --svg '%s/%s-latency.svg'", cronq, uri,
        directory, name);
    if (!scale)
        return;
    puts("");
    run("'%s' -u '%s' bench scale -m %s --svg '%s/%s-scale.svg'", cronq, uri,
        setting("MOST", "100000"), directory, name);
}

/* ---- the stores ---- */

static void measure_tcp(void)
{
    redis_server *server = redis_server_start_tcp(NULL);
    char uri[64];

    snprintf(uri, sizeof uri, "redis://127.0.0.1:%u", redis_server_port(server));
    measure("redis", uri, true);
    redis_server_stop(server);
}

static void measure_socket(void)
{
    redis_server *server = redis_server_start(NULL);

    measure("socket", redis_server_uri(server), false);
    redis_server_stop(server);
}

static void measure_tls(void)
{
    char *certs = certs_make();
    redis_server *server =
        redis_server_start_tls(certs, "server", "tls-auth-clients no\n");
    char uri[64];

    setenv("SSL_CERT_FILE", certs_path(certs, "ca", "pem"), 1);
    snprintf(uri, sizeof uri, "rediss://127.0.0.1:%u", redis_server_port(server));
    measure("tls", uri, false);
    redis_server_stop(server);
    certs_remove(certs);
}

/* One queue is on one node; queues are spread over all. */
static void measure_cluster(void)
{
    cluster_group group;

    cluster_group_start(&group);
    measure("cluster", group.uri, false);
    puts("");
    run("'%s' -u '%s' bench scale -o queues", cronq, group.uri);
    cluster_group_stop(&group);
}

static void measure_sqlite(const char *name, const char *query)
{
    char dir[] = "/tmp/cronq-bench-XXXXXX", uri[128];

    if (!mkdtemp(dir))
        exit(1);
    snprintf(uri, sizeof uri, "sqlite:%s/cronq.db%s", dir, query);
    measure(name, uri, false);
    run("rm -r '%s'", dir);
}

static void measure_sqlite_full(void)
{
    measure_sqlite("sqlite-full", "");
}

static void measure_sqlite_normal(void)
{
    measure_sqlite("sqlite-normal", "?synchronous=normal");
}

/* ---- the length of the network ---- */

static double rate_at(const char *uri)
{
    char line[4096];
    json_t *root;
    FILE *out;
    double rate = 0;

    snprintf(line, sizeof line,
             "'%s' --json -u '%s' bench throughput -r 1 -n %s -w 100 -o process.cronq",
             cronq, uri, setting("TASKS", "60000"));
    out = popen(line, "r");
    root = out ? json_loadf(out, 0, NULL) : NULL;
    if (root)
        rate = json_number_value(json_object_get(
            json_object_get(json_object_get(root, "process"), "cronq"), "median"));
    json_decref(root);
    if (out)
        pclose(out);
    return rate;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

/* All lengths in each round; ratios are to the first length, of the same round. */
static void measure_distance(void)
{
    static const int delays_ms[] = { 0, 1, 5 };
    redis_server *server = redis_server_start(NULL);
    fault_proxy *proxy = fault_proxy_start(redis_server_socket(server));
    int rounds = atoi(setting("ROUNDS", "5"));
    double rates[3][ROUNDS_LIMIT], ratios[3][ROUNDS_LIMIT];

    rounds = rounds < 1 ? 1 : rounds > ROUNDS_LIMIT ? ROUNDS_LIMIT : rounds;
    for (int round = 0; round < rounds; round++)
        for (int i = 0; i < 3; i++) {
            fault_proxy_delay(proxy, delays_ms[i]);
            rates[i][round] = rate_at(fault_proxy_uri(proxy));
            ratios[i][round] = rates[i][round] / rates[0][round];
        }
    printf("\n==== distance: 100 workers, no-op tasks, through a proxy\n\n"
           "%-20s %11s %11s %11s %8s\n",
           "answers later by", "min", "median", "max", "ratio");
    for (int i = 0; i < 3; i++) {
        qsort(rates[i], (size_t)rounds, sizeof(double), compare);
        qsort(ratios[i], (size_t)rounds, sizeof(double), compare);
        printf("%d ms %27.0f %11.0f %11.0f %8.2f\n", delays_ms[i], rates[i][0],
               rates[i][rounds / 2], rates[i][rounds - 1], ratios[i][rounds / 2]);
    }
    fault_proxy_stop(proxy);
    redis_server_stop(server);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*measure)(void);
    } stores[] = {
        { "redis", measure_tcp },
        { "distance", measure_distance },
        { "socket", measure_socket },
        { "tls", measure_tls },
        { "cluster", measure_cluster },
        { "sqlite-full", measure_sqlite_full },
        { "sqlite-normal", measure_sqlite_normal },
    };

    if (argc < 3) {
        fprintf(stderr, "usage: stores CRONQ DIRECTORY [STORE]\n");
        return 2;
    }
    cronq = argv[1];
    directory = argv[2];
    only = argc > 3 ? argv[3] : NULL;
    for (size_t i = 0; i < sizeof stores / sizeof stores[0]; i++)
        if (!only || strcmp(only, stores[i].name) == 0)
            stores[i].measure();
    return 0;
}
