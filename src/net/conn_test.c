/* SPDX-License-Identifier: MIT */
/* conn_test.c - connections to a real redis-server, and to peers that misbehave. */
#include "net/conn.h"

#include "net/pool.h"
#include "net/script.h"
#include "support/redis_server.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static redis_server *server;

static int start_server(void **state)
{
    (void)state;
    server = redis_server_start_tcp(NULL);
    return 0;
}

static int stop_server(void **state)
{
    (void)state;
    redis_server_stop(server);
    return 0;
}

static cq_conn *open_uri(const char *uri)
{
    cronq_error err = { .text = "" };
    cq_endpoint endpoint;
    cq_conn *conn = NULL;

    if (cq_endpoint_init(&endpoint, uri, NULL, &err) ||
        cq_conn_open(&endpoint, &conn, &err))
        fail_msg("%s: %s", uri, err.text);
    cq_endpoint_release(&endpoint);
    return conn;
}

static void a_command_gets_its_reply(void **state)
{
    cq_conn *conn = open_uri(redis_server_uri(server));
    cronq_error err;
    cq_reply *reply;
    cq_arena arena;

    (void)state;
    cq_arena_init(&arena, 1 << 20);
    assert_int_equal(cq_conn_call(conn, &arena, &reply, &err, 3, "SET", "k", "v"), 0);
    assert_int_equal(reply->type, CQ_REPLY_STATUS);
    assert_int_equal(cq_conn_call(conn, &arena, &reply, &err, 2, "GET", "k"), 0);
    assert_string_equal(reply->text.data, "v");
    assert_true(cq_conn_server_version(conn) >= 60200);
    assert_true(cq_conn_reusable(conn));
    cq_arena_release(&arena);
    cq_conn_free(conn);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_command_gets_its_reply),
    };

    return cmocka_run_group_tests(tests, start_server, stop_server);
}
