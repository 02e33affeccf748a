/* SPDX-License-Identifier: MIT */
/* broker/redis/test_bench.c - what a test of the Redis broker works on. */
#include "broker/redis/test_bench.h"

#include <stdlib.h>

bool redis_bench_as_before_7;

static void count_warning(void *arg, const cronq_log_record *record)
{
    redis_bench *b = arg;

    if (record->level == CRONQ_LOG_WARN)
        b->warnings++;
}

void redis_bench_open_with(redis_bench *b, const char *uri)
{
    const cronq_store_options store = { .struct_size = sizeof store,
                                        .read_timeout_ms = 500,
                                        .pool_size = 3 };
    cq_broker_options options = { .uri = uri,
                                  .store = &store,
                                  .logger = { count_warning, b, CRONQ_LOG_DEBUG },
                                  .lease_ms = CONFORMANCE_LEASE_MS,
                                  .task_check_interval_ms = 100,
                                  .as_before_7 = redis_bench_as_before_7 };
    cronq_error err = { 0 };

    if (cq_broker_open(&options, &b->broker, &err))
        fail_msg("cq_broker_open: %s", err.text);
    b->intake = conformance_intake(b->broker, "q r");
}

int redis_bench_set_up(void **state)
{
    redis_bench *b = calloc(1, sizeof *b);

    assert_non_null(b);
    b->server = redis_server_start(NULL);
    redis_bench_open_with(b, redis_server_uri(b->server));
    conformance_exchange_init(&b->x, 7);
    cq_arena_init(&b->arena, 1 << 24);
    *state = b;
    return 0;
}

void redis_bench_close_broker(redis_bench *b)
{
    b->intake->ops->intake_close(b->intake);
    b->broker->ops->free(b->broker);
}

int redis_bench_tear_down(void **state)
{
    redis_bench *b = *state;

    redis_bench_close_broker(b);
    redis_server_stop(b->server);
    conformance_exchange_release(&b->x);
    cq_arena_release(&b->arena);
    free(b);
    return 0;
}
