/* SPDX-License-Identifier: MIT */
/* sentinel_test.c - finding the master through real sentinels. */
#include "net/sentinel.h"

#include "base/clock.h"
#include "support/sentinel.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define PASSWORD "s3cr3t-canary"

static sentinel_group group;

static int set_up(void **state)
{
    (void)state;
    sentinel_group_start(&group, NULL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    sentinel_group_stop(&group);
    return 0;
}

static void not_moved(void *arg, const char *host, uint16_t port)
{
    (void)arg, (void)host, (void)port;
}

static cq_sentinel *make(const char *uri, const cronq_store_options *options)
{
    cronq_error err = { .text = "" };
    cq_sentinel *sentinel = NULL;
    cq_endpoint endpoint;

    if (cq_endpoint_init(&endpoint, uri, options, &err) ||
        cq_sentinel_new(&endpoint, NULL, not_moved, NULL, &sentinel, &err))
        fail_msg("%s", err.text);
    cq_endpoint_release(&endpoint);
    return sentinel;
}

static void expect_master(cq_sentinel *sentinel)
{
    size_t master = sentinel_group_master(&group);
    cronq_error err = { .text = "" };
    cq_endpoint found;

    if (cq_sentinel_find(sentinel, &found, &err))
        fail_msg("%s", err.text);
    assert_int_equal(found.port, redis_server_port(group.servers[master]));
    assert_int_equal(found.topology, CQ_TOPOLOGY_SINGLE);
    cq_endpoint_release(&found);
}

static void expect_failure(const char *uri, const cronq_store_options *options,
                           cronq_status status, const char *text)
{
    cq_sentinel *sentinel = make(uri, options);
    cronq_error err = { .text = "" };
    cq_endpoint found;

    assert_int_equal(cq_sentinel_find(sentinel, &found, &err), status);
    if (!strstr(err.text, text) || strstr(err.text, PASSWORD))
        fail_msg("%s", err.text);
    cq_sentinel_free(sentinel);
}

static bool is_listened_to(redis_server *sentinel)
{
    redisReply *reply = redis_server_command(sentinel, "CLIENT LIST TYPE pubsub");
    bool listened = strstr(reply->str, "cmd=subscribe") != NULL;

    freeReplyObject(reply);
    return listened;
}

static void must_be_listened_to(redis_server *sentinel, int64_t within_ms)
{
    int64_t until_ms = cq_mono_ms() + within_ms;

    while (!is_listened_to(sentinel)) {
        if (cq_mono_ms() > until_ms)
            fail_msg("nobody listens after %lld ms", (long long)within_ms);
        cq_sleep_ms(20);
    }
}

static void one_that_is_dead_is_passed_over(void **state)
{
    cq_sentinel *sentinel;
    char uri[128];

    (void)state;
    snprintf(uri, sizeof uri, "redis-sentinel://127.0.0.1:1,127.0.0.1:%u?master=cronq",
             redis_server_port(group.sentinels[0]));
    sentinel = make(uri, NULL);
    expect_master(sentinel);
    cq_sentinel_free(sentinel);
    expect_failure("redis-sentinel://127.0.0.1:1?master=cronq", NULL, CRONQ_EIO,
                   "none of 1 sentinels");
}

static void a_name_that_nobody_knows_is_told(void **state)
{
    char uri[128];

    (void)state;
    snprintf(uri, sizeof uri, "redis-sentinel://127.0.0.1:%u?master=other",
             redis_server_port(group.sentinels[0]));
    expect_failure(uri, NULL, CRONQ_EIO, "no master \"other\"");
}

static void sentinels_have_credentials_of_their_own(void **state)
{
    redis_server *guarded;
    cq_sentinel *sentinel;
    char uri[128], config[160];

    (void)state;
    snprintf(config, sizeof config,
             "requirepass " PASSWORD "\nsentinel monitor cronq 127.0.0.1 %u 2\n",
             redis_server_port(group.servers[sentinel_group_master(&group)]));
    guarded = redis_server_start_sentinel(config);
    snprintf(uri, sizeof uri, "redis-sentinel://127.0.0.1:%u?master=cronq",
             redis_server_port(guarded));
    expect_failure(uri, NULL, CRONQ_EAUTH, "NOAUTH");
    expect_failure(uri, CRONQ_STORE_OPTIONS(.sentinel_password = PASSWORD "x"),
                   CRONQ_EAUTH, "WRONGPASS");
    sentinel = make(uri, CRONQ_STORE_OPTIONS(.sentinel_password = PASSWORD));
    expect_master(sentinel);
    cq_sentinel_free(sentinel);
    redis_server_stop(guarded);
}

/* The rules of docs/redis.md, and no more. */
static void a_user_needs_little_at_sentinels(void **state)
{
    redis_server *guarded;
    cq_sentinel *sentinel;
    char uri[128], config[400];

    (void)state;
    snprintf(config, sizeof config,
             "user looker on >" PASSWORD " resetkeys resetchannels &+switch-master -@all "
             "+ping +subscribe +sentinel|get-master-addr-by-name +sentinel|sentinels\n"
             "sentinel monitor cronq 127.0.0.1 %u 2\n",
             redis_server_port(group.servers[sentinel_group_master(&group)]));
    guarded = redis_server_start_sentinel(config);
    snprintf(uri, sizeof uri, "redis-sentinel://127.0.0.1:%u?master=cronq",
             redis_server_port(guarded));
    sentinel = make(uri, CRONQ_STORE_OPTIONS(.sentinel_username = "looker",
                                             .sentinel_password = PASSWORD));
    expect_master(sentinel);
    must_be_listened_to(guarded, 5000);
    cq_sentinel_free(sentinel);
    redis_server_stop(guarded);
}

static void a_replica_is_not_taken_for_the_master(void **state)
{
    size_t replica = (sentinel_group_master(&group) + 1) % SENTINEL_SERVERS;
    cq_sentinel *sentinel = make(group.uri, NULL);
    cronq_error err = { .text = "" };
    cq_endpoint endpoint;
    cq_conn *conn;

    (void)state;
    assert_int_equal(
        cq_endpoint_init(&endpoint, redis_server_uri(group.servers[replica]), NULL, &err),
        CRONQ_OK);
    assert_int_equal(cq_conn_open(&endpoint, &conn, &err), CRONQ_OK);
    assert_int_equal(cq_sentinel_check(sentinel, conn, &err), CRONQ_EIO);
    assert_non_null(strstr(err.text, "is a replica"));
    cq_conn_free(conn);
    cq_endpoint_release(&endpoint);
    cq_sentinel_free(sentinel);
}

static void those_that_the_uri_does_not_list_are_learnt(void **state)
{
    cq_sentinel *sentinel;
    char uri[128];

    (void)state;
    snprintf(uri, sizeof uri, "redis-sentinel://127.0.0.1:%u?master=cronq",
             redis_server_port(group.sentinels[2]));
    sentinel = make(uri, NULL);
    expect_master(sentinel);
    redis_server_kill(group.sentinels[2]);
    cq_sentinel_doubt(sentinel);
    expect_master(sentinel);
    cq_sentinel_free(sentinel);
}

/* Its connection is open, and would never tell of a new master. */
static void one_that_hangs_is_not_listened_to_for_ever(void **state)
{
    cq_sentinel *sentinel;
    char uri[128];

    (void)state;
    snprintf(uri, sizeof uri, "redis-sentinel://127.0.0.1:%u,127.0.0.1:%u?master=cronq",
             redis_server_port(group.sentinels[0]),
             redis_server_port(group.sentinels[1]));
    sentinel = make(uri, NULL);
    expect_master(sentinel);
    must_be_listened_to(group.sentinels[0], 5000);
    redis_server_pause(group.sentinels[0]);
    must_be_listened_to(group.sentinels[1], 15000);
    redis_server_resume(group.sentinels[0]);
    cq_sentinel_free(sentinel);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_that_is_dead_is_passed_over),
        cmocka_unit_test(a_name_that_nobody_knows_is_told),
        cmocka_unit_test(sentinels_have_credentials_of_their_own),
        cmocka_unit_test(a_user_needs_little_at_sentinels),
        cmocka_unit_test(a_replica_is_not_taken_for_the_master),
        cmocka_unit_test(one_that_hangs_is_not_listened_to_for_ever),
        cmocka_unit_test(those_that_the_uri_does_not_list_are_learnt),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
