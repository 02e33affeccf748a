/* SPDX-License-Identifier: MIT */
/* worker_test.c - tasks run on a real Redis: outcomes, callbacks, deadlines,
 * cancellation, shares, and what the server tells about itself. */
#include "base/clock.h"
#include "codec/info.h"
#include "support/redis_server.h"
#include "worker/fixture.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define ARENA_BYTES ((size_t)1 << 20)

static fixture f;
static cq_arena arena;

static int set_up(void **state)
{
    (void)state;
    fixture_init(&f, NULL);
    cq_arena_init(&arena, ARENA_BYTES);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fixture_release(&f);
    cq_arena_release(&arena);
    return 0;
}

static long long score(const char *set, const char *id)
{
    return fixture_int(&f, "ZSCORE asynq:{q}:%s %s", set, id);
}

/* ---- the plain life of a task ---- */

static void tasks_run_and_are_gone(void **state)
{
    atomic_int ran = 0;

    (void)state;
    fixture_push_many(&f, "q", "t", "a", 100);
    fixture_run(&f, "t", fixture_count, &ran);
    FIXTURE_AWAIT(fixture_int(&f, "GET asynq:{q}:processed") == 100, 5000);
    assert_int_equal(ran, 100);
    assert_int_equal(fixture_int(&f, "LLEN asynq:{q}:pending"), 0);
    assert_int_equal(fixture_int(&f, "LLEN asynq:{q}:active"), 0);
    assert_int_equal(fixture_int(&f, "ZCARD asynq:{q}:lease"), 0);
    assert_int_equal(fixture_int(&f, "EXISTS asynq:{q}:t:a-0"), 0);
    FIXTURE_AWAIT(cq_worker_idle(f.worker), 2000);
    fixture_push_many(&f, "q", "t", "b", 1);
    FIXTURE_AWAIT(ran == 101, 2000);
    FIXTURE_AWAIT(fixture_counts(&f)->done == 101, 2000);
    fixture_stop(&f);
}

static void twenty_thousand_tasks_are_quick(void **state)
{
    atomic_int ran = 0;
    int64_t start_ms;

    (void)state;
    f.options.concurrency = 10;
    fixture_push_many(&f, "q", "t", "a", 20000);
    start_ms = cq_mono_ms();
    fixture_run(&f, "t", fixture_count, &ran);
    FIXTURE_AWAIT(ran == 20000, 20000);
    print_message("20,000 tasks in %lld ms\n", (long long)(cq_mono_ms() - start_ms));
    fixture_stop(&f);
    assert_int_equal(fixture_int(&f, "GET asynq:{q}:processed"), 20000);
    assert_int_equal(fixture_int(&f, "ZCARD asynq:{q}:lease"), 0);
}

static cronq_status look_at_everything(cronq_attempt *attempt, void *arg)
{
    cronq_bytes payload = cronq_attempt_payload(attempt);
    char *memory = cronq_attempt_alloc(attempt, 100000);

    assert_non_null(memory);
    memset(memory, 1, 100000);
    assert_string_equal(cronq_attempt_task_id(attempt), "id");
    assert_string_equal(cronq_attempt_type(attempt), "t:sub");
    assert_string_equal(cronq_attempt_queue(attempt), "q");
    assert_int_equal(payload.len, 7);
    assert_memory_equal(payload.data, "payload", 7);
    assert_int_equal(cronq_attempt_retry_count(attempt), 2);
    assert_int_equal(cronq_attempt_max_retry(attempt), 7);
    assert_int_equal(cronq_attempt_header_count(attempt), 2);
    assert_string_equal(cronq_attempt_header(attempt, "trace"), "abc");
    assert_string_equal(cronq_attempt_header_at(attempt, 1).key, "empty");
    assert_string_equal(cronq_attempt_header_at(attempt, 1).value, "");
    assert_null(cronq_attempt_header_at(attempt, 2).key);
    assert_null(cronq_attempt_header(attempt, "none"));
    assert_true(cronq_attempt_remaining_ms(attempt) <= 60000);
    assert_true(cronq_attempt_remaining_ms(attempt) > 50000);
    assert_true(cronq_attempt_deadline_at_ms(attempt) > cq_wall_ns() / CQ_NS_PER_MS);
    assert_false(cronq_attempt_cancelled(attempt));
    assert_int_equal(cronq_attempt_cancel_reason(attempt), CRONQ_OK);
    assert_ptr_equal(cronq_attempt_user_data(attempt), &arena);
    cronq_attempt_log(attempt, CRONQ_LOG_INFO, "hello from %s", "inside");
    atomic_store((atomic_int *)arg, 1);
    return CRONQ_OK;
}

