/* SPDX-License-Identifier: MIT */
/* peer_test.c - connections to peers that misbehave. */
#include "net/conn.h"

#include "base/clock.h"
#include "support/peer.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <cmocka.h>

static cronq_status try_open(const test_peer *peer, cq_conn **out, cronq_error *err)
{
    cq_endpoint endpoint;
    cronq_status status;

    *out = NULL;
    assert_int_equal(cq_endpoint_init(&endpoint, peer_uri(peer),
                                      CRONQ_STORE_OPTIONS(.read_timeout_ms = 300), err),
                     CRONQ_OK);
    status = cq_conn_open(&endpoint, out, err);
    cq_endpoint_release(&endpoint);
    return status;
}

static cq_conn *must_open(const test_peer *peer)
{
    cronq_error err = { .text = "" };
    cq_conn *conn;

    if (try_open(peer, &conn, &err))
        fail_msg("%s", err.text);
    return conn;
}

/* ---- greetings ---- */

static void greetings_are_understood_or_refused(void **state)
{
    static const struct {
        const char *greeting;
        void (*talk)(int fd);
        cronq_status status;
        const char *names;
        uint32_t version;
    } rows[] = {
        { PEER_GREETING, peer_drain, CRONQ_OK, "", 70000 },
        { "*2\r\n$7\r\nversion\r\n$6\r\n6.2.14\r\n", NULL, CRONQ_OK, "", 60214 },
        { "*2\r\n$7\r\nversion\r\n$9\r\n8.1.0-rc1\r\n", NULL, CRONQ_OK, "", 80100 },
        { "*4\r\n$6\r\nserver\r\n$1\r\nx\r\n$7\r\nversion\r\n$5\r\n6.0.9\r\n", NULL,
          CRONQ_EUNSUPPORTED, "version 6.0.9; 6.2 is the least", 0 },
        { "-ERR unknown command `HELLO`\r\n$21\r\nredis_version:5.0.14\n\r\n", peer_drain,
          CRONQ_EUNSUPPORTED, "version 5.0.14; 6.2", 0 },
        { "-ERR unknown command\r\n$31\r\n# Server\r\nredis_version:7.2.4\r\n\r\n",
          peer_drain, CRONQ_OK, "", 70204 },
        { "-NOPERM hello\r\n-NOPERM info\r\n", peer_drain, CRONQ_OK, "", 60200 },
        { "*0\r\n", NULL, CRONQ_OK, "", 60200 },
        { "*2\r\n$7\r\nversion\r\n:7\r\n", NULL, CRONQ_OK, "", 60200 },
        { "-NOAUTH first\r\n", NULL, CRONQ_EAUTH, "NOAUTH first", 0 },
        { "-DENIED protected\r\n", NULL, CRONQ_EAUTH, "DENIED protected", 0 },
        { "-LOADING wait\r\n", NULL, CRONQ_EIO, "LOADING wait", 0 },
        { "HTTP/1.1 400 Bad Request\r\n", NULL, CRONQ_EPROTO, "not RESP", 0 },
        { "\x15\x03\x01", NULL, CRONQ_EPROTO, "not RESP", 0 }, /* TLS */
        { "*1", NULL, CRONQ_EIO, "closed the connection", 0 },
        { "*1", peer_drain, CRONQ_EIO, "stopped in the middle", 0 },
        { "", peer_drain, CRONQ_EIO, "no reply within 300 ms", 0 },
        { "", NULL, CRONQ_EIO, "closed the connection", 0 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        test_peer *peer = peer_start(rows[i].greeting, rows[i].talk);
        cronq_error err = { .text = "" };
        cq_conn *conn;
        cronq_status status = try_open(peer, &conn, &err);

        if (status != rows[i].status || !strstr(err.text, rows[i].names))
            fail_msg("row %zu: %s: %s", i, cronq_status_name(status), err.text);
        if (status)
            assert_non_null(strstr(err.text, peer_uri(peer) + strlen("unix://")));
        else
            assert_int_equal(cq_conn_server_version(conn), rows[i].version);
        cq_conn_free(conn);
        peer_stop(peer);
    }
}

static void turn_away(int fd)
{
    peer_say(fd, "-ERR max number of clients reached\r\n");
}

static void what_a_peer_said_before_it_hung_up_is_told(void **state)
{
    test_peer *peer = peer_start(NULL, turn_away);
    cronq_error err = { .text = "" };
    cq_conn *conn;

    (void)state;
    assert_int_equal(try_open(peer, &conn, &err), CRONQ_EIO);
    if (!strstr(err.text, "max number of clients reached"))
        fail_msg("%s", err.text);
    peer_stop(peer);
}

/* ---- replies ---- */

static void say_garbage(int fd)
{
    peer_say(fd, "+OK\r\ngarbage\r\n+OK\r\n");
    peer_drain(fd);
}

static void garbage_breaks_the_connection_for_good(void **state)
{
    test_peer *peer = peer_start(PEER_GREETING, say_garbage);
    cq_conn *conn = must_open(peer);
    cronq_error err = { .text = "" }, again = { .text = "" };
    cq_reply *reply;
    cq_arena arena;

    (void)state;
    cq_arena_init(&arena, 1 << 20);
    assert_int_equal(cq_conn_call(conn, &arena, &reply, &err, 1, "PING"), CRONQ_OK);
    assert_int_equal(cq_conn_call(conn, &arena, &reply, &err, 1, "PING"), CRONQ_EPROTO);
    assert_true(cq_conn_broken(conn));
    assert_int_equal(cq_conn_call(conn, &arena, &reply, &again, 1, "PING"), CRONQ_EPROTO);
    assert_string_equal(again.text, err.text);
    cq_arena_release(&arena);
    cq_conn_free(conn);
    peer_stop(peer);
}

static void dribble(int fd)
{
    static const char text[] = "*2\r\n$5\r\nhello\r\n:42\r\n";

    for (const char *p = text; *p; p++) {
        peer_send(fd, p, 1);
        cq_sleep_ms(2);
    }
    peer_drain(fd);
}

static void a_reply_may_come_byte_by_byte(void **state)
{
    test_peer *peer = peer_start(PEER_GREETING, dribble);
    cq_conn *conn = must_open(peer);
    cq_reply *reply;
    cq_arena arena;

    (void)state;
    cq_arena_init(&arena, 1 << 20);
    assert_int_equal(cq_conn_call(conn, &arena, &reply, NULL, 1, "PING"), CRONQ_OK);
    assert_string_equal(reply->elements[0].text.data, "hello");
    assert_int_equal(reply->elements[1].integer, 42);
    cq_arena_release(&arena);
    cq_conn_free(conn);
    peer_stop(peer);
}

static void say_half(int fd)
{
    peer_say(fd, "*2\r\n$5\r\nhel");
    shutdown(fd, SHUT_WR);
    peer_drain(fd);
}

static void say_half_and_wait(int fd)
{
    peer_say(fd, "*2\r\n$5\r\nhel");
    peer_drain(fd);
}

static void expect_broken(void (*talk)(int fd), const char *names)
{
    test_peer *peer = peer_start(PEER_GREETING, talk);
    cq_conn *conn = must_open(peer);
    cronq_error err = { .text = "" };
    cq_reply *reply;
    cq_arena arena;

    cq_arena_init(&arena, 1 << 20);
    assert_int_equal(cq_conn_call(conn, &arena, &reply, &err, 1, "PING"), CRONQ_EIO);
    if (!strstr(err.text, names))
        fail_msg("%s", err.text);
    assert_true(cq_conn_broken(conn));
    assert_false(cq_conn_reusable(conn));
    cq_arena_release(&arena);
    cq_conn_free(conn);
    peer_stop(peer);
}

static void a_reply_that_ends_in_the_middle_is_a_failure(void **state)
{
    (void)state;
    expect_broken(say_half, "closed the connection");
    expect_broken(say_half_and_wait, "stopped in the middle for 300 ms");
}

static void say_unasked(int fd)
{
    peer_say(fd, "+OK\r\n+MORE\r\n");
    peer_drain(fd);
}

static void what_nobody_asked_for_spoils_the_connection(void **state)
{
    test_peer *peer = peer_start(PEER_GREETING, say_unasked);
    cq_conn *conn = must_open(peer);
    cq_reply *reply;
    cq_arena arena;

    (void)state;
    cq_arena_init(&arena, 1 << 20);
    assert_int_equal(cq_conn_call(conn, &arena, &reply, NULL, 1, "PING"), CRONQ_OK);
    assert_false(cq_conn_broken(conn));
    assert_false(cq_conn_reusable(conn));
    cq_arena_release(&arena);
    cq_conn_free(conn);
    peer_stop(peer);
}

/* ---- both sides full ---- */

#define MEGABYTES 8

/* Answers as it reads and reads no more until its answer is taken, as a proxy with small
 * buffers does. */
static void answer_before_reading_on(int fd)
{
    size_t size = 16 << 10, left = MEGABYTES << 20;
    char *bytes = malloc(size);

    assert_non_null(bytes);
    while (left > 0) {
        ssize_t got = recv(fd, bytes, size < left ? size : left, 0);

        if (got <= 0)
            break;
        left -= (size_t)got;
        memset(bytes, ':', (size_t)got);
        for (ssize_t i = 0; i + 4 <= got; i += 4)
            memcpy(bytes + i, ":1\r\n", 4);
        if (!peer_send(fd, bytes, (size_t)got / 4 * 4))
            break;
    }
    free(bytes);
    peer_drain(fd);
}

static void replies_are_taken_while_sending(void **state)
{
    test_peer *peer = peer_start(PEER_GREETING, answer_before_reading_on);
    cq_conn *conn = must_open(peer);
    size_t size = (MEGABYTES << 20) + 4096;
    char *text = calloc(size, 1);
    cronq_error err = { .text = "" };
    cq_reply *reply;
    cq_arena arena;

    (void)state;
    assert_non_null(text);
    cq_arena_init(&arena, 64 << 20);
    cq_conn_command(conn, 1);
    cq_conn_arg(conn, text, size);
    if (cq_conn_flush(conn, &err))
        fail_msg("%s", err.text);
    for (int i = 0; i < 1000000; i++) {
        if (cq_conn_read(conn, &arena, &reply, &err))
            fail_msg("%d: %s", i, err.text);
        assert_int_equal(reply->integer, 1);
    }
    cq_arena_release(&arena);
    cq_conn_free(conn);
    peer_stop(peer);
    free(text);
}

static void sit_still(int fd)
{
    struct pollfd poll_fd = { .fd = fd, .events = 0 };

    poll(&poll_fd, 1, 5000); /* until the client hangs up */
}

static void a_peer_that_takes_nothing_breaks_the_connection(void **state)
{
    test_peer *peer = peer_start(PEER_GREETING, sit_still);
    cq_conn *conn = must_open(peer);
    size_t size = 8 << 20;
    char *text = calloc(size, 1);
    cronq_error err = { .text = "" };

    (void)state;
    assert_non_null(text);
    cq_conn_command(conn, 1);
    cq_conn_arg(conn, text, size);
    assert_int_equal(cq_conn_flush(conn, &err), CRONQ_EIO);
    assert_non_null(strstr(err.text, "took nothing for 300 ms"));
    assert_true(cq_conn_broken(conn));
    cq_conn_free(conn);
    peer_stop(peer);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(greetings_are_understood_or_refused),
        cmocka_unit_test(what_a_peer_said_before_it_hung_up_is_told),
        cmocka_unit_test(garbage_breaks_the_connection_for_good),
        cmocka_unit_test(a_reply_may_come_byte_by_byte),
        cmocka_unit_test(a_reply_that_ends_in_the_middle_is_a_failure),
        cmocka_unit_test(what_nobody_asked_for_spoils_the_connection),
        cmocka_unit_test(replies_are_taken_while_sending),
        cmocka_unit_test(a_peer_that_takes_nothing_breaks_the_connection),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
