/* SPDX-License-Identifier: MIT */
/* tls_test.c - TLS to a real redis-server: who is trusted, and why others are not. */
#include "net/conn.h"

#include "base/clock.h"
#include "support/certs.h"
#include "support/redis_server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static char *certs;
static redis_server *strict; /* asks for a client's certificate */

static int set_up(void **state)
{
    (void)state;
    certs = certs_make();
    strict = redis_server_start_tls(certs, "server", NULL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    redis_server_stop(strict);
    certs_remove(certs);
    return 0;
}

static const char *file(const char *name, const char *suffix)
{
    return certs_path(certs, name, suffix);
}

/* A connection that must answer PING, or the failure. */
static cronq_status try_ping(const char *scheme, const char *host,
                             const redis_server *server, const cronq_tls_options *tls,
                             cronq_error *err)
{
    cq_endpoint endpoint;
    char uri[128];
    cronq_status status;
    cq_conn *conn = NULL;
    cq_arena arena;
    cq_reply *reply;

    snprintf(uri, sizeof uri, "%s://%s:%u", scheme, host, redis_server_port(server));
    status = cq_endpoint_init(
        &endpoint, uri, CRONQ_STORE_OPTIONS(.tls = tls, .dial_timeout_ms = 2000), err);
    if (status)
        return status;
    status = cq_conn_open(&endpoint, &conn, err);
    cq_endpoint_release(&endpoint);
    if (status)
        return status;
    cq_arena_init(&arena, 4096);
    assert_int_equal(cq_conn_call(conn, &arena, &reply, err, 1, "PING"), CRONQ_OK);
    assert_true(cq_str_eq(reply->text, CQ_STR("PONG")));
    assert_true(cq_conn_reusable(conn));
    cq_arena_release(&arena);
    cq_conn_free(conn);
    return CRONQ_OK;
}

static void expect(cronq_status status, const char *text, const redis_server *server,
                   const char *host, const cronq_tls_options *tls)
{
    cronq_error err = { .text = "" };

    if (try_ping("rediss", host, server, tls, &err) != status)
        fail_msg("%s", err.text);
    if (text && !strstr(err.text, text))
        fail_msg("\"%s\" does not say \"%s\"", err.text, text);
}

static const cronq_tls_options *trusting(const char *ca, const char *client)
{
    static cronq_tls_options options;

    options = *CRONQ_TLS_OPTIONS(.ca_file = file(ca, "pem"),
                                 .cert_file = client ? file(client, "pem") : NULL,
                                 .key_file = client ? file(client, "key") : NULL);
    return &options;
}

static void the_right_certificates_are_accepted(void **state)
{
    cronq_tls_options newest = *trusting("ca", "client");

    (void)state;
    expect(CRONQ_OK, NULL, strict, "127.0.0.1", trusting("ca", "client"));
    expect(CRONQ_OK, NULL, strict, "localhost", trusting("ca", "client"));
    newest.min_version = CRONQ_TLS_1_3;
    expect(CRONQ_OK, NULL, strict, "127.0.0.1", &newest);
}

static void a_client_without_a_good_certificate_is_told(void **state)
{
    (void)state;
    expect(CRONQ_EAUTH, "server refuses us", strict, "127.0.0.1", trusting("ca", NULL));
    expect(CRONQ_EAUTH, "server refuses us", strict, "127.0.0.1",
           trusting("ca", "stranger"));
}

static void an_unknown_authority_is_refused(void **state)
{
    (void)state;
    expect(CRONQ_EAUTH, "certificate is refused", strict, "127.0.0.1",
           trusting("other", "client"));
    expect(CRONQ_EAUTH, "certificate is refused", strict, "127.0.0.1", NULL);
}

static void another_hosts_certificate_is_refused(void **state)
{
    redis_server *server =
        redis_server_start_tls(certs, "elsewhere", "tls-auth-clients no\n");
    cronq_tls_options named = *trusting("ca", NULL);

    (void)state;
    expect(CRONQ_EAUTH, "IP address mismatch", server, "127.0.0.1", trusting("ca", NULL));
    expect(CRONQ_EAUTH, "ostname mismatch", server, "localhost", trusting("ca", NULL));
    named.server_name = "elsewhere.example";
    expect(CRONQ_OK, NULL, server, "127.0.0.1", &named);
    redis_server_stop(server);
}

static void a_certificate_that_is_over_is_refused(void **state)
{
    redis_server *server =
        redis_server_start_tls(certs, "expired", "tls-auth-clients no\n");

    (void)state;
    expect(CRONQ_EAUTH, "expired", server, "127.0.0.1", trusting("ca", NULL));
    redis_server_stop(server);
}

static void a_self_signed_certificate_is_refused_unless_trusted_or_insecure(void **state)
{
    redis_server *server = redis_server_start_tls(certs, "self", "tls-auth-clients no\n");

    (void)state;
    expect(CRONQ_EAUTH, "self-signed", server, "127.0.0.1", trusting("ca", NULL));
    expect(CRONQ_OK, NULL, server, "127.0.0.1", trusting("self", NULL));
    expect(CRONQ_OK, NULL, server, "127.0.0.1",
           CRONQ_TLS_OPTIONS(.insecure_skip_verify = true));
    redis_server_stop(server);
}

static void an_older_version_than_wanted_is_refused(void **state)
{
    redis_server *server = redis_server_start_tls(
        certs, "server", "tls-auth-clients no\ntls-protocols TLSv1.2\n");
    cronq_tls_options newest = *trusting("ca", NULL);

    (void)state;
    expect(CRONQ_OK, NULL, server, "127.0.0.1", &newest);
    newest.min_version = CRONQ_TLS_1_3;
    expect(CRONQ_EIO, "protocol version", server, "127.0.0.1", &newest);
    redis_server_stop(server);
}

static void plain_and_encrypted_do_not_hang_on_each_other(void **state)
{
    redis_server *plain = redis_server_start_tcp(NULL);
    int64_t began = cq_mono_ms();
    cronq_error err = { .text = "" };

    (void)state;
    expect(CRONQ_EIO, " speak TLS on this port", plain, "127.0.0.1",
           trusting("ca", NULL));
    assert_true(try_ping("redis", "127.0.0.1", strict, NULL, &err));
    assert_true(cq_mono_ms() - began < 6000);
    redis_server_stop(plain);
}

static void files_that_cannot_be_used_are_named(void **state)
{
    const struct {
        cronq_tls_options options;
        const char *text;
    } rows[] = {
        { *CRONQ_TLS_OPTIONS(.ca_file = "/nowhere/ca.pem"),
          "ca_file \"/nowhere/ca.pem\"" },
        { *CRONQ_TLS_OPTIONS(.ca_file = file("server", "key")), "ca_file" },
        { *CRONQ_TLS_OPTIONS(.cert_file = file("client", "pem")), "go together" },
        { *CRONQ_TLS_OPTIONS(.key_file = file("client", "key")), "go together" },
        { *CRONQ_TLS_OPTIONS(.cert_file = file("client", "key"),
                             .key_file = file("client", "key")),
          "cert_file" },
        { *CRONQ_TLS_OPTIONS(.cert_file = file("client", "pem"),
                             .key_file = file("server", "key")),
          "mismatch" },
        { *CRONQ_TLS_OPTIONS(.min_version = (cronq_tls_version)11), "min_version 11" },
        { (cronq_tls_options){ .ca_file = "x" }, "struct_size" },
    };
    cronq_error err = { .text = "" };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(try_ping("rediss", "127.0.0.1", strict, &rows[i].options, &err),
                         CRONQ_EINVAL);
        if (!strstr(err.text, rows[i].text))
            fail_msg("\"%s\" does not say \"%s\"", err.text, rows[i].text);
    }
}