static void an_attempt_shows_its_task(void **state)
{
    static const cq_header headers[] = { { { "trace", 5 }, { "abc", 3 } },
                                         { { "empty", 5 }, { "", 0 } } };
    cq_message message = fixture_task("id");
    atomic_int ran = 0;

    (void)state;
    message.type = CQ_STR("t:sub");
    message.retried = 2;
    message.max_retry = 7;
    message.timeout_s = 60;
    message.headers = headers;
    message.header_count = 2;
    fixture_push(&f, &message);
    fixture_worker(&f);
    fixture_add(&f, "t:", look_at_everything, &ran);
    cq_worker_set_user_data(f.worker, &arena);
    fixture_start(&f);
    FIXTURE_AWAIT(ran == 1, 3000);
    fixture_stop(&f);
    assert_true(fixture_logged(&f, "hello from inside"));
}

/* ---- outcomes ---- */

static cronq_status fail_twice(cronq_attempt *attempt, void *arg)
{
    atomic_fetch_add((atomic_int *)arg, 1);
    if (cronq_attempt_retry_count(attempt) < 2)
        return cronq_attempt_fail(attempt, "boom %d\xFF",
                                  cronq_attempt_retry_count(attempt));
    return CRONQ_OK;
}

static void a_failure_is_retried_after_its_delay(void **state)
{
    cq_message message = fixture_task("id");
    atomic_int ran = 0;

    (void)state;
    f.options.retry_kind = CRONQ_RETRY_FIXED;
    fixture_push(&f, &message);
    fixture_run(&f, "t", fail_twice, &ran);
    FIXTURE_AWAIT(fixture_is_in(&f, "retry", "id"), 2000);
    message = fixture_message(&f, "id", &arena);
    assert_int_equal(message.retried, 1);
    assert_true(cq_str_eq(message.error_msg, CQ_STR("boom 0\xEF\xBF\xBD")));
    assert_true(message.last_failed_at_s >= cq_wall_ns() / CQ_NS_PER_S - 2);
    FIXTURE_AWAIT(fixture_counts(&f)->done == 1, 8000);
    fixture_stop(&f);
    assert_int_equal(ran, 3);
    assert_int_equal(fixture_int(&f, "GET asynq:{q}:processed"), 3);
    assert_int_equal(fixture_int(&f, "GET asynq:{q}:failed"), 2);
}

static cronq_status end_as_named(cronq_attempt *attempt, void *arg)
{
    const char *type = cronq_attempt_type(attempt);

    (void)arg;
    if (strcmp(type, "t:skip") == 0)
        return cronq_attempt_skip_retry(attempt, "no use");
    if (strcmp(type, "t:revoke") == 0)
        return cronq_attempt_revoke(attempt);
    if (strcmp(type, "t:in") == 0)
        return cronq_attempt_retry_in(attempt, 60000, false, "not yet");
    if (strcmp(type, "t:counted") == 0)
        return cronq_attempt_retry_in(attempt, 60000, true, "not yet");
    return strcmp(type, "t:status") == 0 ? CRONQ_EFULL : CRONQ_EFAILED;
}

static void push_typed(const char *id, const char *type, int32_t max_retry)
{
    cq_message message = fixture_task(id);

    message.type = cq_str_of(type);
    message.max_retry = max_retry;
    fixture_push(&f, &message);
}

