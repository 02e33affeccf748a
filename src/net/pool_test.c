/* SPDX-License-Identifier: MIT */
/* pool_test.c - a pool of connections, and scripts, on a real redis-server. */
#include "net/pool.h"

#include "base/clock.h"
#include "base/error.h"
#include "net/script.h"
#include "support/redis_server.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>

#include <cmocka.h>

static redis_server *server;

static int start_server(void **state)
{
    (void)state;
    server = redis_server_start("user guest on >s3cr3t-canary ~* +@all\n");
    return 0;
}

static int stop_server(void **state)
{
    (void)state;
    redis_server_stop(server);
    return 0;
}

/* ---- a log that is counted ---- */

static atomic_int warn_count, info_count;
static char last_line[512];

static void count_line(void *arg, const cronq_log_record *record)
{
    (void)arg;
    snprintf(last_line, sizeof last_line, "%s", record->text);
    atomic_fetch_add(record->level == CRONQ_LOG_WARN ? &warn_count : &info_count, 1);
}

static const cronq_logger counting = { .write = count_line };

static void forget_lines(void)
{
    atomic_store(&warn_count, 0);
    atomic_store(&info_count, 0);
}

/* ---- opening ---- */

static cq_pool *new_pool(const cronq_store_options *options, cq_prepare_fn *prepare,
                         void *arg)
{
    cronq_error err = { .text = "" };
    cq_endpoint endpoint;
    cq_pool *pool = NULL;

    if (cq_endpoint_init(&endpoint, redis_server_uri(server), options, &err) ||
        cq_pool_new(&endpoint, &counting, prepare, arg, &pool, &err))
        fail_msg("%s", err.text);
    cq_endpoint_release(&endpoint);
    return pool;
}

static cq_pool *new_pool_of(uint32_t size)
{
    return new_pool(CRONQ_STORE_OPTIONS(.pool_size = size, .read_timeout_ms = 300), NULL,
                    NULL);
}

static cq_conn *must_take(cq_pool *pool)
{
    cronq_error err = { .text = "" };
    cq_conn *conn = NULL;

    if (cq_pool_take(pool, &conn, &err))
        fail_msg("%s", err.text);
    return conn;
}

static cronq_status ping(cq_conn *conn)
{
    cronq_status status;
    cq_reply *reply;
    cq_arena arena;

    cq_arena_init(&arena, 1 << 16);
    status = cq_conn_call(conn, &arena, &reply, NULL, 1, "PING");
    cq_arena_release(&arena);
    return status;
}

/* Take until it works again, at most for 10 s. */
static cq_conn *take_when_back(cq_pool *pool)
{
    int64_t until_ms = cq_mono_ms() + 10000;
    cq_conn *conn = NULL;

    while (cq_pool_take(pool, &conn, NULL)) {
        assert_true(cq_mono_ms() < until_ms);
        cq_sleep_ms(5);
    }
    return conn;
}

/* ---- taking and giving ---- */

static void what_was_given_back_is_taken_again(void **state)
{
    cq_pool *pool = new_pool_of(3);
    cq_conn *a = must_take(pool), *b = must_take(pool);

    (void)state;
    assert_ptr_not_equal(a, b);
    cq_pool_give(pool, a);
    assert_ptr_equal(must_take(pool), a);
    cq_pool_give(pool, b);
    cq_pool_give(pool, a);
    cq_pool_free(pool);
}

static long long connections(void)
{
    redisReply *reply = redis_server_command(server, "CLIENT LIST");
    long long count = 0;

    for (const char *p = reply->str; *p; p++)
        count += *p == '\n';
    freeReplyObject(reply);
    return count;
}

static void a_pool_opens_nothing_before_it_is_asked(void **state)
{
    long long before = connections();
    cq_pool *pool = new_pool_of(5);
    cq_conn *conn;

    (void)state;
    assert_int_equal(connections(), before);
    conn = must_take(pool);
    assert_int_equal(connections(), before + 1);
    cq_pool_give(pool, conn);
    cq_pool_free(pool);
}

