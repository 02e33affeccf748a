/* SPDX-License-Identifier: MIT */
/* broker/redis/test_bench.h - what a test of the Redis broker works on. */
#ifndef CQ_BROKER_REDIS_TEST_BENCH_H
#define CQ_BROKER_REDIS_TEST_BENCH_H

#include "broker/broker.h"
#include "conformance/conformance.h"
#include "support/redis_server.h"

#include <stdatomic.h>

#define NOW_NS CONFORMANCE_NOW_NS
#define NOW_S  (NOW_NS / CQ_NS_PER_S)

/* A server, a broker, an intake of q and r, and an exchange with fence 7. */
typedef struct redis_bench {
    redis_server *server;
    cq_broker *broker;
    cq_intake *intake;
    conformance_exchange x;
    cq_arena arena;
    _Atomic int warnings;
} redis_bench;

/* Use the scripts of Redis 6.2. */
extern bool redis_bench_as_before_7;

int redis_bench_set_up(void **state);
int redis_bench_tear_down(void **state);

/* Another broker and intake for the bench: close the old ones first. */
void redis_bench_close_broker(redis_bench *b);
void redis_bench_open_with(redis_bench *b, const char *uri);

#define REDIS_CASE(function) \
    cmocka_unit_test_setup_teardown(function, redis_bench_set_up, redis_bench_tear_down)

/* Run the tests with the scripts of both versions. */
#define REDIS_RUN(tests)                                         \
    (cmocka_run_group_tests_name("redis 7", tests, NULL, NULL) + \
     (redis_bench_as_before_7 = true,                            \
      cmocka_run_group_tests_name("redis 6.2", tests, NULL, NULL)))

#endif