/* It has been granted all its uncounted retries. */
static void push_deferred(const char *id, const char *type)
{
    static const cq_header spent = { { "cronq-deferred", 14 }, { "1000", 4 } };
    cq_message message = fixture_task(id);

    message.type = cq_str_of(type);
    message.max_retry = 0;
    message.headers = &spent;
    message.header_count = 1;
    fixture_push(&f, &message);
}

static void every_outcome_goes_where_it_belongs(void **state)
{
    cq_message message;
    int64_t now_s = cq_wall_ns() / CQ_NS_PER_S;

    (void)state;
    push_typed("skip", "t:skip", 5);
    push_typed("revoke", "t:revoke", 5);
    push_typed("in", "t:in", 0);
    push_deferred("in-no-more", "t:in");
    push_typed("counted", "t:counted", 1);
    push_typed("counted-out", "t:counted", 0);
    push_typed("status", "t:status", 0);
    push_typed("nobody", "unknown\"x", 0);
    fixture_run(&f, "t:", end_as_named, NULL);
    FIXTURE_AWAIT(fixture_counts(&f)->archived == 5, 3000);
    FIXTURE_AWAIT(fixture_counts(&f)->retried == 2, 3000);
    FIXTURE_AWAIT(fixture_counts(&f)->done == 1, 3000);
    fixture_stop(&f);
    assert_true(fixture_is_in(&f, "archived", "skip"));
    assert_true(fixture_is_in(&f, "archived", "counted-out"));
    assert_true(fixture_is_in(&f, "archived", "in-no-more"));
    assert_int_equal(fixture_int(&f, "EXISTS asynq:{q}:t:revoke"), 0);
    assert_true(score("retry", "in") >= now_s + 60);
    assert_true(score("retry", "in") <= now_s + 65);
    message = fixture_message(&f, "in", &arena);
    assert_int_equal(message.retried, 0);
    assert_int_equal(message.header_count, 1);
    assert_true(cq_str_eq(message.headers[0].value, CQ_STR("1")));
    assert_int_equal(fixture_message(&f, "counted", &arena).retried, 1);
    message = fixture_message(&f, "status", &arena);
    assert_true(cq_str_eq(message.error_msg, CQ_STR("the store is full")));
    message = fixture_message(&f, "nobody", &arena);
    assert_true(cq_str_eq(message.error_msg,
                          CQ_STR("handler not found for task \"unknown\\\"x\"")));
    message = fixture_message(&f, "skip", &arena);
    assert_true(cq_str_eq(message.error_msg, CQ_STR("no use")));
    assert_int_equal(fixture_int(&f, "GET asynq:{q}:processed"), 7);
    assert_int_equal(fixture_int(&f, "GET asynq:{q}:failed"), 6);
}

static bool not_a_failure(const cronq_error *why, void *arg)
{
    (void)arg;
    return strcmp(why->text, "busy") != 0;
}

static void note_error(cronq_attempt *attempt, const cronq_error *why, void *arg)
{
    snprintf(arg, 100, "%.20s %d %.50s", cronq_attempt_task_id(attempt), (int)why->code,
             why->text);
}

static cronq_status be_busy(cronq_attempt *attempt, void *arg)
{
    (void)arg;
    return cronq_attempt_fail(attempt, "busy");
}

static void what_is_no_failure_is_not_counted(void **state)
{
    char noted[100] = "";

    (void)state;
    push_typed("id", "t", 0);
    f.options.is_failure = not_a_failure;
    f.options.on_error = note_error;
    f.options.on_error_arg = noted;
    fixture_run(&f, "t", be_busy, NULL);
    FIXTURE_AWAIT(fixture_counts(&f)->retried == 1, 3000);
    fixture_stop(&f);
    assert_string_equal(noted, "id -11 busy");
    assert_true(fixture_is_in(&f, "retry", "id"));
    assert_int_equal(fixture_message(&f, "id", &arena).retried, 0);
    assert_int_equal(fixture_int(&f, "EXISTS asynq:{q}:failed"), 0);
    assert_int_equal(fixture_int(&f, "EXISTS asynq:{q}:processed"), 0);
}