static void an_empty_pool_is_waited_for_until_the_read_timeout(void **state)
{
    cq_pool *pool =
        new_pool(CRONQ_STORE_OPTIONS(.pool_size = 1, .read_timeout_ms = 50), NULL, NULL);
    cq_conn *conn = must_take(pool), *none = NULL;
    int64_t began_ms = cq_mono_ms();
    cronq_error err = { .text = "" };

    (void)state;
    assert_int_equal(cq_pool_take(pool, &none, &err), CRONQ_EIO);
    assert_true(cq_mono_ms() - began_ms >= 50);
    assert_non_null(strstr(err.text, "none of the 1 connections became free within 50"));
    assert_null(none);
    cq_pool_give(pool, conn);
    cq_pool_free(pool);
}

typedef struct late_giver {
    cq_pool *pool;
    cq_conn *conn;
} late_giver;

static void *give_late(void *arg)
{
    late_giver *giver = arg;

    cq_sleep_ms(50);
    cq_pool_give(giver->pool, giver->conn);
    return NULL;
}

static void who_waits_gets_what_is_given_back(void **state)
{
    cq_pool *pool = new_pool(
        CRONQ_STORE_OPTIONS(.pool_size = 1, .read_timeout_ms = CRONQ_NEVER), NULL, NULL);
    late_giver giver = { pool, must_take(pool) };
    pthread_t thread;

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, give_late, &giver), 0);
    assert_ptr_equal(must_take(pool), giver.conn);
    pthread_join(thread, NULL);
    cq_pool_give(pool, giver.conn);
    cq_pool_free(pool);
}

static void one_with_replies_to_come_is_not_reused(void **state)
{
    cq_pool *pool = new_pool_of(1);
    cq_conn *conn = must_take(pool);

    (void)state;
    cq_conn_command(conn, 1);
    cq_conn_arg_text(conn, "PING");
    assert_int_equal(cq_conn_flush(conn, NULL), CRONQ_OK);
    cq_pool_give(pool, conn);
    conn = must_take(pool);
    assert_int_equal(cq_conn_due(conn), 0);
    assert_int_equal(ping(conn), CRONQ_OK);
    cq_pool_give(pool, conn);
    cq_pool_free(pool);
}

static void a_dialled_connection_is_beyond_the_size(void **state)
{
    cq_pool *pool = new_pool_of(1);
    cq_conn *taken = must_take(pool), *own = NULL;

    (void)state;
    assert_int_equal(cq_pool_dial(pool, &own, NULL), CRONQ_OK);
    assert_int_equal(ping(own), CRONQ_OK);
    cq_conn_free(own);
    cq_pool_give(pool, taken);
    cq_pool_free(pool);
}

static void idle_ones_that_the_server_closed_are_replaced(void **state)
{
    cq_pool *pool = new_pool_of(3);
    cq_conn *conns[3];

    (void)state;
    for (int i = 0; i < 3; i++)
        conns[i] = must_take(pool);
    for (int i = 0; i < 3; i++)
        cq_pool_give(pool, conns[i]);
    redis_server_do(server, "CLIENT KILL TYPE normal SKIPME yes");
    for (int i = 0; i < 3; i++) {
        conns[i] = must_take(pool);
        assert_int_equal(ping(conns[i]), CRONQ_OK);
    }
    for (int i = 0; i < 3; i++)
        cq_pool_give(pool, conns[i]);
    cq_pool_free(pool);
}

/* ---- preparing ---- */

static cronq_status prepare(cq_conn *conn, void *arg, cronq_error *err)
{
    int *left = arg;

    if ((*left)-- == 0)
        return cq_fail(err, CRONQ_EPROTO, "not prepared");
    return ping(conn);
}

static void each_new_connection_is_prepared_once(void **state)
{
    int left = 2;
    cq_pool *pool = new_pool(CRONQ_STORE_OPTIONS(.pool_size = 2), prepare, &left);
    cq_conn *a = must_take(pool), *own = NULL;
    cronq_error err = { .text = "" };

    (void)state;
    assert_int_equal(left, 1);
    cq_pool_give(pool, a);
    a = must_take(pool);
    assert_int_equal(left, 1);
    assert_int_equal(cq_pool_dial(pool, &own, NULL), CRONQ_OK);
    assert_int_equal(left, 0);
    cq_conn_free(own);
    assert_int_equal(cq_pool_dial(pool, &own, &err), CRONQ_EPROTO);
    assert_string_equal(err.text, "not prepared");
    cq_pool_give(pool, a);
    cq_pool_free(pool);
}

/* ---- a server that goes and comes back ---- */

