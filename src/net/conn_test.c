/* SPDX-License-Identifier: MIT */
/* conn_test.c - connections to a real redis-server. */
#include "net/conn.h"

#include "base/clock.h"
#include "net/conn_bench.h"
#include "support/redis_server.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static redis_server *server;

static int start_server(void **state)
{
    (void)state;
    server = redis_server_start_tcp("databases 4\n");
    return 0;
}

static int stop_server(void **state)
{
    (void)state;
    redis_server_stop(server);
    return 0;
}

static cq_conn *open_server(void)
{
    return conn_bench_open(redis_server_uri(server), NULL);
}

static const char *tcp_uri(void)
{
    static char uri[64];

    snprintf(uri, sizeof uri, "redis://127.0.0.1:%u", redis_server_port(server));
    return uri;
}

static cq_reply *must_read(cq_conn *conn, cq_arena *arena)
{
    cronq_error err = { .text = "" };
    cq_reply *reply = NULL;

    if (cq_conn_read(conn, arena, &reply, &err))
        fail_msg("%s", err.text);
    return reply;
}

static void a_command_gets_its_reply(void **state)
{
    const char *uris[] = { redis_server_uri(server), tcp_uri() };
    cq_arena arena;

    (void)state;
    cq_arena_init(&arena, 1 << 20);
    for (size_t i = 0; i < sizeof uris / sizeof uris[0]; i++) {
        cq_conn *conn = conn_bench_open(uris[i], NULL);
        cq_reply *reply;

        assert_int_equal(cq_conn_call(conn, &arena, &reply, NULL, 3, "SET", "k", "v"),
                         CRONQ_OK);
        assert_int_equal(reply->type, CQ_REPLY_STATUS);
        assert_int_equal(cq_conn_call(conn, &arena, &reply, NULL, 2, "GET", "k"),
                         CRONQ_OK);
        assert_int_equal(reply->type, CQ_REPLY_STRING);
        assert_string_equal(reply->text.data, "v");
        assert_true(cq_conn_server_version(conn) >= 60200);
        assert_true(cq_conn_reusable(conn));
        cq_conn_free(conn);
    }
    cq_arena_release(&arena);
}

static void the_descriptor_is_not_left_to_children(void **state)
{
    cq_conn *conn = open_server();

    (void)state;
    assert_true(fcntl(cq_conn_fd(conn), F_GETFD) & FD_CLOEXEC);
    cq_conn_free(conn);
}

static void every_kind_of_reply_arrives(void **state)
{
    static const char script[] =
        "return {1, 'two', {}, {3, {'four'}}, false, "
        "redis.status_reply('FIVE'), redis.error_reply('-SIX x'), "
        "''}";
    cq_conn *conn = open_server();
    const cq_reply *at;
    cq_reply *reply;
    cq_arena arena;

    (void)state;
    cq_arena_init(&arena, 1 << 20);
    assert_int_equal(cq_conn_call(conn, &arena, &reply, NULL, 3, "EVAL", script, "0"),
                     CRONQ_OK);
    assert_int_equal(reply->type, CQ_REPLY_ARRAY);
    assert_int_equal(reply->count, 8);
    at = reply->elements;
    assert_int_equal(at[0].type, CQ_REPLY_INTEGER);
    assert_int_equal(at[0].integer, 1);
    assert_string_equal(at[1].text.data, "two");
    assert_int_equal(at[2].type, CQ_REPLY_ARRAY);
    assert_int_equal(at[2].count, 0);
    assert_int_equal(at[3].count, 2);
    assert_string_equal(at[3].elements[1].elements[0].text.data, "four");
    assert_int_equal(at[4].type, CQ_REPLY_NIL);
    assert_int_equal(at[5].type, CQ_REPLY_STATUS);
    assert_string_equal(at[5].text.data, "FIVE");
    assert_true(cq_reply_is_error(&at[6], "SIX"));
    assert_int_equal(at[7].type, CQ_REPLY_STRING);
    assert_int_equal(at[7].text.len, 0);
    cq_arena_release(&arena);
    cq_conn_free(conn);
}

