/* SPDX-License-Identifier: MIT */
/* conformance/modes_test.c - the conformance cases over Redis as production runs it: with
 * TLS and client certificates, behind sentinels, as a cluster. */
#include "conformance/conformance.h"

#include "support/acl.h"
#include "support/certs.h"
#include "support/cluster.h"
#include "support/redis_server.h"
#include "support/sentinel.h"

#include <stdio.h>

typedef struct mode_store {
    conformance_store store; /* first */
    const char *uri;
    const cronq_store_options *options;
    redis_server *server;  /* is wiped, or */
    sentinel_group *group; /* its master, or */
    cluster_group *cluster;
} mode_store;

static cq_broker *open_mode(conformance_store *store, const cq_broker_options *options)
{
    mode_store *mine = (mode_store *)(void *)store;
    cronq_store_options how =
        mine->options ? *mine->options : *CRONQ_STORE_OPTIONS(.username = NULL);
    cq_broker_options all = *options;
    cronq_error err = { 0 };
    cq_broker *broker;

    if (options->store) {
        how.archive_max_count = options->store->archive_max_count;
        how.archive_max_age_ms = options->store->archive_max_age_ms;
    }
    all.uri = mine->uri;
    all.store = &how;
    if (cq_broker_open(&all, &broker, &err))
        fail_msg("cq_broker_open: %s", err.text);
    return broker;
}

static void wipe_mode(conformance_store *store)
{
    mode_store *mine = (mode_store *)(void *)store;

    if (mine->cluster)
        cluster_group_wipe(mine->cluster);
    else if (mine->group)
        sentinel_group_wipe(mine->group);
    else
        redis_server_do(mine->server, "FLUSHALL");
}

static int run_tls(void)
{
    char *certs = certs_make();
    redis_server *server = redis_server_start_tls(certs, "server", NULL);
    const cronq_tls_options *tls =
        CRONQ_TLS_OPTIONS(.ca_file = certs_path(certs, "ca", "pem"),
                          .cert_file = certs_path(certs, "client", "pem"),
                          .key_file = certs_path(certs, "client", "key"));
    mode_store mode = { .store = { .open = open_mode, .wipe = wipe_mode },
                        .options = CRONQ_STORE_OPTIONS(.tls = tls),
                        .server = server };
    char uri[64];
    int failed;

    snprintf(uri, sizeof uri, "rediss://127.0.0.1:%u", redis_server_port(server));
    mode.uri = uri;
    failed = conformance_run("tls", &mode.store);
    redis_server_stop(server);
    certs_remove(certs);
    return failed;
}

/* As the operator of docs/redis.md, who may do most. */
static int run_acl(void)
{
    redis_server *server = redis_server_start(NULL);
    mode_store mode = { .store = { .open = open_mode, .wipe = wipe_mode },
                        .uri = redis_server_uri(server),
                        .options = CRONQ_STORE_OPTIONS(.username = "cronq-operator",
                                                       .password = "p"),
                        .server = server };
    int failed;

    acl_make_users(server, "p");
    failed = conformance_run("users", &mode.store);
    acl_expect_nothing_refused(server);
    redis_server_stop(server);
    return failed;
}

static int run_sentinel(void)
{
    mode_store mode = { .store = { .open = open_mode, .wipe = wipe_mode } };
    sentinel_group group;
    int failed;

    sentinel_group_start(&group, NULL);
    mode.uri = group.uri;
    mode.group = &group;
    failed = conformance_run("sentinel", &mode.store);
    sentinel_group_kill_master(&group);
    sentinel_group_heal(&group);
    failed += conformance_run("sentinel, after a failover", &mode.store);
    sentinel_group_stop(&group);
    return failed;
}

static int run_cluster(void)
{
    mode_store mode = { .store = {
                            .open = open_mode, .wipe = wipe_mode, .polls = true } };
    cluster_group cluster;
    int failed;

    cluster_group_start(&cluster);
    mode.uri = cluster.uri;
    mode.cluster = &cluster;
    failed = conformance_run("cluster", &mode.store);
    cluster_group_kill_owner(&cluster, "asynq:{q}:");
    failed += conformance_run("cluster, after a failover", &mode.store);
    cluster_group_stop(&cluster);
    return failed;
}

/* With a name only that mode. */
int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(void);
    } modes[] = { { "tls", run_tls },
                  { "acl", run_acl },
                  { "sentinel", run_sentinel },
                  { "cluster", run_cluster } };
    int failed = 0;

    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++)
        if (argc < 2 || strcmp(argv[1], modes[i].name) == 0)
            failed += modes[i].run();
    return failed;
}