static void a_pool_heals_when_the_server_is_back_and_says_so_once(void **state)
{
    cq_pool *pool = new_pool_of(2);
    cq_conn *busy = must_take(pool), *conn = NULL;
    cronq_error err = { .text = "" };

    (void)state;
    cq_pool_give(pool, must_take(pool));
    forget_lines();
    redis_server_kill(server);
    assert_int_equal(ping(busy), CRONQ_EIO);
    cq_pool_give(pool, busy);
    for (int i = 0; i < 50; i++) {
        assert_int_equal(cq_pool_take(pool, &conn, &err), CRONQ_EIO);
        assert_non_null(strstr(err.text, redis_server_socket(server)));
        cq_sleep_ms(2);
    }
    assert_int_equal(atomic_load(&warn_count), 1);
    assert_int_equal(atomic_load(&info_count), 0);
    redis_server_restart(server);
    conn = take_when_back(pool);
    assert_int_equal(ping(conn), CRONQ_OK);
    assert_int_equal(atomic_load(&warn_count), 1);
    assert_int_equal(atomic_load(&info_count), 1);
    assert_non_null(strstr(last_line, redis_server_socket(server)));
    cq_pool_give(pool, conn);
    cq_pool_free(pool);
}

static void after_a_failed_dial_takers_fail_at_once_for_a_while(void **state)
{
    cq_pool *pool = new_pool_of(2);
    cq_conn *conn = NULL;
    int64_t began_ms;

    (void)state;
    redis_server_kill(server);
    /* Grow the delay beyond doubt. */
    for (int64_t until_ms = cq_mono_ms() + 700; cq_mono_ms() < until_ms;)
        assert_int_equal(cq_pool_take(pool, &conn, NULL), CRONQ_EIO);
    redis_server_restart(server);
    began_ms = cq_mono_ms();
    conn = take_when_back(pool);
    assert_true(cq_mono_ms() - began_ms < 5500);
    cq_pool_give(pool, conn);
    /* Once back, the delay starts small again. */
    redis_server_kill(server);
    assert_int_equal(cq_pool_take(pool, &conn, NULL), CRONQ_EIO);
    redis_server_restart(server);
    began_ms = cq_mono_ms();
    cq_pool_give(pool, take_when_back(pool));
    assert_true(cq_mono_ms() - began_ms < 1000);
    cq_pool_free(pool);
}

static void a_wrong_password_is_told_and_not_shown(void **state)
{
    cq_pool *pool = new_pool(
        CRONQ_STORE_OPTIONS(.username = "guest", .password = "s3cr3t-canary-not"), NULL,
        NULL);
    cronq_error err = { .text = "" };
    cq_conn *conn = NULL;

    (void)state;
    forget_lines();
    for (int i = 0; i < 5; i++)
        assert_int_equal(cq_pool_take(pool, &conn, &err), CRONQ_EAUTH);
    assert_non_null(strstr(err.text, "WRONGPASS"));
    assert_null(strstr(err.text, "canary"));
    assert_int_equal(atomic_load(&warn_count), 1);
    assert_null(strstr(last_line, "canary"));
    cq_pool_free(pool);
}

enum { THREADS = 8, PINGS = 400 };

static void *take_and_give(void *arg)
{
    cq_pool *pool = arg;

    for (int done = 0; done < PINGS;) {
        cq_conn *conn;

        if (cq_pool_take(pool, &conn, NULL)) {
            cq_sleep_ms(1);
            continue;
        }
        done += ping(conn) == CRONQ_OK;
        cq_pool_give(pool, conn);
    }
    return NULL;
}

static void many_threads_share_few_connections_through_restarts(void **state)
{
    cq_pool *pool = new_pool_of(3);
    pthread_t threads[THREADS];

    (void)state;
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_and_give, pool), 0);
    for (int i = 0; i < 3; i++) {
        cq_sleep_ms(10);
        redis_server_restart(server);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    cq_pool_free(pool);
}

/* ---- scripts ---- */

static void a_digest_is_the_servers(void **state)
{
    static const char body[] = "return {KEYS[1], ARGV[1]}";
    redisReply *reply;
    cq_script script;

    (void)state;
    cq_script_init(&script, "pair", body, sizeof body - 1);
    reply = redis_server_command(server, "SCRIPT LOAD %s", body);
    assert_string_equal(script.digest, reply->str);
    freeReplyObject(reply);
}

