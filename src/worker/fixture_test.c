/* SPDX-License-Identifier: MIT */
/* fixture_test.c - what the worker's tests share. */
#include "worker/fixture.h"

#include "base/clock.h"
#include "support/redis_server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define MESSAGE_BYTES 65536
#define PUSH_BATCH    500

static void log_line(void *arg, const cronq_log_record *record)
{
    fixture *f = arg;
    int len;

    if (getenv("FIXTURE_VERBOSE"))
        fprintf(stderr, "%lld %d %s [%s] %s\n", (long long)record->at_ms, record->level,
                record->caller ? record->caller : "",
                record->task_id ? record->task_id : "", record->text);
    pthread_mutex_lock(&f->mutex);
    len = snprintf(f->log + f->log_len, sizeof f->log - f->log_len, "%s\n", record->text);
    if (len > 0 && (size_t)len < sizeof f->log - f->log_len)
        f->log_len += (size_t)len;
    pthread_mutex_unlock(&f->mutex);
}

static void set_options(fixture *f)
{
    f->queues[0] = (cronq_queue){ "q", 1 };
    f->options = (cronq_server_options){
        .struct_size = sizeof f->options,
        .logger = { log_line, f, CRONQ_LOG_INFO },
        .queues = f->queues,
        .queue_count = 1,
        .concurrency = 4,
        .retry_base_ms = 1000,
        .retry_cap_ms = 24 * 3600 * 1000,
        .shutdown_timeout_ms = 3000,
        .task_check_interval_ms = 200,
        .delayed_check_interval_ms = 500,
        .health_check_interval_ms = 300,
        .janitor_interval_ms = 300,
        .janitor_batch_count = 100,
        .lease_ms = 2000,
        .heartbeat_ms = 300,
        .recover_interval_ms = 300,
    };
}

void fixture_init(fixture *f, const char *redis_config)
{
    memset(f, 0, sizeof *f);
    pthread_mutex_init(&f->mutex, NULL);
    f->server = redis_server_start(redis_config);
    f->own_server = true;
    set_options(f);
}

void fixture_init_beside(fixture *f, const fixture *other)
{
    memset(f, 0, sizeof *f);
    pthread_mutex_init(&f->mutex, NULL);
    f->server = other->server;
    set_options(f);
}

void fixture_release(fixture *f)
{
    cq_worker_free(f->worker);
    if (f->broker)
        f->broker->ops->free(f->broker);
    if (f->pusher)
        f->pusher->ops->free(f->pusher);
    if (f->own_server)
        redis_server_stop(f->server);
    pthread_mutex_destroy(&f->mutex);
}

static void must(cronq_status status, const cronq_error *err)
{
    if (status)
        fail_msg("%s: %s", cronq_status_name(status), err->text);
}

static void open_broker(fixture *f, const cronq_store_options *store, cq_broker **out)
{
    cq_broker_options options = {
        .uri = redis_server_uri(f->server),
        .store = store,
        .logger = f->options.logger,
        .lease_ms = f->options.lease_ms,
        .task_check_interval_ms = f->options.task_check_interval_ms,
        .recover_after_ms = 500,
        .recover_foreign_after_ms = 1000,
    };
    cronq_error err;

    if (!*out)
        must(cq_broker_open(&options, out, &err), &err);
}

void fixture_worker(fixture *f)
{
    cronq_error err;

    open_broker(f, f->options.store, &f->broker);
    must(cq_worker_new(f->broker, &f->options, &f->worker, &err), &err);
}

void fixture_add(fixture *f, const char *pattern, cronq_handler *handler, void *arg)
{
    cronq_error err;

    must(cq_worker_add(f->worker, pattern, handler, arg, &err), &err);
}

void fixture_start(fixture *f)
{
    cronq_error err;

    must(cq_worker_start(f->worker, &err), &err);
}

void fixture_run(fixture *f, const char *pattern, cronq_handler *handler, void *arg)
{
    fixture_worker(f);
    fixture_add(f, pattern, handler, arg);
    fixture_start(f);
}

void fixture_stop(fixture *f)
{
    size_t running;
    cronq_error err;

    must(cq_worker_stop(f->worker, &running, &err), &err);
    assert_int_equal(running, 0);
}

const cq_worker_counters *fixture_counts(const fixture *f)
{
    return cq_worker_counts(f->worker);
}

/* ---- pushing ---- */

cq_message fixture_task(const char *id)
{
    return (cq_message){ .type = CQ_STR("t"),
                         .payload = CRONQ_LIT("payload"),
                         .id = cq_str_of(id),
                         .queue = CQ_STR("q"),
                         .max_retry = 25,
                         .timeout_s = 1800 };
}