/* 64 MiB there and back: more than a record, a socket and our buffers hold. */
static void large_values_pass_in_both_directions(void **state)
{
    size_t size = (size_t)64 << 20;
    char *value = malloc(size), uri[64];
    cronq_error err = { .text = "" };
    cq_endpoint endpoint;
    cq_conn *conn;
    cq_arena arena;
    cq_reply *reply;

    (void)state;
    assert_non_null(value);
    for (size_t i = 0; i < size; i++)
        value[i] = (char)(i * 31 >> 3);
    snprintf(uri, sizeof uri, "rediss://127.0.0.1:%u", redis_server_port(strict));
    assert_int_equal(
        cq_endpoint_init(&endpoint, uri,
                         CRONQ_STORE_OPTIONS(.tls = trusting("ca", "client")), &err),
        CRONQ_OK);
    assert_int_equal(cq_conn_open(&endpoint, &conn, &err), CRONQ_OK);
    cq_arena_init(&arena, size * 4);
    for (int i = 0; i < 2; i++) {
        cq_conn_command(conn, 2);
        cq_conn_arg_text(conn, "ECHO");
        cq_conn_arg(conn, value, size);
    }
    for (int i = 0; i < 2; i++) {
        if (cq_conn_read(conn, &arena, &reply, &err))
            fail_msg("%s", err.text);
        assert_int_equal(reply->text.len, size);
        assert_memory_equal(reply->text.data, value, size);
    }
    cq_conn_free(conn);
    cq_arena_release(&arena);
    cq_endpoint_release(&endpoint);
    free(value);
}

