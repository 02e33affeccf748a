/* SPDX-License-Identifier: MIT */
/* fault_test.c - many threads at once, and stores that are full, gone, silent or locked.
 */
#include "client/client.h"

#include "base/clock.h"
#include "support/redis_server.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { THREADS = 16, PUSHES = 1000 };

typedef struct pusher {
    pthread_t thread;
    cronq_client *client;
    atomic_bool *stop;  /* NULL: PUSHES times */
    atomic_int *pushed; /* by all, so far */
    int number, stored, failed;
    cronq_error err; /* the last failure */
} pusher;

static cronq_client *open_client(const char *uri, const cronq_client_options *options)
{
    cronq_error err = { .text = "" };
    cronq_client *client = NULL;

    if (cronq_client_new(uri, options, &client, &err))
        fail_msg("%s", err.text);
    return client;
}

static bool goes_on(const pusher *self, int i)
{
    return self->stop ? !atomic_load(self->stop) : i < PUSHES;
}

static void *push_all(void *arg)
{
    pusher *self = arg;

    for (int i = 0; goes_on(self, i); i++) {
        char id[32];

        snprintf(id, sizeof id, "%d-%d", self->number, i);
        if (cronq_client_push(self->client, CRONQ_TASK(.type = "t", .id = id), NULL,
                              &self->err))
            self->failed++;
        else
            self->stored++;
        atomic_fetch_add(self->pushed, 1);
    }
    return NULL;
}

static void start_pushers(pusher *pushers, cronq_client *client, atomic_bool *stop,
                          atomic_int *pushed)
{
    for (int i = 0; i < THREADS; i++) {
        pushers[i] =
            (pusher){ .client = client, .stop = stop, .pushed = pushed, .number = i };
        assert_int_equal(pthread_create(&pushers[i].thread, NULL, push_all, &pushers[i]),
                         0);
    }
}

static int join_pushers(pusher *pushers)
{
    int stored = 0;

    for (int i = 0; i < THREADS; i++) {
        pthread_join(pushers[i].thread, NULL);
        if (pushers[i].failed)
            fail_msg("pusher %d: %d failed: %s", i, pushers[i].failed,
                     pushers[i].err.text);
        stored += pushers[i].stored;
    }
    return stored;
}

static long long count_calls(redis_server *server)
{
    redisReply *reply = redis_server_command(server, "INFO commandstats");
    const char *at = strstr(reply->str, "cmdstat_evalsha:calls=");
    long long calls = at ? atoll(at + strlen("cmdstat_evalsha:calls=")) : 0;

    freeReplyObject(reply);
    return calls;
}

static void threads_share_round_trips_and_lose_nothing(void **state)
{
    redis_server *server = redis_server_start(NULL);
    cronq_client *client = open_client(redis_server_uri(server), NULL);
    pusher pushers[THREADS];
    atomic_int pushed = 0;

    (void)state;
    start_pushers(pushers, client, NULL, &pushed);
    assert_int_equal(join_pushers(pushers), THREADS * PUSHES);
    assert_int_equal(redis_server_int(server, "LLEN asynq:{default}:pending"),
                     THREADS * PUSHES);
    assert_true(count_calls(server) < THREADS * PUSHES / 2);
    cronq_client_free(client);
    redis_server_stop(server);
}

static void wait_for(const atomic_int *pushed, int count)
{
    while (atomic_load(pushed) < count)
        cq_sleep_ms(1);
}

/* What was answered is there once, though the answers of some pushes were lost. */
static void a_store_that_is_restarted_is_waited_for(void **state)
{
    redis_server *server = redis_server_start("appendonly yes\nappendfsync always");
    cronq_client *client = open_client(redis_server_uri(server), NULL);
    pusher pushers[THREADS];
    atomic_bool stop = false;
    atomic_int pushed = 0;
    int stored;

    (void)state;
    start_pushers(pushers, client, &stop, &pushed);
    for (int i = 1; i <= 3; i++) {
        wait_for(&pushed, atomic_load(&pushed) + 500);
        redis_server_kill(server);
        cq_sleep_ms(100);
        redis_server_restart(server);
    }
    wait_for(&pushed, atomic_load(&pushed) + 500);
    atomic_store(&stop, true);
    stored = join_pushers(pushers);
    assert_int_equal(redis_server_int(server, "LLEN asynq:{default}:pending"), stored);
    assert_int_equal(redis_server_int(server, "DBSIZE"), stored + 2);
    cronq_client_free(client);
    redis_server_stop(server);
}

