/* SPDX-License-Identifier: MIT */
/* idle_test.c - what a worker costs that has nothing to do. */
#include "support/process.h"
#include "support/redis_server.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define LOOK_S              5
#define CPU_PERCENT_LIMIT   10         /* ten times what `cronq bench latency` shows */
#define PRIVATE_DIRTY_LIMIT (4 * 1024) /* KiB */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

static long long commands_so_far(redis_server *redis)
{
    redisReply *reply = redis_server_command(redis, "INFO stats");
    const char *line = strstr(reply->str, "total_commands_processed:");
    long long count;

    assert_non_null(line);
    count = atoll(line + strlen("total_commands_processed:"));
    freeReplyObject(reply);
    return count;
}

static void an_idle_worker_costs_next_to_nothing(void **state)
{
    redis_server *redis = redis_server_start(NULL);
    char history[] = "/tmp/cronq-history-XXXXXX";
    int fd = mkstemp(history);
    const char *const argv[] = { TEST_WORKER, redis_server_uri(redis), history,
                                 "concurrency=10", NULL };
    pid_t pid = process_start(argv);
    int64_t cpu_ms, dirty_kib;
    long long commands;

    (void)state;
    assert_true(fd >= 0);
    close(fd);
    sleep(2);
    cpu_ms = process_cpu_ms(pid);
    commands = commands_so_far(redis);
    sleep(LOOK_S);
    cpu_ms = process_cpu_ms(pid) - cpu_ms;
    commands = commands_so_far(redis) - commands;
    dirty_kib = process_private_dirty_kib(pid);
    print_message("in %d s idle: %lld ms CPU, %lld commands; %lld KiB private dirty\n",
                  LOOK_S, (long long)cpu_ms, commands, (long long)dirty_kib);
    assert_true(cpu_ms <= LOOK_S * 1000 * CPU_PERCENT_LIMIT / 100);
    if (!SANITIZED)
        assert_true(dirty_kib <= PRIVATE_DIRTY_LIMIT);
    assert_int_equal(process_end(pid, SIGTERM), 0);
    redis_server_stop(redis);
    unlink(history);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_idle_worker_costs_next_to_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