void fixture_push(fixture *f, const cq_message *message)
{
    cq_push item = { .queue = message->queue, .id = message->id };
    cronq_error err;
    cq_buf buf;

    open_broker(f, NULL, &f->pusher);
    cq_buf_init(&buf, (size_t)1 << 24);
    must(cq_message_encode(message, &buf, &err), &err);
    item.message = (cronq_bytes){ buf.data, buf.len };
    must(f->pusher->ops->push(f->pusher, &item, 1, f->pusher->ops->now_ns(f->pusher),
                              &err),
         &err);
    assert_int_equal(item.status, CRONQ_OK);
    cq_buf_release(&buf);
}

void fixture_push_many(fixture *f, const char *queue, const char *type,
                       const char *prefix, size_t count)
{
    static char payload[100];
    cq_push items[PUSH_BATCH];
    cq_arena arena;
    cronq_error err;
    cq_buf buf;

    open_broker(f, NULL, &f->pusher);
    cq_arena_init(&arena, (size_t)1 << 30);
    cq_buf_init(&buf, MESSAGE_BYTES);
    for (size_t done = 0, n; done < count; done += n) {
        n = count - done < PUSH_BATCH ? count - done : PUSH_BATCH;
        memset(items, 0, sizeof items);
        for (size_t i = 0; i < n; i++) {
            char id[256];
            int len = snprintf(id, sizeof id, "%s-%zu", prefix, done + i);
            cq_message message = fixture_task(cq_arena_dup(&arena, id, (size_t)len));

            message.queue = cq_str_of(queue);
            message.type = cq_str_of(type);
            message.payload = (cronq_bytes){ payload, sizeof payload };
            cq_buf_reset(&buf);
            must(cq_message_encode(&message, &buf, &err), &err);
            items[i].queue = message.queue;
            items[i].id = message.id;
            items[i].message =
                (cronq_bytes){ cq_arena_dup(&arena, buf.data, buf.len), buf.len };
        }
        must(f->pusher->ops->push(f->pusher, items, n, f->pusher->ops->now_ns(f->pusher),
                                  &err),
             &err);
        for (size_t i = 0; i < n; i++)
            assert_int_equal(items[i].status, CRONQ_OK);
        cq_arena_reset(&arena);
    }
    cq_buf_release(&buf);
    cq_arena_release(&arena);
}

/* ---- looking ---- */

static redisReply *ask(fixture *f, const char *format, va_list args)
{
    char command[1024];

    vsnprintf(command, sizeof command, format, args);
    return redis_server_command(f->server, command);
}

long long fixture_int(fixture *f, const char *format, ...)
{
    redisReply *reply;
    long long number;
    va_list args;

    va_start(args, format);
    reply = ask(f, format, args);
    va_end(args);
    number = reply->type == REDIS_REPLY_INTEGER  ? reply->integer
             : reply->type == REDIS_REPLY_STRING ? strtoll(reply->str, NULL, 10)
                                                 : -1;
    freeReplyObject(reply);
    return number;
}

void fixture_do(fixture *f, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    freeReplyObject(ask(f, format, args));
    va_end(args);
}

bool fixture_text(fixture *f, char out[4096], const char *format, ...)
{
    redisReply *reply;
    bool there;
    va_list args;

    va_start(args, format);
    reply = ask(f, format, args);
    va_end(args);
    there = reply->type == REDIS_REPLY_STRING;
    if (there) {
        assert_true(reply->len < 4096);
        memcpy(out, reply->str, reply->len);
        out[reply->len] = '\0';
    }
    freeReplyObject(reply);
    return there;
}

cq_message fixture_message(fixture *f, const char *id, cq_arena *arena)
{
    redisReply *reply = redis_server_command(f->server, "HGET asynq:{q}:t:%s msg", id);
    cq_message message;
    cronq_error err;
    char *bytes;

    if (reply->type != REDIS_REPLY_STRING)
        fail_msg("there is no task %s", id);
    bytes = cq_arena_dup(arena, reply->str, reply->len);
    must(cq_message_decode((cronq_bytes){ bytes, reply->len }, arena, &message, &err),
         &err);
    freeReplyObject(reply);
    return message;
}

bool fixture_is_in(fixture *f, const char *set, const char *id)
{
    return fixture_int(f, "ZSCORE asynq:{q}:%s %s", set, id) >= 0;
}

cronq_status fixture_count(cronq_attempt *attempt, void *arg)
{
    (void)attempt;
    atomic_fetch_add((atomic_int *)arg, 1);
    return CRONQ_OK;
}

cronq_status fixture_pass_gate(cronq_attempt *attempt, void *arg)
{
    fixture_gate *gate = arg;

    atomic_fetch_add(&gate->entered, 1);
    while (!gate->open && (gate->stubborn || !cronq_attempt_cancelled(attempt)))
        cq_sleep_ms(2);
    gate->reason = (int)cronq_attempt_cancel_reason(attempt);
    return gate->reason && !gate->open ? CRONQ_EFAILED : CRONQ_OK;
}

bool fixture_logged(fixture *f, const char *text)
{
    bool found;

    pthread_mutex_lock(&f->mutex);
    found = strstr(f->log, text) != NULL;
    pthread_mutex_unlock(&f->mutex);
    return found;
}