static cronq_status write_result(cronq_attempt *attempt, void *arg)
{
    cronq_bytes first = CRONQ_LIT("first"), second = CRONQ_LIT("se\0ond");

    (void)arg;
    assert_int_equal(cronq_attempt_write_result(attempt, first, NULL), CRONQ_OK);
    return cronq_attempt_write_result(attempt, second, NULL);
}

static void a_result_is_kept_for_the_retention(void **state)
{
    cq_message message = fixture_task("id");
    char result[4096];

    (void)state;
    message.retention_s = 2;
    fixture_push(&f, &message);
    fixture_run(&f, "t", write_result, NULL);
    FIXTURE_AWAIT(fixture_counts(&f)->done == 1, 3000);
    assert_true(fixture_is_in(&f, "completed", "id"));
    assert_true(fixture_text(&f, result, "HGET asynq:{q}:t:id result"));
    assert_memory_equal(result, "se\0ond", 7);
    assert_true(fixture_message(&f, "id", &arena).completed_at_s > 0);
    FIXTURE_AWAIT(fixture_int(&f, "EXISTS asynq:{q}:t:id") == 0, 6000);
    fixture_stop(&f);
}

/* ---- middlewares ---- */

static cronq_status note_and_go_on(cronq_attempt *attempt, const cronq_next *next,
                                   void *arg)
{
    char *trail = cronq_attempt_user_data(attempt);
    cronq_status status;

    strcat(trail, arg);
    if (strcmp(cronq_attempt_task_id(attempt), "stop") == 0 && strcmp(arg, "b") == 0)
        return CRONQ_ENORETRY;
    status = cronq_next_run(next, attempt);
    strcat(trail, arg);
    return status;
}

static cronq_status note_x(cronq_attempt *attempt, void *arg)
{
    (void)arg;
    strcat(cronq_attempt_user_data(attempt), "x");
    return CRONQ_OK;
}

static void middlewares_wrap_in_the_order_they_were_added(void **state)
{
    char trail[100] = "", a[] = "a", b[] = "b";
    size_t running;

    (void)state;
    push_typed("go", "t", 0);
    fixture_worker(&f);
    fixture_add(&f, "t", note_x, NULL);
    assert_int_equal(cq_worker_use(f.worker, note_and_go_on, a, NULL), CRONQ_OK);
    assert_int_equal(cq_worker_use(f.worker, note_and_go_on, b, NULL), CRONQ_OK);
    cq_worker_set_user_data(f.worker, trail);
    fixture_start(&f);
    assert_int_equal(cq_worker_use(f.worker, note_and_go_on, b, NULL), CRONQ_ESTATE);
    assert_int_equal(cq_worker_add(f.worker, "u", note_x, NULL, NULL), CRONQ_ESTATE);
    assert_int_equal(cq_worker_start(f.worker, NULL), CRONQ_ESTATE);
    FIXTURE_AWAIT(fixture_counts(&f)->done == 1, 3000);
    push_typed("stop", "t", 0);
    FIXTURE_AWAIT(fixture_counts(&f)->archived == 1, 3000);
    fixture_stop(&f);
    assert_string_equal(trail, "abxbaaba");
    assert_int_equal(cq_worker_stop(f.worker, &running, NULL), CRONQ_OK);
}

/* ---- deadlines and cancellation ---- */

typedef struct watching {
    _Atomic int64_t after_ms; /* how long until it was cancelled */
    _Atomic int reason, fd_says, calls;
    bool succeed;
} watching;

static cronq_status until_cancelled(cronq_attempt *attempt, void *arg)
{
    watching *w = arg;
    struct pollfd fd = { .fd = cronq_attempt_cancel_fd(attempt), .events = POLLIN };
    int64_t start_ms = cq_mono_ms();

    atomic_fetch_add(&w->calls, 1);
    assert_int_equal(fd.fd, cronq_attempt_cancel_fd(attempt));
    w->fd_says = poll(&fd, 1, 5000);
    w->after_ms = cq_mono_ms() - start_ms;
    w->reason = (int)cronq_attempt_cancel_reason(attempt);
    assert_true(cronq_attempt_cancelled(attempt) || !w->fd_says);
    return w->succeed ? CRONQ_OK : cronq_attempt_fail(attempt, "stopped");
}