static void bytes_of_any_value_pass(void **state)
{
    cq_conn *conn = open_server();
    unsigned char all[256];
    cq_reply *reply;
    cq_arena arena;

    (void)state;
    for (size_t i = 0; i < sizeof all; i++)
        all[i] = (unsigned char)i;
    cq_arena_init(&arena, 1 << 20);
    cq_conn_command(conn, 2);
    cq_conn_arg_text(conn, "ECHO");
    cq_conn_arg(conn, all, sizeof all);
    reply = must_read(conn, &arena);
    assert_int_equal(reply->text.len, sizeof all);
    assert_memory_equal(reply->text.data, all, sizeof all);
    cq_conn_command(conn, 2);
    cq_conn_arg_text(conn, "ECHO");
    cq_conn_arg(conn, NULL, 0);
    assert_int_equal(must_read(conn, &arena)->text.len, 0);
    cq_arena_release(&arena);
    cq_conn_free(conn);
}

static void numbers_are_written_to_their_ends(void **state)
{
    static const int64_t values[] = { 0, -1, 9, 10, INT64_MAX, INT64_MIN };
    cq_conn *conn = open_server();
    cq_arena arena;

    (void)state;
    cq_arena_init(&arena, 1 << 20);
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        cq_conn_command(conn, 2);
        cq_conn_arg_text(conn, "ECHO");
        cq_conn_arg_int(conn, values[i]);
        assert_true(cq_reply_int(must_read(conn, &arena), 7) == values[i]);
    }
    cq_arena_release(&arena);
    cq_conn_free(conn);
}

static void what_is_not_a_number_is_the_fallback(void **state)
{
    static const char *const texts[] = { "",
                                         "-",
                                         "1x",
                                         " 1",
                                         "+1",
                                         "9223372036854775808",
                                         "-9223372036854775809",
                                         "123456789012345678901" };
    const cq_reply nil = { .type = CQ_REPLY_NIL };

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        const cq_reply reply = { .type = CQ_REPLY_STRING, .text = cq_str_of(texts[i]) };

        assert_int_equal(cq_reply_int(&reply, 42), 42);
    }
    assert_int_equal(cq_reply_int(&nil, 42), 42);
}

static void a_pipeline_is_answered_in_order(void **state)
{
    enum { COUNT = 20000 };
    cq_conn *conn = open_server();
    cq_arena arena;

    (void)state;
    cq_arena_init(&arena, 64 << 20);
    for (int64_t i = 0; i < COUNT; i++) {
        cq_conn_command(conn, 2);
        cq_conn_arg_text(conn, "ECHO");
        cq_conn_arg_int(conn, i);
    }
    assert_int_equal(cq_conn_due(conn), COUNT);
    for (int64_t i = 0; i < COUNT; i++)
        assert_int_equal(cq_reply_int(must_read(conn, &arena), -1), i);
    assert_int_equal(cq_conn_due(conn), 0);
    assert_true(cq_conn_reusable(conn));
    cq_arena_release(&arena);
    cq_conn_free(conn);
}

static void a_large_array_is_whole(void **state)
{
    enum { COUNT = 100000 };
    static const char script[] =
        "local t = {} for i = 1, 100000 do t[i] = {i, 'x'} end return t";
    cq_conn *conn = open_server();
    cq_reply *reply;
    cq_arena arena;

    (void)state;
    cq_arena_init(&arena, 64 << 20);
    assert_int_equal(cq_conn_call(conn, &arena, &reply, NULL, 3, "EVAL", script, "0"),
                     CRONQ_OK);
    assert_int_equal(reply->count, COUNT);
    for (int64_t i = 0; i < COUNT; i++) {
        assert_int_equal(reply->elements[i].elements[0].integer, i + 1);
        assert_string_equal(reply->elements[i].elements[1].text.data, "x");
    }
    cq_arena_release(&arena);
    cq_conn_free(conn);
}

static void large_strings_go_both_ways_in_a_pipeline(void **state)
{
    enum { COUNT = 12 };
    const size_t size = 4 << 20;
    char *text = malloc(size);
    cq_conn *conn = open_server();
    cq_arena arena;

    (void)state;
    assert_non_null(text);
    memset(text, 'x', size);
    cq_arena_init(&arena, 256 << 20);
    for (int i = 0; i < COUNT; i++) {
        cq_conn_command(conn, 2);
        cq_conn_arg_text(conn, "ECHO");
        cq_conn_arg(conn, text, size);
    }
    for (int i = 0; i < COUNT; i++) {
        cq_reply *reply = must_read(conn, &arena);

        assert_int_equal(reply->text.len, size);
        assert_memory_equal(reply->text.data, text, size);
    }
    free(text);
    cq_arena_release(&arena);
    cq_conn_free(conn);
}