static void a_server_that_dies_is_a_failure(void **state)
{
    redis_server *server =
        redis_server_start_tls(certs, "server", "tls-auth-clients no\n");
    cronq_error err = { .text = "" };
    cq_endpoint endpoint;
    cq_conn *conn;
    cq_arena arena;
    cq_reply *reply;
    char uri[64];

    (void)state;
    snprintf(uri, sizeof uri, "rediss://127.0.0.1:%u", redis_server_port(server));
    assert_int_equal(cq_endpoint_init(&endpoint, uri,
                                      CRONQ_STORE_OPTIONS(.tls = trusting("ca", NULL)),
                                      &err),
                     CRONQ_OK);
    assert_int_equal(cq_conn_open(&endpoint, &conn, &err), CRONQ_OK);
    cq_arena_init(&arena, 4096);
    redis_server_kill(server);
    assert_int_equal(cq_conn_call(conn, &arena, &reply, &err, 1, "PING"), CRONQ_EIO);
    assert_true(cq_conn_broken(conn));
    cq_conn_free(conn);
    cq_arena_release(&arena);
    cq_endpoint_release(&endpoint);
    redis_server_stop(server);
}

/* A connection needs nothing of the endpoint that it was opened with, however many others
 * come and go. */
static void a_connection_outlives_its_endpoint(void **state)
{
    const cronq_tls_options *tls = trusting("ca", "client");
    cq_endpoint endpoint, other;
    cq_conn *conn;
    char uri[64];
    cq_arena arena;
    cq_reply *reply;

    (void)state;
    snprintf(uri, sizeof uri, "rediss://127.0.0.1:%u", redis_server_port(strict));
    assert_int_equal(
        cq_endpoint_init(&endpoint, uri, CRONQ_STORE_OPTIONS(.tls = tls), NULL),
        CRONQ_OK);
    assert_int_equal(cq_conn_open(&endpoint, &conn, NULL), CRONQ_OK);
    cq_endpoint_release(&endpoint);
    for (int i = 0; i < 300; i++) {
        assert_int_equal(
            cq_endpoint_init(&other, uri, CRONQ_STORE_OPTIONS(.tls = tls), NULL),
            CRONQ_OK);
        cq_endpoint_release(&other);
    }
    expect(CRONQ_OK, NULL, strict, "127.0.0.1", tls);
    cq_arena_init(&arena, 4096);
    assert_int_equal(cq_conn_call(conn, &arena, &reply, NULL, 1, "PING"), CRONQ_OK);
    cq_arena_release(&arena);
    cq_conn_free(conn);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_right_certificates_are_accepted),
        cmocka_unit_test(a_client_without_a_good_certificate_is_told),
        cmocka_unit_test(an_unknown_authority_is_refused),
        cmocka_unit_test(another_hosts_certificate_is_refused),
        cmocka_unit_test(a_certificate_that_is_over_is_refused),
        cmocka_unit_test(a_self_signed_certificate_is_refused_unless_trusted_or_insecure),
        cmocka_unit_test(an_older_version_than_wanted_is_refused),
        cmocka_unit_test(plain_and_encrypted_do_not_hang_on_each_other),
        cmocka_unit_test(files_that_cannot_be_used_are_named),
        cmocka_unit_test(large_values_pass_in_both_directions),
        cmocka_unit_test(a_server_that_dies_is_a_failure),
        cmocka_unit_test(a_connection_outlives_its_endpoint),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