static void a_timeout_cancels_the_handler_in_time(void **state)
{
    cq_message message = fixture_task("id");
    watching w = { 0 };

    (void)state;
    message.timeout_s = 1;
    message.max_retry = 0;
    fixture_push(&f, &message);
    fixture_run(&f, "t", until_cancelled, &w);
    FIXTURE_AWAIT(fixture_counts(&f)->archived == 1, 5000);
    fixture_stop(&f);
    assert_int_equal(w.reason, CRONQ_ETIMEDOUT);
    assert_int_equal(w.fd_says, 1);
    assert_true(w.after_ms >= 990 && w.after_ms < 1300);
    message = fixture_message(&f, "id", &arena);
    assert_true(cq_str_eq(message.error_msg, CQ_STR("context deadline exceeded")));
}

static void a_late_success_wins(void **state)
{
    cq_message message = fixture_task("id");
    watching w = { .succeed = true };

    (void)state;
    message.timeout_s = 1;
    fixture_push(&f, &message);
    fixture_run(&f, "t", until_cancelled, &w);
    FIXTURE_AWAIT(fixture_counts(&f)->done == 1, 5000);
    fixture_stop(&f);
    assert_true(fixture_logged(&f, "done, but late"));
}

static void a_past_deadline_never_calls_the_handler(void **state)
{
    cq_message message = fixture_task("id");
    watching w = { 0 };

    (void)state;
    message.deadline_at_s = 1000000000;
    message.max_retry = 0;
    fixture_push(&f, &message);
    fixture_run(&f, "t", until_cancelled, &w);
    FIXTURE_AWAIT(fixture_counts(&f)->archived == 1, 5000);
    fixture_stop(&f);
    assert_int_equal(w.calls, 0);
    message = fixture_message(&f, "id", &arena);
    assert_true(cq_str_eq(message.error_msg, CQ_STR("context deadline exceeded")));
}

static void a_published_cancel_ends_in_a_retry(void **state)
{
    cq_message message = fixture_task("id");
    watching w = { 0 };

    (void)state;
    fixture_push(&f, &message);
    fixture_run(&f, "t", until_cancelled, &w);
    FIXTURE_AWAIT(w.calls == 1, 3000);
    FIXTURE_AWAIT(fixture_int(&f, "PUBLISH asynq:cancel other") == 1, 3000);
    fixture_do(&f, "PUBLISH asynq:cancel id");
    FIXTURE_AWAIT(fixture_counts(&f)->retried == 1, 3000);
    fixture_stop(&f);
    assert_int_equal(w.reason, CRONQ_ECANCELED);
    message = fixture_message(&f, "id", &arena);
    assert_true(cq_str_eq(message.error_msg, CQ_STR("context canceled")));
    assert_int_equal(message.retried, 1);
}

/* ---- shares ---- */

typedef struct order {
    pthread_mutex_t mutex;
    char queues[1000];
    size_t count;
} order;

static cronq_status note_queue(cronq_attempt *attempt, void *arg)
{
    order *o = arg;

    pthread_mutex_lock(&o->mutex);
    if (o->count < sizeof o->queues)
        o->queues[o->count++] = *cronq_attempt_queue(attempt);
    pthread_mutex_unlock(&o->mutex);
    return CRONQ_OK;
}

static size_t how_often(const order *o, char queue)
{
    size_t count = 0;

    for (size_t i = 0; i < o->count; i++)
        count += o->queues[i] == queue;
    return count;
}

