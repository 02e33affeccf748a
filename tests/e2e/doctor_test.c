/* SPDX-License-Identifier: MIT */
/* e2e/doctor_test.c - `cronq doctor` before servers that have what it looks for. What
 * permissions are missing is in acl_test.c. */
#include <cronq/cronq.h>

#include "support/cluster.h"
#include "support/peer.h"
#include "support/redis_server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

typedef struct advice_log {
    char text[16384];
    size_t len;
} advice_log;

static void note(const cronq_advice *advice, void *arg)
{
    advice_log *log = arg;

    log->len += (size_t)snprintf(log->text + log->len, sizeof log->text - log->len,
                                 "%s: %s\n", advice->kind, advice->text);
    assert_true(log->len < sizeof log->text);
}

static cronq_status diagnose(const char *uri, advice_log *log, cronq_error *err)
{
    cronq_inspector *inspector;
    cronq_status status = cronq_inspector_new(uri, NULL, &inspector, err);

    log->len = 0;
    log->text[0] = '\0';
    if (status)
        return status;
    status = cronq_inspector_diagnose(inspector, note, log, err);
    cronq_inspector_free(inspector);
    return status;
}

static void must(cronq_status status, const cronq_error *err)
{
    if (status)
        fail_msg("%s", err->text);
}

static bool has(const advice_log *log, const char *text)
{
    return strstr(log->text, text) != NULL;
}

static void it_has_nothing_to_say_about_a_good_server(void **state)
{
    redis_server *server = redis_server_start("appendonly yes");
    cronq_error err = { 0 };
    advice_log log;

    (void)state;
    must(diagnose(redis_server_uri(server), &log, &err), &err);
    assert_string_equal(log.text, "");
    redis_server_stop(server);
}

static void it_sees_that_clocks_differ(void **state)
{
    static const struct {
        const char *shift_ms, *text;
    } rows[] = {
        { "60000", "ahead of this machine's" },
        { "-3600000", "behind this machine's" },
    };
    cronq_error err = { 0 };
    advice_log log;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        redis_server *server;

        setenv("LD_PRELOAD", CLOCK_SHIFT, 1);
        setenv("CLOCK_SHIFT_MS", rows[i].shift_ms, 1);
        server = redis_server_start("appendonly yes");
        unsetenv("LD_PRELOAD");
        unsetenv("CLOCK_SHIFT_MS");
        must(diagnose(redis_server_uri(server), &log, &err), &err);
        if (!has(&log, "clock: ") || !has(&log, rows[i].text))
            fail_msg("\"%s\" says nothing of %s", log.text, rows[i].text);
        redis_server_stop(server);
    }
}

static void it_refuses_a_server_that_is_too_old(void **state)
{
    test_peer *peer = peer_start("*2\r\n$7\r\nversion\r\n$5\r\n6.0.9\r\n", NULL);
    cronq_error err = { 0 };
    advice_log log;

    (void)state;
    assert_int_equal(diagnose(peer_uri(peer), &log, &err), CRONQ_EUNSUPPORTED);
    assert_non_null(strstr(err.text, "version 6.0.9; 6.2 is the least"));
    peer_stop(peer);
}

static bool tells(redis_server *server, const char *command, const char *text)
{
    redisReply *reply = redis_server_command(server, command);
    bool found = strstr(reply->str, text) != NULL;

    freeReplyObject(reply);
    return found;
}

static void it_sees_a_disk_that_can_not_be_written(void **state)
{
    redis_server *server = redis_server_start("appendonly yes");
    cronq_error err = { 0 };
    advice_log log;
    char path[96];

    (void)state;
    /* No snapshot can be given the name of a directory. */
    snprintf(path, sizeof path, "%s", redis_server_socket(server));
    strcpy(strrchr(path, '/'), "/dump.rdb");
    assert_int_equal(mkdir(path, 0700), 0);
    redis_server_do(server, "BGSAVE");
    do
        must(diagnose(redis_server_uri(server), &log, &err), &err);
    while (tells(server, "INFO persistence", "rdb_bgsave_in_progress:1"));
    must(diagnose(redis_server_uri(server), &log, &err), &err);
    assert_string_equal(log.text, "persistence: the last write to the server's disk has "
                                  "failed\n");
    redis_server_stop(server);
}

static void it_looks_at_every_node_of_a_cluster(void **state)
{
    cluster_group group;
    cronq_error err = { 0 };
    char expected[80];
    advice_log log;

    (void)state;
    cluster_group_start(&group);
    redis_server_do(group.nodes[2], "CONFIG SET maxmemory-policy allkeys-lfu");
    must(diagnose(group.uri, &log, &err), &err);
    snprintf(expected, sizeof expected,
             "eviction: at 127.0.0.1:%u: maxmemory-policy is allkeys-lfu",
             redis_server_port(group.nodes[2]));
    if (!has(&log, expected))
        fail_msg("\"%s\" is not in: %s", expected, log.text);
    for (size_t i = 0; i < CLUSTER_MASTERS; i++) {
        snprintf(expected, sizeof expected,
                 "persistence: at 127.0.0.1:%u: ", redis_server_port(group.nodes[i]));
        assert_true(has(&log, expected));
    }
    cluster_group_stop(&group);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_has_nothing_to_say_about_a_good_server),
        cmocka_unit_test(it_sees_that_clocks_differ),
        cmocka_unit_test(it_refuses_a_server_that_is_too_old),
        cmocka_unit_test(it_sees_a_disk_that_can_not_be_written),
        cmocka_unit_test(it_looks_at_every_node_of_a_cluster),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
