/* SPDX-License-Identifier: MIT */
/* conformance/redis_test.c - the conformance cases over a real redis-server, with the
 * scripts of Redis 7 and with those for Redis 6.2. */
#include "conformance/conformance.h"

#include "support/redis_server.h"

typedef struct redis_store {
    conformance_store store; /* first */
    redis_server *server;
    bool as_before_7;
} redis_store;

static cq_broker *open_redis(conformance_store *store, const cq_broker_options *options)
{
    redis_store *redis = (redis_store *)(void *)store;
    cq_broker_options mine = *options;
    cronq_error err = { 0 };
    cq_broker *broker;

    mine.uri = redis_server_uri(redis->server);
    mine.as_before_7 = redis->as_before_7;
    if (cq_broker_open(&mine, &broker, &err))
        fail_msg("cq_broker_open: %s", err.text);
    return broker;
}

static void wipe_redis(conformance_store *store)
{
    redis_server_do(((redis_store *)(void *)store)->server, "FLUSHALL");
}

int main(void)
{
    redis_store store = { .store = { .open = open_redis, .wipe = wipe_redis } };
    int failed;

    store.server = redis_server_start(NULL);
    failed = conformance_run("redis 7", &store.store);
    store.as_before_7 = true;
    failed += conformance_run("redis 6.2", &store.store);
    redis_server_stop(store.server);
    return failed;
}