static void an_error_reply_is_a_reply_and_has_a_status(void **state)
{
    static const struct {
        const char *text;
        cronq_status status;
    } rows[] = {
        { "NOAUTH Authentication required.", CRONQ_EAUTH },
        { "WRONGPASS invalid", CRONQ_EAUTH },
        { "NOPERM this user", CRONQ_EAUTH },
        { "DENIED protected mode", CRONQ_EAUTH },
        { "OOM command not allowed", CRONQ_EFULL },
        { "LOADING Redis is loading", CRONQ_EIO },
        { "BUSY Redis is busy", CRONQ_EIO },
        { "READONLY You can't", CRONQ_EIO },
        { "MASTERDOWN Link", CRONQ_EIO },
        { "CLUSTERDOWN Hash slot", CRONQ_EIO },
        { "TRYAGAIN Multiple", CRONQ_EIO },
        { "NOREPLICAS Not enough", CRONQ_EIO },
        { "MISCONF Redis is", CRONQ_EIO },
        { "ERR max number of clients reached", CRONQ_EIO },
        { "ERR unknown command", CRONQ_EPROTO },
        { "WRONGTYPE Operation", CRONQ_EPROTO },
        { "OOMPH", CRONQ_EPROTO },
        { "", CRONQ_EPROTO },
    };
    cq_conn *conn = open_server();
    cq_reply *reply;
    cq_arena arena;

    (void)state;
    cq_arena_init(&arena, 1 << 20);
    assert_int_equal(cq_conn_call(conn, &arena, &reply, NULL, 1, "NOSUCH"), CRONQ_OK);
    assert_true(cq_reply_is_error(reply, "ERR"));
    assert_false(cq_conn_broken(conn));
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const cq_reply error = { .type = CQ_REPLY_ERROR,
                                 .text = cq_str_of(rows[i].text) };
        cronq_error err;

        assert_int_equal(cq_conn_reply_failure(&error, &err), rows[i].status);
        assert_non_null(strstr(err.text, rows[i].text));
    }
    cq_arena_release(&arena);
    cq_conn_free(conn);
}

static void the_database_is_selected(void **state)
{
    cq_conn *conn;
    cq_reply *reply;
    cq_arena arena;

    (void)state;
    cq_arena_init(&arena, 1 << 20);
    conn = conn_bench_open(tcp_uri(), CRONQ_STORE_OPTIONS(.db = 3));
    assert_int_equal(cq_conn_call(conn, &arena, &reply, NULL, 3, "SET", "in3", "1"),
                     CRONQ_OK);
    cq_conn_free(conn);
    conn = conn_bench_open(tcp_uri(), NULL);
    assert_int_equal(cq_conn_call(conn, &arena, &reply, NULL, 2, "EXISTS", "in3"),
                     CRONQ_OK);
    assert_int_equal(reply->integer, 0);
    cq_conn_free(conn);
    cq_arena_release(&arena);
}

static void commands_that_are_too_large_leave_the_connection_whole(void **state)
{
    const size_t size = (size_t)700 << 20;
    char *text = calloc(size, 1); /* never touched: costs nothing */
    cq_conn *conn = open_server();
    cronq_error err = { .text = "" };
    cq_reply *reply;
    cq_arena arena;

    (void)state;
    assert_non_null(text);
    cq_arena_init(&arena, 1 << 20);
    cq_conn_command(conn, 3);
    cq_conn_arg_text(conn, "SET");
    cq_conn_arg(conn, text, size);
    cq_conn_arg_text(conn, "v");
    cq_conn_command(conn, 1);
    cq_conn_arg_text(conn, "PING");
    assert_int_equal(cq_conn_due(conn), 2);
    assert_int_equal(cq_conn_flush(conn, &err), CRONQ_ETOOBIG);
    assert_non_null(strstr(err.text, "671088640 bytes"));
    assert_int_equal(cq_conn_due(conn), 0);
    assert_int_equal(cq_conn_call(conn, &arena, &reply, &err, 1, "PING"), CRONQ_OK);
    assert_string_equal(reply->text.data, "PONG");
    cq_arena_release(&arena);
    cq_conn_free(conn);
    free(text);
}

static void waiting_for_a_message_ends_without_harm(void **state)
{
    cq_conn *conn = open_server();
    int64_t began_ms = cq_mono_ms();
    cq_reply *reply;
    cq_arena arena;

    (void)state;
    cq_arena_init(&arena, 1 << 20);
    assert_int_equal(cq_conn_call(conn, &arena, &reply, NULL, 2, "SUBSCRIBE", "ch"),
                     CRONQ_OK);
    assert_int_equal(cq_conn_read_within(conn, 0, &arena, &reply, NULL), CRONQ_OK);
    assert_null(reply);
    assert_int_equal(cq_conn_read_within(conn, 30, &arena, &reply, NULL), CRONQ_OK);
    assert_null(reply);
    assert_true(cq_mono_ms() - began_ms >= 30);
    redis_server_do(server, "PUBLISH ch hello");
    assert_int_equal(cq_conn_read_within(conn, -1, &arena, &reply, NULL), CRONQ_OK);
    assert_string_equal(reply->elements[2].text.data, "hello");
    assert_int_equal(cq_conn_due(conn), 0);
    cq_arena_release(&arena);
    cq_conn_free(conn);
}

