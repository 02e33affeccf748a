/* SPDX-License-Identifier: MIT */
/* handshake_test.c - getting in at a real redis-server, and what is said when it fails.
 */
#include "net/conn.h"

#include "base/clock.h"
#include "net/conn_bench.h"
#include "support/redis_server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define PASSWORD "s3cr3t-canary"

static redis_server *server;

static int start_server(void **state)
{
    (void)state;
    server = redis_server_start_tcp("databases 4\n"
                                    "user guest on >" PASSWORD " ~* +@all\n"
                                    "user locked on >" PASSWORD " ~* +get\n");
    return 0;
}

static int stop_server(void **state)
{
    (void)state;
    redis_server_stop(server);
    return 0;
}

static const char *tcp_uri(void)
{
    static char uri[64];

    snprintf(uri, sizeof uri, "redis://127.0.0.1:%u", redis_server_port(server));
    return uri;
}

static void expect_failure(const char *uri, const cronq_store_options *options,
                           cronq_status expected, const char *names)
{
    cronq_error err = { .text = "" };
    cq_conn *conn = NULL;
    cronq_status status = conn_bench_try(uri, options, &conn, &err);

    if (status != expected || err.code != expected || !strstr(err.text, names))
        fail_msg("%s: %s: \"%s\", expected \"%s\"", uri, cronq_status_name(status),
                 err.text, names);
    assert_null(conn);
    assert_null(strstr(err.text, PASSWORD));
}

static void a_user_gets_in_with_the_right_password_only(void **state)
{
    const char *uri = redis_server_uri(server);

    (void)state;
    cq_conn_free(conn_bench_open(
        uri, CRONQ_STORE_OPTIONS(.username = "guest", .password = PASSWORD)));
    expect_failure(uri,
                   CRONQ_STORE_OPTIONS(.username = "guest", .password = PASSWORD "x"),
                   CRONQ_EAUTH, "WRONGPASS");
    expect_failure(uri, CRONQ_STORE_OPTIONS(.username = "guest"), CRONQ_EAUTH,
                   "WRONGPASS");
    expect_failure(uri, CRONQ_STORE_OPTIONS(.username = "nobody", .password = PASSWORD),
                   CRONQ_EAUTH, uri + strlen("redis-socket://"));
    /* A password where the server wants none. */
    expect_failure(uri, CRONQ_STORE_OPTIONS(.password = PASSWORD), CRONQ_EAUTH, "AUTH");
    expect_failure(
        uri, CRONQ_STORE_OPTIONS(.username = "locked", .password = PASSWORD, .db = 1),
        CRONQ_EAUTH, "NOPERM");
}

static void a_server_that_wants_a_password_says_so(void **state)
{
    redis_server *guarded = redis_server_start("requirepass " PASSWORD "\n");
    const char *uri = redis_server_uri(guarded);

    (void)state;
    expect_failure(uri, NULL, CRONQ_EAUTH, "NOAUTH");
    expect_failure(uri, CRONQ_STORE_OPTIONS(.db = 1), CRONQ_EAUTH, "NOAUTH");
    expect_failure(uri, CRONQ_STORE_OPTIONS(.password = "wrong"), CRONQ_EAUTH,
                   "WRONGPASS");
    cq_conn_free(conn_bench_open(uri, CRONQ_STORE_OPTIONS(.password = PASSWORD)));
    redis_server_stop(guarded);
}

static void a_password_of_8_kilobytes_is_sent_whole(void **state)
{
    cq_conn *conn = conn_bench_open(redis_server_uri(server), NULL);
    char *password = malloc(8193);
    cq_reply *reply;
    cq_arena arena;
    char *rule;

    (void)state;
    assert_non_null(password);
    memset(password, 'p', 8192);
    password[8192] = '\0';
    assert_true(asprintf(&rule, ">%s", password) > 0);
    cq_arena_init(&arena, 1 << 20);
    assert_int_equal(cq_conn_call(conn, &arena, &reply, NULL, 6, "ACL", "SETUSER", "long",
                                  "on", "+@all", rule),
                     CRONQ_OK);
    assert_int_equal(reply->type, CQ_REPLY_STATUS);
    cq_conn_free(
        conn_bench_open(redis_server_uri(server),
                        CRONQ_STORE_OPTIONS(.username = "long", .password = password)));
    cq_arena_release(&arena);
    cq_conn_free(conn);
    free(password);
    free(rule);
}

static void a_database_beyond_the_last_is_named(void **state)
{
    (void)state;
    expect_failure(tcp_uri(), CRONQ_STORE_OPTIONS(.db = 4), CRONQ_EINVAL, "database 4");
}

static void a_socket_that_is_not_there_is_named(void **state)
{
    (void)state;
    expect_failure("unix:///nonexistent/r.sock", NULL, CRONQ_EIO,
                   "/nonexistent/r.sock: cannot connect: No such file");
}

static void a_port_that_nobody_listens_on_is_named(void **state)
{
    (void)state;
    expect_failure("redis://127.0.0.1:1", NULL, CRONQ_EIO,
                   "127.0.0.1:1: cannot connect: Connection refused");
}

static void a_host_without_an_address_is_named(void **state)
{
    (void)state;
    expect_failure("redis://no.such.host.invalid", NULL, CRONQ_EIO,
                   "no.such.host.invalid:6379: cannot look up");
}

static void a_name_with_several_addresses_is_tried_to_the_last(void **state)
{
    char uri[64];

    (void)state;
    /* Often ::1 comes first, where nobody listens. */
    snprintf(uri, sizeof uri, "redis://localhost:%u", redis_server_port(server));
    cq_conn_free(conn_bench_open(uri, NULL));
}

static void a_full_server_says_so(void **state)
{
    redis_server *small = redis_server_start("maxclients 1\n");

    (void)state;
    expect_failure(redis_server_uri(small), NULL, CRONQ_EIO, "max number of clients");
    redis_server_stop(small);
}

static void dialling_a_server_that_hangs_ends(void **state)
{
    int64_t began_ms;

    (void)state;
    redis_server_pause(server);
    began_ms = cq_mono_ms();
    expect_failure(redis_server_uri(server),
                   CRONQ_STORE_OPTIONS(.dial_timeout_ms = 60, .read_timeout_ms = -1),
                   CRONQ_EIO, "no reply within 60 ms");
    redis_server_resume(server);
    assert_true(cq_mono_ms() - began_ms < 2000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_user_gets_in_with_the_right_password_only),
        cmocka_unit_test(a_server_that_wants_a_password_says_so),
        cmocka_unit_test(a_password_of_8_kilobytes_is_sent_whole),
        cmocka_unit_test(a_database_beyond_the_last_is_named),
        cmocka_unit_test(a_socket_that_is_not_there_is_named),
        cmocka_unit_test(a_port_that_nobody_listens_on_is_named),
        cmocka_unit_test(a_host_without_an_address_is_named),
        cmocka_unit_test(a_name_with_several_addresses_is_tried_to_the_last),
        cmocka_unit_test(a_full_server_says_so),
        cmocka_unit_test(dialling_a_server_that_hangs_ends),
    };

    return cmocka_run_group_tests(tests, start_server, stop_server);
}