static void serve_three_queues(order *o, bool strict)
{
    static const cronq_queue three[] = { { "a", 6 }, { "b", 3 }, { "c", 1 } };

    pthread_mutex_init(&o->mutex, NULL);
    memcpy(f.queues, three, sizeof three);
    f.options.queue_count = 3;
    f.options.strict_priority = strict;
    fixture_push_many(&f, "c", "t", "c", 1000);
    fixture_push_many(&f, "b", "t", "b", 1000);
    fixture_push_many(&f, "a", "t", "a", 1000);
    fixture_run(&f, "t", note_queue, o);
    FIXTURE_AWAIT(fixture_counts(&f)->done == 3000, 10000);
    fixture_stop(&f);
}

static void full_queues_share_by_weight(void **state)
{
    static order o;

    (void)state;
    serve_three_queues(&o, false);
    assert_in_range(how_often(&o, 'a'), 540, 660);
    assert_in_range(how_often(&o, 'b'), 270, 330);
    assert_in_range(how_often(&o, 'c'), 90, 110);
}

static void strict_leaves_the_lower_alone(void **state)
{
    static order o;

    (void)state;
    serve_three_queues(&o, true);
    assert_in_range(how_often(&o, 'a'), 995, 1000); /* ends may be noted in any order */
    assert_int_equal(how_often(&o, 'c'), 0);
}

/* ---- what it tells ---- */

static bool beat_is(const char *status, int32_t active)
{
    char key[4096], bytes[4096];
    redisReply *keys = redis_server_command(f.server, "KEYS asynq:servers:*");
    cq_server_info info = { 0 };
    bool there = keys->elements == 1;
    size_t len = 0;

    if (there) {
        redisReply *value;

        snprintf(key, sizeof key, "%s", keys->element[0]->str);
        value = redis_server_command(f.server, "GET %s", key);
        there = value->type == REDIS_REPLY_STRING;
        len = value->len;
        if (there)
            memcpy(bytes, value->str, len);
        freeReplyObject(value);
    }
    freeReplyObject(keys);
    if (!there || cq_server_info_decode((cronq_bytes){ bytes, len }, &arena, &info, NULL))
        return false;
    return cq_str_eq(info.status, cq_str_of(status)) && info.concurrency == 4 &&
           info.active_worker_count == active && info.queue_count == 1;
}

static void the_server_shows_itself_while_it_lives(void **state)
{
    watching w = { .succeed = true };
    char key[4096];

    (void)state;
    push_typed("id", "t", 0);
    fixture_run(&f, "t", until_cancelled, &w);
    FIXTURE_AWAIT(beat_is("active", 1), 2000);
    assert_int_equal(fixture_int(&f, "ZCARD asynq:servers"), 1);
    assert_int_equal(fixture_int(&f, "ZCARD asynq:workers"), 1);
    cq_worker_quiet(f.worker);
    FIXTURE_AWAIT(beat_is("stopped", 1), 2000);
    fixture_do(&f, "PUBLISH asynq:cancel id");
    FIXTURE_AWAIT(fixture_counts(&f)->done == 1, 3000);
    push_typed("later", "t", 0);
    cq_sleep_ms(300);
    assert_int_equal(w.calls, 1); /* quiet */
    fixture_stop(&f);
    assert_int_equal(fixture_int(&f, "ZCARD asynq:servers"), 0);
    assert_int_equal(fixture_int(&f, "LLEN asynq:{q}:pending"), 1);
    assert_false(fixture_text(&f, key, "GET asynq:servers:none"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(tasks_run_and_are_gone),
        TEST(twenty_thousand_tasks_are_quick),
        TEST(an_attempt_shows_its_task),
        TEST(a_failure_is_retried_after_its_delay),
        TEST(every_outcome_goes_where_it_belongs),
        TEST(what_is_no_failure_is_not_counted),
        TEST(a_result_is_kept_for_the_retention),
        TEST(middlewares_wrap_in_the_order_they_were_added),
        TEST(a_timeout_cancels_the_handler_in_time),
        TEST(a_late_success_wins),
        TEST(a_past_deadline_never_calls_the_handler),
        TEST(a_published_cancel_ends_in_a_retry),
        TEST(full_queues_share_by_weight),
        TEST(strict_leaves_the_lower_alone),
        TEST(the_server_shows_itself_while_it_lives),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
