/* SPDX-License-Identifier: MIT */
/* uri_test.c - URIs and store options, good and bad. */
#include "net/uri.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define CANARY "s3cr3t-canary"

#define NINES_256                                                      \
    "9999999999999999999999999999999999999999999999999999999999999999" \
    "9999999999999999999999999999999999999999999999999999999999999999" \
    "9999999999999999999999999999999999999999999999999999999999999999" \
    "9999999999999999999999999999999999999999999999999999999999999999"

static void expect_text(const char *uri, const char *what, const char *found,
                        const char *expected)
{
    if ((found == NULL) != (expected == NULL) || (found && strcmp(found, expected) != 0))
        fail_msg("%s: %s is \"%s\", expected \"%s\"", uri, what, found ? found : "NULL",
                 expected ? expected : "NULL");
}

static void good_uris_are_taken_apart(void **state)
{
    static const struct {
        const char *uri, *host;
        uint16_t port;
        const char *path, *user, *password;
        int32_t db;
        const char *printed;
    } rows[] = {
        { "redis://h", "h", 6379, NULL, NULL, NULL, 0, "h:6379" },
        { "REDIS://h:1", "h", 1, NULL, NULL, NULL, 0, "h:1" },
        { "redis://h:65535/", "h", 65535, NULL, NULL, NULL, 0, "h:65535" },
        { "redis://h/15", "h", 6379, NULL, NULL, NULL, 15, "h:6379" },
        { "redis://h?db=3", "h", 6379, NULL, NULL, NULL, 3, "h:6379" },
        { "redis://h/1?db=2", "h", 6379, NULL, NULL, NULL, 2, "h:6379" },
        { "redis://h/2147483647", "h", 6379, NULL, NULL, NULL, INT32_MAX, "h:6379" },
        { "127.0.0.1:7000", "127.0.0.1", 7000, NULL, NULL, NULL, 0, "127.0.0.1:7000" },
        { "[::1]:7000", "::1", 7000, NULL, NULL, NULL, 0, "[::1]:7000" },
        { "redis://[::1]", "::1", 6379, NULL, NULL, NULL, 0, "[::1]:6379" },
        { "redis://[fe80::1%25eth0]:1/2", "fe80::1%eth0", 1, NULL, NULL, NULL, 2,
          "[fe80::1%eth0]:1" },
        { "redis://:p@[::1]:6379/9", "::1", 6379, NULL, NULL, "p", 9, "[::1]:6379" },
        { "redis://u:p@h", "h", 6379, NULL, "u", "p", 0, "h:6379" },
        { "redis://u@h", "h", 6379, NULL, "u", NULL, 0, "h:6379" },
        { "redis://:@h", "h", 6379, NULL, NULL, NULL, 0, "h:6379" },
        { "redis://@h", "h", 6379, NULL, NULL, NULL, 0, "h:6379" },
        { "redis://u%3A:p%2Fq%40%25%c3%a4@h", "h", 6379, NULL, "u:", "p/q@%\xc3\xa4", 0,
          "h:6379" },
        { "redis://u:a@b:c@h:1", "h", 1, NULL, "u", "a@b:c", 0, "h:1" },
        { "redis://u:a+b@h", "h", 6379, NULL, "u", "a+b", 0, "h:6379" },
        { "redis-socket:///run/r.sock", NULL, 6379, "/run/r.sock", NULL, NULL, 0,
          "/run/r.sock" },
        { "unix:///run/r.sock?db=4", NULL, 6379, "/run/r.sock", NULL, NULL, 4,
          "/run/r.sock" },
        { "unix://u:p@/run/a%20b%40c", NULL, 6379, "/run/a b@c", "u", "p", 0,
          "/run/a b@c" },
        { "unix:///run/a@b", NULL, 6379, "/run/a@b", NULL, NULL, 0, "/run/a@b" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        cronq_error err = { .text = "" };
        cq_endpoint endpoint;
        char printed[128];

        if (cq_endpoint_init(&endpoint, rows[i].uri, NULL, &err))
            fail_msg("%s: %s", rows[i].uri, err.text);
        cq_endpoint_print(&endpoint, printed, sizeof printed);
        expect_text(rows[i].uri, "host", endpoint.host, rows[i].host);
        expect_text(rows[i].uri, "path", endpoint.socket_path, rows[i].path);
        expect_text(rows[i].uri, "user", endpoint.username, rows[i].user);
        expect_text(rows[i].uri, "password", endpoint.password, rows[i].password);
        expect_text(rows[i].uri, "print", printed, rows[i].printed);
        assert_int_equal(endpoint.port, rows[i].port);
        assert_int_equal(endpoint.db, rows[i].db);
        cq_endpoint_release(&endpoint);
    }
}

static void bad_uris_are_refused_with_the_part_and_the_value(void **state)
{
    static const struct {
        const char *uri;
        cronq_status status;
        const char *names; /* in the text */
    } rows[] = {
        { NULL, CRONQ_EINVAL, "empty" },
        { "", CRONQ_EINVAL, "empty" },
        { "h", CRONQ_EINVAL, "HOST:PORT" },
        { "/run/redis.sock", CRONQ_EINVAL, "unix://" },
        { "u:p@h:1", CRONQ_EINVAL, "HOST:PORT" },
        { "http://h", CRONQ_EINVAL, "\"http\"" },
        { "redi://h", CRONQ_EINVAL, "\"redi\"" },
        { "://h", CRONQ_EINVAL, "scheme" },
        { "redis-sentinel://h", CRONQ_EINVAL, "?master=" },
        { "redis-sentinel://h?master=", CRONQ_EINVAL, "?master=" },
        { "redis-sentinel://h?master=m&master=n", CRONQ_EINVAL, "twice" },
        { "redis-sentinel://h?mister=m", CRONQ_EINVAL, "\"mister\"" },
        { "redis-sentinel://h,?master=m", CRONQ_EINVAL, "host is empty" },
        { "redis-sentinel://h:0?master=m", CRONQ_EINVAL, "port \"0\"" },
        { "redis-sentinels://?master=m", CRONQ_EINVAL, "host is empty" },
        { "redis-cluster://h/1", CRONQ_EINVAL, "no database 1" },
        { "redis-cluster://h?master=m", CRONQ_EINVAL, "\"master\"" },
        { "redis-clusters://h,,i", CRONQ_EINVAL, "host is empty" },
        { "redis://", CRONQ_EINVAL, "host is empty" },
        { "redis://:1", CRONQ_EINVAL, "host is empty" },
        { "redis:///0", CRONQ_EINVAL, "host is empty" },
        { "redis://u:p@", CRONQ_EINVAL, "host is empty" },
        { "redis://[]:1", CRONQ_EINVAL, "host is empty" },
        { ":6379", CRONQ_EINVAL, "host is empty" },
        { "redis://h:", CRONQ_EINVAL, "port" },
        { "redis://h:0", CRONQ_EINVAL, "port \"0\"" },
        { "redis://h:65536", CRONQ_EINVAL, "port \"65536\"" },
        { "redis://h:" NINES_256, CRONQ_EINVAL, "port \"9999" },
        { "redis://h:-1", CRONQ_EINVAL, "port" },
        { "redis://h:12x", CRONQ_EINVAL, "port" },
        { "redis://::1", CRONQ_EINVAL, "[::1]" },
        { "redis://[::1", CRONQ_EINVAL, "[IPV6]" },
        { "redis://[::1]6379", CRONQ_EINVAL, "[IPV6]" },
        { "redis://a b", CRONQ_EINVAL, "byte 2 of the host" },
        { "redis://ab%0a", CRONQ_EINVAL, "byte 3 of the host" },
        { "redis://a\nb:1", CRONQ_EINVAL, "control byte" },
        { "redis://" NINES_256, CRONQ_EINVAL, "256 bytes, at most 255" },
        { "redis://h/x", CRONQ_EINVAL, "database \"x\"" },
        { "redis://h/-1", CRONQ_EINVAL, "database \"-1\"" },
        { "redis://h/1/", CRONQ_EINVAL, "database \"1/\"" },
        { "redis://h/2147483648", CRONQ_EINVAL, "database \"2147483648\"" },
        { "redis://h?db=", CRONQ_EINVAL, "database \"\"" },
        { "redis://h?db", CRONQ_EINVAL, "database \"\"" },
        { "redis://h?DB=1", CRONQ_EINVAL, "\"DB\"" },
        { "redis://h?db=1&x=2", CRONQ_EINVAL, "\"x\"" },
        { "redis://h#x", CRONQ_EINVAL, "'#'" },
        { "redis://u%:p@h", CRONQ_EINVAL, "user" },
        { "redis://u:%zz@h", CRONQ_EINVAL, "password" },
        { "redis://u:%0@h", CRONQ_EINVAL, "password" },
        { "redis://u:%00@h", CRONQ_EINVAL, "password" },
        { "redis://%00", CRONQ_EINVAL, "host" },
        { "unix://", CRONQ_EINVAL, "absolute" },
        { "unix:///", CRONQ_EINVAL, "absolute" },
        { "unix://run/r.sock", CRONQ_EINVAL, "absolute" },
        { "redis-socket://localhost/r.sock", CRONQ_EINVAL, "absolute" },
        { "unix:///%gg", CRONQ_EINVAL, "path" },
        { "unix:///" NINES_256, CRONQ_EINVAL, "257 bytes, at most 107" },
        { "unix:///r?db=x", CRONQ_EINVAL, "database \"x\"" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        cq_endpoint endpoint = { .port = 42 };
        cronq_error err = { .text = "" };
        cronq_status status = cq_endpoint_init(&endpoint, rows[i].uri, NULL, &err);

        if (status != rows[i].status || err.code != status ||
            !strstr(err.text, rows[i].names))
            fail_msg("%s: %s: %s", rows[i].uri, cronq_status_name(status), err.text);
        assert_int_equal(endpoint.port, 42);
    }
}

static void a_password_is_in_no_text(void **state)
{
    static const char *const uris[] = {
        "redis://u:" CANARY "@",
        "redis://u:" CANARY "@:1",
        "redis://u:" CANARY "@h:x",
        "redis://u:" CANARY "@h:99999",
        "redis://u:" CANARY "@h/x",
        "redis://u:" CANARY "@h?y=1",
        "redis://u:" CANARY "%zz@h",
        "redis://u:" CANARY "@[h",
        "redis://u:" CANARY "@a b",
        "redis://u:a/" CANARY "@h",
        "redis://u:" CANARY "/b@h",
        "redis://u:a?" CANARY "@h",
        "redis://u:a?" CANARY "=1@h",
        "redis://u:a@b?" CANARY "@h",
        "redis://u:a@b/" CANARY "@h",
        "redis://u:a@b?db=" CANARY "@h",
        "unix://u:a@/" CANARY "@/r.sock",
        "redis://u:a#" CANARY "@h",
        "redis://u:" CANARY,
        "redis://:" CANARY,
        "redis://u:" CANARY "/0",
        "redis://u:p:" CANARY,
        "u:" CANARY "@h:1",
        "u:" CANARY,
        "rediss://u:" CANARY "@h:x",
        "redis-cluster://u:" CANARY "@h,",
        "redis-cluster://u:" CANARY ",h",
        "redis-sentinel://u:" CANARY "@h,i:1",
        "redis-sentinel://u:" CANARY "@h,i:1?master=%" CANARY,
        "http://u:" CANARY "@h",
        "unix://u:" CANARY "@r.sock",
        "unix://u:a/" CANARY "@/r.sock",
        "unix://u:" CANARY "@/r.sock?x=1",
    };

    (void)state;
    for (size_t i = 0; i < sizeof uris / sizeof uris[0]; i++) {
        cronq_error err = { .text = "" };
        cq_endpoint endpoint;

        if (cq_endpoint_init(&endpoint, uris[i], NULL, &err) == CRONQ_OK)
            fail_msg("%s was taken", uris[i]);
        if (!err.text[0] || strstr(err.text, CANARY))
            fail_msg("%s: %s", uris[i], err.text);
    }
}

static void options_win_over_the_uri(void **state)
{
    const char *uri = "redis://u:p@h/1";
    cq_endpoint endpoint;

    (void)state;
    assert_int_equal(
        cq_endpoint_init(&endpoint, uri,
                         CRONQ_STORE_OPTIONS(.username = "v", .password = "q", .db = 2,
                                             .pool_size = 3),
                         NULL),
        CRONQ_OK);
    assert_string_equal(endpoint.username, "v");
    assert_string_equal(endpoint.password, "q");
    assert_int_equal(endpoint.db, 2);
    assert_int_equal(endpoint.pool_size, 3);
    cq_endpoint_release(&endpoint);
    assert_int_equal(
        cq_endpoint_init(&endpoint, uri, CRONQ_STORE_OPTIONS(.username = ""), NULL),
        CRONQ_OK);
    assert_string_equal(endpoint.username, "u");
    assert_string_equal(endpoint.password, "p");
    assert_int_equal(endpoint.db, 1);
    cq_endpoint_release(&endpoint);
}

static void zero_is_the_default_and_negative_is_never(void **state)
{
    const cronq_store_options *none = CRONQ_STORE_OPTIONS(.db = 0);
    const cronq_store_options *never =
        CRONQ_STORE_OPTIONS(.dial_timeout_ms = CRONQ_NEVER, .read_timeout_ms = -7);
    const cronq_store_options *write =
        CRONQ_STORE_OPTIONS(.read_timeout_ms = 10, .write_timeout_ms = 20,
                            .dial_timeout_ms = 30);
    cq_endpoint e;

    (void)state;
    assert_int_equal(cq_endpoint_init(&e, "redis://h", none, NULL), CRONQ_OK);
    assert_int_equal(e.dial_timeout_ms, 5000);
    assert_int_equal(e.read_timeout_ms, 3000);
    assert_int_equal(e.write_timeout_ms, 3000);
    assert_true(e.pool_size >= 10 && e.pool_size % 10 == 0); /* ten a CPU */
    cq_endpoint_release(&e);
    assert_int_equal(cq_endpoint_init(&e, "redis://h", never, NULL), CRONQ_OK);
    assert_int_equal(e.dial_timeout_ms, -1);
    assert_int_equal(e.read_timeout_ms, -1);
    assert_int_equal(e.write_timeout_ms, -1);
    cq_endpoint_release(&e);
    assert_int_equal(cq_endpoint_init(&e, "redis://h", write, NULL), CRONQ_OK);
    assert_int_equal(e.read_timeout_ms, 10);
    assert_int_equal(e.write_timeout_ms, 20);
    assert_int_equal(e.dial_timeout_ms, 30);
    cq_endpoint_release(&e);
}

static void expect_refused_options(const cronq_store_options *options,
                                   cronq_status expected, const char *names)
{
    cronq_error err = { .text = "" };
    cq_endpoint endpoint;

    assert_int_equal(cq_endpoint_init(&endpoint, "redis://u:" CANARY "@h", options, &err),
                     expected);
    if (!strstr(err.text, names) || strstr(err.text, CANARY))
        fail_msg("\"%s\" does not name \"%s\"", err.text, names);
}

static void bad_options_are_refused_with_field_and_limit(void **state)
{
    struct {
        cronq_store_options known;
        int64_t newer;
    } grown = { .known = { .struct_size = sizeof grown }, .newer = 1 };
    char *long_text = malloc(9001);

    (void)state;
    assert_non_null(long_text);
    memset(long_text, 'x', 9000);
    long_text[9000] = '\0';
    expect_refused_options(CRONQ_STORE_OPTIONS(.db = -1), CRONQ_EINVAL, "db -1");
    expect_refused_options(CRONQ_STORE_OPTIONS(.pool_size = 10001), CRONQ_EINVAL,
                           "pool_size 10001 is above 10000");
    expect_refused_options(CRONQ_STORE_OPTIONS(.password = long_text), CRONQ_EINVAL,
                           "password has more than 8192 bytes");
    expect_refused_options(&(cronq_store_options){ .db = 1 }, CRONQ_EINVAL,
                           "struct_size");
    expect_refused_options(&grown.known, CRONQ_ESIZE, "not known");
    free(long_text);
}

static void a_uri_of_endless_length_is_refused(void **state)
{
    char *uri = malloc(20001);
    cronq_error err = { .text = "" };
    cq_endpoint endpoint;

    (void)state;
    assert_non_null(uri);
    memset(uri, 'a', 20000);
    memcpy(uri, "redis://", 8);
    uri[20000] = '\0';
    assert_int_equal(cq_endpoint_init(&endpoint, uri, NULL, &err), CRONQ_EINVAL);
    assert_non_null(strstr(err.text, "8192"));
    free(uri);
}

static void a_copy_is_whole_and_its_own(void **state)
{
    cq_endpoint endpoint, copy;

    (void)state;
    assert_int_equal(cq_endpoint_init(&endpoint, "redis://u:p@h:1/2", NULL, NULL), 0);
    assert_int_equal(cq_endpoint_copy(&copy, &endpoint, NULL), 0);
    cq_endpoint_release(&endpoint);
    assert_string_equal(copy.host, "h");
    assert_string_equal(copy.username, "u");
    assert_string_equal(copy.password, "p");
    assert_int_equal(copy.port, 1);
    assert_int_equal(copy.db, 2);
    assert_int_equal(copy.read_timeout_ms, 3000);
    cq_endpoint_release(&copy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_uris_are_taken_apart),
        cmocka_unit_test(bad_uris_are_refused_with_the_part_and_the_value),
        cmocka_unit_test(a_password_is_in_no_text),
        cmocka_unit_test(options_win_over_the_uri),
        cmocka_unit_test(zero_is_the_default_and_negative_is_never),
        cmocka_unit_test(bad_options_are_refused_with_field_and_limit),
        cmocka_unit_test(a_uri_of_endless_length_is_refused),
        cmocka_unit_test(a_copy_is_whole_and_its_own),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