static void silence_breaks_the_connection_after_the_read_timeout(void **state)
{
    cq_conn *conn = conn_bench_open(redis_server_uri(server),
                                    CRONQ_STORE_OPTIONS(.read_timeout_ms = 60));
    int64_t began_ms;
    cronq_error first = { .text = "" }, second = { .text = "" };
    cq_reply *reply;
    cq_arena arena;

    (void)state;
    cq_arena_init(&arena, 1 << 20);
    redis_server_pause(server);
    began_ms = cq_mono_ms();
    assert_int_equal(cq_conn_call(conn, &arena, &reply, &first, 1, "PING"), CRONQ_EIO);
    assert_true(cq_mono_ms() - began_ms >= 60 && cq_mono_ms() - began_ms < 2000);
    assert_non_null(strstr(first.text, "no reply within 60 ms"));
    redis_server_resume(server);
    assert_true(cq_conn_broken(conn));
    assert_int_equal(cq_conn_call(conn, &arena, &reply, &second, 1, "PING"), CRONQ_EIO);
    assert_string_equal(first.text, second.text);
    cq_arena_release(&arena);
    cq_conn_free(conn);
}

static void a_connection_to_a_demoted_master_is_not_reused(void **state)
{
    cq_conn *conn = open_server();
    cq_reply *reply;
    cq_arena arena;

    (void)state;
    cq_arena_init(&arena, 1 << 20);
    redis_server_do(server, "REPLICAOF 127.0.0.1 1");
    assert_true(cq_conn_reusable(conn));
    assert_int_equal(cq_conn_call(conn, &arena, &reply, NULL, 3, "SET", "k", "v"),
                     CRONQ_OK);
    redis_server_do(server, "REPLICAOF NO ONE");
    assert_true(cq_reply_is_error(reply, "READONLY"));
    assert_false(cq_conn_broken(conn));
    assert_false(cq_conn_reusable(conn));
    cq_arena_release(&arena);
    cq_conn_free(conn);
}

static void a_killed_server_breaks_the_connection(void **state)
{
    redis_server *mortal = redis_server_start(NULL);
    cq_conn *conn = conn_bench_open(redis_server_uri(mortal), NULL);
    cronq_error err = { .text = "" };
    cq_reply *reply;
    cq_arena arena;

    (void)state;
    cq_arena_init(&arena, 1 << 20);
    redis_server_kill(mortal);
    assert_false(cq_conn_reusable(conn));
    assert_int_equal(cq_conn_call(conn, &arena, &reply, &err, 1, "PING"), CRONQ_EIO);
    assert_non_null(strstr(err.text, redis_server_socket(mortal)));
    assert_true(cq_conn_broken(conn));
    cq_arena_release(&arena);
    cq_conn_free(conn);
    redis_server_stop(mortal);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_command_gets_its_reply),
        cmocka_unit_test(the_descriptor_is_not_left_to_children),
        cmocka_unit_test(every_kind_of_reply_arrives),
        cmocka_unit_test(bytes_of_any_value_pass),
        cmocka_unit_test(numbers_are_written_to_their_ends),
        cmocka_unit_test(what_is_not_a_number_is_the_fallback),
        cmocka_unit_test(a_pipeline_is_answered_in_order),
        cmocka_unit_test(a_large_array_is_whole),
        cmocka_unit_test(large_strings_go_both_ways_in_a_pipeline),
        cmocka_unit_test(an_error_reply_is_a_reply_and_has_a_status),
        cmocka_unit_test(the_database_is_selected),
        cmocka_unit_test(commands_that_are_too_large_leave_the_connection_whole),
        cmocka_unit_test(waiting_for_a_message_ends_without_harm),
        cmocka_unit_test(silence_breaks_the_connection_after_the_read_timeout),
        cmocka_unit_test(a_connection_to_a_demoted_master_is_not_reused),
        cmocka_unit_test(a_killed_server_breaks_the_connection),
    };

    return cmocka_run_group_tests(tests, start_server, stop_server);
}
