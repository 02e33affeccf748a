/* SPDX-License-Identifier: MIT */
/* broker/redis/watch_test.c - listening and waiting: lost connections, refusals,
 * idleness, and the clock by which tasks are due. */
#include "broker/redis/test_bench.h"

#include "base/clock.h"
#include "base/thread.h"
#include "support/patience.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct listener {
    redis_bench *b;
    _Atomic bool stop;
    pthread_t thread;
    char cancelled[64];
    _Atomic int cancels;
} listener;

static void note_cancel(cq_str id, void *arg)
{
    listener *l = arg;

    snprintf(l->cancelled, sizeof l->cancelled, "%.*s", CQ_FMT(id));
    l->cancels++;
}

static void *listen_on(void *arg)
{
    listener *l = arg;

    while (!l->stop)
        if (l->b->intake->ops->listen(l->b->intake, 10, note_cancel, l, NULL))
            cq_sleep_ms(10);
    return NULL;
}

static void listener_start(listener *l, redis_bench *b)
{
    *l = (listener){ .b = b };
    assert_int_equal(cq_thread_start(&l->thread, "listener", listen_on, l, NULL),
                     CRONQ_OK);
}

static void listener_stop(listener *l)
{
    l->stop = true;
    pthread_join(l->thread, NULL);
}

static cq_wait wait_ms(redis_bench *b, int64_t ms)
{
    cq_wait wait = { .until_mono_ns = cq_mono_ns() + ms * CQ_NS_PER_MS };

    assert_int_equal(b->intake->ops->wait(b->intake, &wait, NULL), CRONQ_OK);
    return wait;
}

static void push_raw(redis_bench *b, const char *id)
{
    redis_server_do(b->server, "HSET asynq:{q}:t:%s msg m state pending", id);
    redis_server_do(b->server, "LPUSH asynq:{q}:pending %s", id);
}

static void cancellations_are_heard(void **state)
{
    redis_bench *b = *state;
    listener l;

    listener_start(&l, b);
    while (redis_server_int(b->server, "PUBLISH asynq:cancel task-1") == 0)
        cq_sleep_ms(1);
    for (int i = 0; i < 500 && !l.cancels; i++)
        cq_sleep_ms(10);
    listener_stop(&l);
    assert_int_equal(l.cancels, 1);
    assert_string_equal(l.cancelled, "task-1");
}

static void an_idle_worker_sends_nothing(void **state)
{
    long long before, after;
    redisReply *reply;
    redis_bench *b = *state;
    listener l;

    listener_start(&l, b);
    wait_ms(b, 200);
    for (int i = 0; i < 2; i++) {
        reply = redis_server_command(b->server, "INFO stats");
        after = atoll(strstr(reply->str, "total_commands_processed:") +
                      strlen("total_commands_processed:"));
        freeReplyObject(reply);
        if (i == 0) {
            before = after;
            wait_ms(b, 1000);
        }
    }
    listener_stop(&l);
    assert_int_equal(after - before, 1); /* our INFO */
}

static void a_lost_listener_is_replaced(void **state)
{
    int64_t began;
    redis_bench *b = *state;
    listener l;

    listener_start(&l, b);
    wait_ms(b, 200);
    redis_server_do(b->server, "CLIENT KILL TYPE pubsub");
    wait_ms(b, 300);
    push_raw(b, "a");
    began = cq_mono_ns();
    assert_true(wait_ms(b, 2000).work);
    assert_in_range((cq_mono_ns() - began) / CQ_NS_PER_MS, 0, 90 * PATIENCE);
    listener_stop(&l);
}

static void a_lost_watcher_is_replaced(void **state)
{
    redis_bench *b = *state;
    listener l;

    listener_start(&l, b);
    wait_ms(b, 200);
    redis_server_do(b->server, "CLIENT KILL TYPE normal SKIPME yes");
    push_raw(b, "a");
    assert_true(wait_ms(b, 2000).work);
    listener_stop(&l);
}

/* It looks every 100 ms, and says so once. */
static void a_store_that_does_not_tell_is_looked_at(void **state)
{
    redis_bench *b = *state;
    char uri[128];
    listener l;

    redis_bench_close_broker(b);
    redis_server_do(b->server,
                    "ACL SETUSER w on >pw ~* &asynq:cancel +@all -client|tracking");
    snprintf(uri, sizeof uri, "redis-socket://w:pw@%s", redis_server_socket(b->server));
    redis_bench_open_with(b, uri);
    b->warnings = 0;
    listener_start(&l, b);
    wait_ms(b, 300);
    push_raw(b, "a");
    assert_true(wait_ms(b, 2000).work);
    conformance_take(&b->x, b->intake, 2, 1);
    wait_ms(b, 300);
    push_raw(b, "b");
    assert_true(wait_ms(b, 2000).work);
    listener_stop(&l);
    assert_int_equal(b->warnings, 1);
}

/* What can not be served must not make a busy loop. */
static void work_that_can_not_be_taken_is_not_told_over_and_over(void **state)
{
    int64_t until = cq_mono_ns() + 500 * CQ_NS_PER_MS;
    int told = 0;
    redis_bench *b = *state;
    listener l;

    listener_start(&l, b);
    redis_server_do(b->server, "SET asynq:{q}:active x");
    redis_server_do(b->server, "SET asynq:{r}:pending x");
    redis_server_do(b->server, "ZADD asynq:{r}:scheduled 1 x");
    push_raw(b, "a");
    while (cq_mono_ns() < until) {
        cq_wait wait = wait_ms(b, (until - cq_mono_ns()) / CQ_NS_PER_MS + 1);

        told += wait.work || wait.due;
        b->x.exchange.forward = wait.due;
        assert_int_equal(conformance_take(&b->x, b->intake, 2, 1), 0);
    }
    listener_stop(&l);
    assert_in_range(told, 1, 20);
}

static void the_clock_is_the_stores(void **state)
{
    redis_bench *b = *state;
    redisReply *reply;
    int64_t off_ns;

    assert_int_equal(b->broker->ops->sync_clock(b->broker, NULL), CRONQ_OK);
    reply = redis_server_command(b->server, "TIME");
    off_ns =
        b->broker->ops->now_ns(b->broker) - (atoll(reply->element[0]->str) * CQ_NS_PER_S +
                                             atoll(reply->element[1]->str) * 1000);
    freeReplyObject(reply);
    assert_in_range(off_ns + 50 * CQ_NS_PER_MS, 0, 150 * CQ_NS_PER_MS);
    assert_int_equal(b->broker->ops->ping(b->broker, NULL), CRONQ_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        REDIS_CASE(cancellations_are_heard),
        REDIS_CASE(an_idle_worker_sends_nothing),
        REDIS_CASE(a_lost_listener_is_replaced),
        REDIS_CASE(a_lost_watcher_is_replaced),
        REDIS_CASE(a_store_that_does_not_tell_is_looked_at),
        REDIS_CASE(work_that_can_not_be_taken_is_not_told_over_and_over),
        REDIS_CASE(the_clock_is_the_stores),
    };

    return REDIS_RUN(tests);
}