static void a_full_store_is_said_to_be_full(void **state)
{
    redis_server *server = redis_server_start(NULL);
    cronq_client *client = open_client(redis_server_uri(server), NULL);
    const cronq_task *tasks[] = { CRONQ_TASK(.type = "t"), CRONQ_TASK(.type = "u") };
    cronq_status statuses[2];
    cronq_error err = { .text = "" };

    (void)state;
    redis_server_do(server, "CONFIG SET maxmemory 1");
    assert_int_equal(cronq_client_push(client, tasks[0], NULL, &err), CRONQ_EFULL);
    assert_non_null(strstr(err.text, "full"));
    assert_int_equal(cronq_client_push_many(client, tasks, 2, statuses, NULL, &err),
                     CRONQ_EFULL);
    assert_int_equal(statuses[1], CRONQ_EFULL);
    redis_server_do(server, "CONFIG SET maxmemory 0");
    assert_int_equal(redis_server_int(server, "EXISTS asynq:{default}:pending"), 0);
    assert_int_equal(cronq_client_push(client, tasks[0], NULL, &err), CRONQ_OK);
    cronq_client_free(client);
    redis_server_stop(server);
}

static void a_wrong_password_is_reported_at_once(void **state)
{
    redis_server *server = redis_server_start("requirepass right");
    cronq_client *client = open_client(
        redis_server_uri(server),
        CRONQ_CLIENT_OPTIONS(.store = CRONQ_STORE_OPTIONS(.password = "wrong")));
    int64_t start_ms = cq_mono_ms();
    cronq_error err = { .text = "" };

    (void)state;
    assert_int_equal(cronq_client_push(client, CRONQ_TASK(.type = "t"), NULL, &err),
                     CRONQ_EAUTH);
    assert_int_equal(err.code, CRONQ_EAUTH);
    assert_null(strstr(err.text, "wrong "));
    assert_int_equal(cronq_client_ping(client, &err), CRONQ_EAUTH);
    assert_true(cq_mono_ms() - start_ms < 2000);
    cronq_client_free(client);
    redis_server_stop(server);
}

static void a_store_that_is_not_there_is_given_up_in_time(void **state)
{
    const cronq_task *tasks[] = { CRONQ_TASK(.type = "t"), CRONQ_TASK(.type = "") };
    cronq_client *client = open_client("redis-socket:///nonexistent/socket",
                                       CRONQ_CLIENT_OPTIONS(.push_timeout_ms = 300));
    cronq_task_info *info = NULL;
    cronq_status statuses[2];
    cronq_error err = { .text = "" };
    int64_t start_ms = cq_mono_ms();

    (void)state;
    assert_int_equal(cronq_client_push(client, tasks[0], &info, &err), CRONQ_EIO);
    assert_in_range(cq_mono_ms() - start_ms, 250, 1500);
    assert_null(info);
    assert_non_null(strstr(err.text, "was not stored"));
    assert_int_equal(cronq_client_push_many(client, tasks, 2, statuses, NULL, &err),
                     CRONQ_EIO);
    assert_int_equal(statuses[0], CRONQ_EIO);
    assert_int_equal(statuses[1], CRONQ_EINVAL);
    assert_int_equal(cronq_client_ping(client, &err), CRONQ_EIO);
    cronq_client_free(client);
}

/* The first attempt after the end of the store meets a connection that looks fine. */
static void what_was_never_sent_was_not_stored(void **state)
{
    redis_server *server = redis_server_start(NULL);
    cronq_client *client = open_client(redis_server_uri(server),
                                       CRONQ_CLIENT_OPTIONS(.push_timeout_ms = 100));
    cronq_error err = { .text = "" };

    (void)state;
    assert_int_equal(cronq_client_push(client, CRONQ_TASK(.type = "t"), NULL, &err),
                     CRONQ_OK);
    redis_server_kill(server);
    for (int i = 0; i < 2; i++)
        assert_int_equal(cronq_client_push(client, CRONQ_TASK(.type = "t"), NULL, &err),
                         CRONQ_EIO);
    assert_non_null(strstr(err.text, "was not stored"));
    cronq_client_free(client);
    redis_server_stop(server);
}