static const cq_reply *call_pair(cq_conn *conn, const cq_script *script, cq_arena *arena)
{
    cq_reply *reply = NULL;

    cq_script_call(conn, script, 1, 1);
    cq_conn_arg_text(conn, "key");
    cq_conn_arg_int(conn, 7);
    assert_int_equal(cq_conn_read(conn, arena, &reply, NULL), CRONQ_OK);
    return reply;
}

static void a_forgotten_script_is_loaded_and_called_again(void **state)
{
    static const char body[] = "return {KEYS[1], ARGV[1]} -- forgotten";
    cq_pool *pool = new_pool_of(1);
    cq_conn *conn = must_take(pool);
    const cq_reply *reply;
    cq_script script;
    cq_arena arena;

    (void)state;
    cq_arena_init(&arena, 1 << 20);
    cq_script_init(&script, "pair", body, sizeof body - 1);
    for (int i = 0; i < 2; i++) {
        redis_server_do(server, "SCRIPT FLUSH");
        assert_true(cq_reply_is_error(call_pair(conn, &script, &arena), "NOSCRIPT"));
        assert_int_equal(cq_script_load(conn, &script, &arena, NULL), CRONQ_OK);
        reply = call_pair(conn, &script, &arena);
        assert_string_equal(reply->elements[0].text.data, "key");
        assert_string_equal(reply->elements[1].text.data, "7");
    }
    cq_pool_give(pool, conn);
    cq_pool_free(pool);
    cq_arena_release(&arena);
}

static void a_script_without_digest_is_sent_whole(void **state)
{
    static const char body[] = "return {KEYS[1], ARGV[1]} -- whole";
    cq_pool *pool = new_pool_of(1);
    cq_conn *conn = must_take(pool);
    const cq_reply *reply;
    cq_script script;
    cq_arena arena;

    (void)state;
    cq_arena_init(&arena, 1 << 20);
    cq_script_init(&script, "pair", body, sizeof body - 1);
    script.digest[0] = '\0';
    reply = call_pair(conn, &script, &arena);
    assert_string_equal(reply->elements[1].text.data, "7");
    cq_pool_give(pool, conn);
    cq_pool_free(pool);
    cq_arena_release(&arena);
}

static void a_script_that_does_not_compile_is_refused(void **state)
{
    cq_pool *pool = new_pool_of(1);
    cq_conn *conn = must_take(pool);
    cronq_error err = { .text = "" };
    cq_script script;
    cq_arena arena;

    (void)state;
    cq_arena_init(&arena, 1 << 20);
    cq_script_init(&script, "broken", "return (", 8);
    assert_int_equal(cq_script_load(conn, &script, &arena, &err), CRONQ_EPROTO);
    assert_non_null(strstr(err.text, "compiling"));
    assert_int_equal(ping(conn), CRONQ_OK);
    cq_pool_give(pool, conn);
    cq_pool_free(pool);
    cq_arena_release(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_given_back_is_taken_again),
        cmocka_unit_test(a_pool_opens_nothing_before_it_is_asked),
        cmocka_unit_test(an_empty_pool_is_waited_for_until_the_read_timeout),
        cmocka_unit_test(who_waits_gets_what_is_given_back),
        cmocka_unit_test(one_with_replies_to_come_is_not_reused),
        cmocka_unit_test(a_dialled_connection_is_beyond_the_size),
        cmocka_unit_test(idle_ones_that_the_server_closed_are_replaced),
        cmocka_unit_test(each_new_connection_is_prepared_once),
        cmocka_unit_test(a_pool_heals_when_the_server_is_back_and_says_so_once),
        cmocka_unit_test(after_a_failed_dial_takers_fail_at_once_for_a_while),
        cmocka_unit_test(a_wrong_password_is_told_and_not_shown),
        cmocka_unit_test(many_threads_share_few_connections_through_restarts),
        cmocka_unit_test(a_digest_is_the_servers),
        cmocka_unit_test(a_forgotten_script_is_loaded_and_called_again),
        cmocka_unit_test(a_script_without_digest_is_sent_whole),
        cmocka_unit_test(a_script_that_does_not_compile_is_refused),
    };

    return cmocka_run_group_tests(tests, start_server, stop_server);
}