/* The command is in the socket of a server that sleeps: it may yet run. */
static void a_store_that_is_silent_may_have_stored(void **state)
{
    redis_server *server = redis_server_start(NULL);
    cronq_client *client = open_client(
        redis_server_uri(server),
        CRONQ_CLIENT_OPTIONS(.push_timeout_ms = 500,
                             .store = CRONQ_STORE_OPTIONS(.read_timeout_ms = 200)));
    cronq_error err = { .text = "" };

    (void)state;
    assert_int_equal(
        cronq_client_push(client, CRONQ_TASK(.type = "t", .id = "1"), NULL, &err),
        CRONQ_OK);
    redis_server_pause(server);
    assert_int_equal(
        cronq_client_push(client, CRONQ_TASK(.type = "t", .id = "2"), NULL, &err),
        CRONQ_EIO);
    assert_non_null(strstr(err.text, "may or may not have been stored"));
    redis_server_resume(server);
    assert_int_equal(
        cronq_client_push(client, CRONQ_TASK(.type = "t", .id = "3"), NULL, &err),
        CRONQ_OK);
    cronq_client_free(client);
    redis_server_stop(server);
}

static void *push_what_breaks_the_connection(void *arg)
{
    const size_t size = (size_t)3 << 20;
    pusher *self = arg;
    char *payload = calloc(1, size);

    if (!cronq_client_push(self->client,
                           CRONQ_TASK(.type = "t", .payload = { payload, size }), NULL,
                           &self->err))
        self->stored++;
    free(payload);
    return NULL;
}

/* Redis hangs up on an argument beyond its limit, and with it on the whole batch. */
static void one_bad_push_does_not_take_the_others_with_it(void **state)
{
    redis_server *server = redis_server_start("proto-max-bulk-len 1mb");
    cronq_client *client =
        open_client(redis_server_uri(server),
                    CRONQ_CLIENT_OPTIONS(.payload_limit_bytes = (size_t)8 << 20,
                                         .push_timeout_ms = 3000));
    pusher pushers[THREADS], bad = { .client = client };
    atomic_bool stop = false;
    atomic_int pushed = 0;
    int stored;

    (void)state;
    start_pushers(pushers, client, &stop, &pushed);
    wait_for(&pushed, 200);
    assert_int_equal(
        pthread_create(&bad.thread, NULL, push_what_breaks_the_connection, &bad), 0);
    pthread_join(bad.thread, NULL);
    atomic_store(&stop, true);
    assert_int_equal(bad.stored, 0);
    stored = join_pushers(pushers);
    assert_int_equal(redis_server_int(server, "LLEN asynq:{default}:pending"), stored);
    cronq_client_free(client);
    redis_server_stop(server);
}

/* All who wait are told, each in its time, though only one of them leads. */
static void nobody_waits_longer_than_it_may(void **state)
{
    cronq_client *client = open_client("redis-socket:///nonexistent/socket",
                                       CRONQ_CLIENT_OPTIONS(.push_timeout_ms = 200));
    pusher pushers[THREADS];
    atomic_bool stop = false;
    atomic_int pushed = 0;
    int64_t start_ms = cq_mono_ms();

    (void)state;
    start_pushers(pushers, client, &stop, &pushed);
    wait_for(&pushed, THREADS);
    assert_true(cq_mono_ms() - start_ms < 2000);
    atomic_store(&stop, true);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(pushers[i].thread, NULL);
        assert_true(pushers[i].failed >= 1);
        assert_int_equal(pushers[i].err.code, CRONQ_EIO);
    }
    cronq_client_free(client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_share_round_trips_and_lose_nothing),
        cmocka_unit_test(a_store_that_is_restarted_is_waited_for),
        cmocka_unit_test(a_full_store_is_said_to_be_full),
        cmocka_unit_test(a_wrong_password_is_reported_at_once),
        cmocka_unit_test(a_store_that_is_not_there_is_given_up_in_time),
        cmocka_unit_test(what_was_never_sent_was_not_stored),
        cmocka_unit_test(a_store_that_is_silent_may_have_stored),
        cmocka_unit_test(one_bad_push_does_not_take_the_others_with_it),
        cmocka_unit_test(nobody_waits_longer_than_it_may),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
