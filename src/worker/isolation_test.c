/* SPDX-License-Identifier: MIT */
/* isolation_test.c - handlers in processes of their own: what they can do, how they end,
 * and that nothing else ends with them. */
#include "base/clock.h"
#include "support/redis_server.h"
#include "worker/fixture.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#define ARENA_BYTES ((size_t)1 << 20)

static fixture f;
static cq_arena arena;
static cronq_handler_options options;

static int set_up(void **state)
{
    (void)state;
    fixture_init(&f, NULL);
    cq_arena_init(&arena, ARENA_BYTES);
    options = (cronq_handler_options){ .struct_size = sizeof options,
                                       .isolation = CRONQ_ISOLATION_PROCESS,
                                       .child_count = 2 };
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fixture_release(&f);
    cq_arena_release(&arena);
    return 0;
}

static void run(cronq_handler *handler, void *arg)
{
    cronq_error err = { CRONQ_OK, "" };

    fixture_worker(&f);
    fixture_add(&f, "t", handler, arg);
    if (cq_worker_isolate(f.worker, "t", &options, &err))
        fail_msg("%s", err.text);
    fixture_start(&f);
}

static void push(const char *id, const char *payload, int32_t max_retry,
                 int64_t timeout_s)
{
    cq_message message = fixture_task(id);

    message.payload = (cronq_bytes){ payload, strlen(payload) };
    message.max_retry = max_retry;
    message.timeout_s = timeout_s;
    fixture_push(&f, &message);
}

static bool is_in(const char *set, const char *id)
{
    return fixture_int(&f, "ZSCORE asynq:{q}:%s %s", set, id) >= 0;
}

static const char *error_of(const char *id)
{
    cq_str text = fixture_message(&f, id, &arena).error_msg;

    return cq_arena_dup(&arena, text.data, text.len);
}

/* ---- one handler that does what the payload says ---- */

static __attribute__((noinline)) long overrun(volatile long depth)
{
    volatile char room[4096];

    room[depth % 4096] = (char)depth;
    return depth < 0 ? room[0] : overrun(depth + 1) + room[0];
}

static cronq_status do_end(cronq_attempt *attempt, void *arg)
{
    (void)arg;
    (void)attempt;
    exit(3);
}

static cronq_status do_null(cronq_attempt *attempt, void *arg)
{
    (void)attempt;
    *(volatile int *)arg = 1;
    return CRONQ_OK;
}

static cronq_status do_leak(cronq_attempt *attempt, void *arg)
{
    (void)arg;
    for (;;) {
        char *more = malloc(1 << 20);

        if (!more)
            return cronq_attempt_skip_retry(attempt, "no memory");
        memset(more, 1, 1 << 20);
    }
}

static cronq_status do_say(cronq_attempt *attempt, void *arg)
{
    static const char result[] = "re\0sult";
    cronq_error err = { CRONQ_OK, "" };

    (void)arg;
    cronq_attempt_log(attempt, CRONQ_LOG_WARN, "said from pid %d", (int)getpid());
    if (cronq_attempt_write_result(attempt, (cronq_bytes){ result, sizeof result - 1 },
                                   &err))
        return cronq_attempt_fail(attempt, "%s", err.text);
    return CRONQ_OK;
}

static cronq_status do_wait(cronq_attempt *attempt, void *arg)
{
    struct pollfd fd = { .fd = cronq_attempt_cancel_fd(attempt), .events = POLLIN };

    (void)arg;
    if (cronq_attempt_cancelled(attempt) || poll(&fd, 1, 20000) != 1)
        return cronq_attempt_skip_retry(attempt, "was not cancelled");
    return cronq_attempt_skip_retry(attempt, "reason %d",
                                    (int)cronq_attempt_cancel_reason(attempt));
}

static cronq_status act(cronq_attempt *attempt, void *arg)
{
    static const struct {
        const char *word;
        cronq_handler *handler;
    } rows[] = { { "exit", do_end },
                 { "null", do_null },
                 { "leak", do_leak },
                 { "say", do_say },
                 { "wait", do_wait } };
    cronq_bytes payload = cronq_attempt_payload(attempt);
    char word[32];

    (void)arg;
    snprintf(word, sizeof word, "%.*s", (int)payload.len, (const char *)payload.data);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (strcmp(word, rows[i].word) == 0)
            return rows[i].handler(attempt, NULL);
    if (strcmp(word, "abort") == 0)
        abort();
    if (strcmp(word, "overrun") == 0)
        return (cronq_status)overrun(1);
    if (strcmp(word, "kill") == 0)
        raise(SIGKILL);
    if (strcmp(word, "panic") == 0)
        cronq_panic(attempt, "asked for");
    if (strcmp(word, "fail") == 0)
        return cronq_attempt_fail(attempt, "failed as asked");
    if (strcmp(word, "later") == 0)
        return cronq_attempt_retry_in(attempt, 60000, false, "later");
    while (strcmp(word, "loop") == 0)
        continue;
    return CRONQ_OK;
}

/* ---- tests ---- */

static void tasks_run_in_other_processes(void **state)
{
    char pid[16], text[64];

    (void)state;
    push("id", "say", 3, 0);
    fixture_do(&f, "HSET asynq:{q}:t:none x y");
    run(act, NULL);
    FIXTURE_AWAIT(fixture_counts(&f)->done == 1, 5000);
    fixture_stop(&f);
    snprintf(pid, sizeof pid, "said from pid ");
    assert_true(fixture_logged(&f, pid));
    snprintf(text, sizeof text, "said from pid %d", (int)getpid());
    assert_false(fixture_logged(&f, text));
}

static void what_a_handler_says_arrives(void **state)
{
    cq_message message = fixture_task("kept");
    char result[4096];

    (void)state;
    message.payload = (cronq_bytes)CRONQ_LIT("say");
    message.retention_s = 100;
    fixture_push(&f, &message);
    push("fail", "fail", 3, 0);
    push("later", "later", 3, 0);
    push("panic", "panic", 3, 0);
    run(act, NULL);
    FIXTURE_AWAIT(fixture_counts(&f)->done == 1 && fixture_counts(&f)->retried == 2 &&
                      fixture_counts(&f)->archived == 1,
                  5000);
    fixture_stop(&f);
    assert_true(fixture_text(&f, result, "HGET asynq:{q}:t:kept result"));
    assert_memory_equal(result, "re\0sult", 7);
    assert_string_equal(error_of("fail"), "failed as asked");
    assert_int_equal(fixture_message(&f, "fail", &arena).retried, 1);
    assert_int_equal(fixture_message(&f, "later", &arena).retried, 0);
    assert_string_equal(error_of("panic"), "panic: asked for");
    assert_true(is_in("archived", "panic"));
}

static void a_crash_ends_one_attempt(void **state)
{
    static const struct {
        const char *word, *text;
    } rows[] = {
        { "exit", "panic: exit status 3" },
        { "kill", "panic: SIGKILL" },
#if PATIENCE == 1 /* sanitizers take these themselves */
        { "null", "panic: SIGSEGV at 0x0" },
        { "abort", "panic: SIGABRT" },
        { "overrun", "panic: SIGSEGV at 0x" },
#endif
    };
    size_t count = sizeof rows / sizeof rows[0];

    (void)state;
    run(act, NULL);
    for (size_t i = 0; i < count; i++)
        push(rows[i].word, rows[i].word, 3, 0);
    push("good", "", 3, 0);
    FIXTURE_AWAIT(fixture_counts(&f)->archived == count && fixture_counts(&f)->done == 1,
                  10000);
    fixture_stop(&f);
    for (size_t i = 0; i < count; i++) {
        assert_true(is_in("archived", rows[i].word));
        if (strncmp(error_of(rows[i].word), rows[i].text, strlen(rows[i].text)) != 0)
            fail_msg("%s: %s", rows[i].word, error_of(rows[i].word));
    }
}

static void a_loop_is_ended_and_its_task_retried(void **state)
{
    int64_t start_ms = cq_mono_ms();

    (void)state;
    options.child_grace_ms = 100;
    push("loop", "loop", 3, 1);
    run(act, NULL);
    FIXTURE_AWAIT(fixture_counts(&f)->retried == 1, 10000);
    print_message("timed out and killed after %d ms\n", (int)(cq_mono_ms() - start_ms));
    fixture_stop(&f);
    assert_string_equal(error_of("loop"), "context deadline exceeded");
}

static void a_timeout_reaches_the_child(void **state)
{
    (void)state;
    options.child_grace_ms = 20000;
    push("wait", "wait", 0, 1);
    run(act, NULL);
    FIXTURE_AWAIT(fixture_counts(&f)->archived == 1, 10000);
    fixture_stop(&f);
    assert_string_equal(error_of("wait"), "context deadline exceeded");
    assert_false(fixture_logged(&f, "was ended"));
}

static void a_stop_ends_what_loops_and_gives_it_back(void **state)
{
    (void)state;
    f.options.shutdown_timeout_ms = 200;
    push("loop", "loop", 3, 0);
    run(act, NULL);
    FIXTURE_AWAIT(fixture_int(&f, "LLEN asynq:{q}:active") == 1, 5000);
    cq_sleep_ms(200);
    fixture_stop(&f);
    assert_int_equal(fixture_int(&f, "LLEN asynq:{q}:pending"), 1);
    assert_int_equal(fixture_message(&f, "loop", &arena).retried, 0);
}

#if PATIENCE == 1
static void memory_has_a_limit(void **state)
{
    (void)state;
    options.memory_limit_bytes = (uint64_t)64 << 20;
    push("leak", "leak", 3, 0);
    run(act, NULL);
    FIXTURE_AWAIT(fixture_counts(&f)->archived == 1, 10000);
    fixture_stop(&f);
    assert_string_equal(error_of("leak"), "no memory");
}
#endif

static void cpu_time_has_a_limit(void **state)
{
    (void)state;
    options.cpu_limit_s = 1;
    push("loop", "loop", 3, 0);
    run(act, NULL);
    FIXTURE_AWAIT(fixture_counts(&f)->archived == 1, 30000);
    fixture_stop(&f);
    assert_string_equal(error_of("loop"), "panic: SIGXCPU");
}

/* ---- children ---- */

static cronq_status init_child(void **arg, cronq_error *err)
{
    static char own[32];

    (void)err;
    snprintf(own, sizeof own, "child of %s", (const char *)*arg);
    *arg = own;
    return CRONQ_OK;
}

static cronq_status tell_arg(cronq_attempt *attempt, void *arg)
{
    return cronq_attempt_skip_retry(attempt, "%s %d", (const char *)arg, (int)getpid());
}

static void children_are_set_up_once_and_replaced(void **state)
{
    char arg[] = "test", id[16], seen[12][64];
    size_t changes = 0;

    (void)state;
    options.child_init = init_child;
    options.child_count = 1;
    options.child_task_count = 3;
    run(tell_arg, arg);
    for (size_t i = 0; i < 12; i++) {
        snprintf(id, sizeof id, "id-%zu", i);
        push(id, "", 0, 0);
        FIXTURE_AWAIT(fixture_counts(&f)->archived == i + 1, 5000);
        snprintf(seen[i], sizeof seen[i], "%s", error_of(id));
        assert_non_null(strstr(seen[i], "child of test "));
        changes += i > 0 && strcmp(seen[i], seen[i - 1]) != 0;
    }
    fixture_stop(&f);
    assert_int_equal(changes, 3);
}

static cronq_status init_badly(void **arg, cronq_error *err)
{
    (void)arg;
    err->code = CRONQ_EFAILED;
    snprintf(err->text, sizeof err->text, "the database is away");
    return CRONQ_EFAILED;
}

static void a_child_that_cannot_start_is_told_of(void **state)
{
    (void)state;
    options.child_init = init_badly;
    run(act, NULL);
    FIXTURE_AWAIT(fixture_logged(&f, "cannot start: the database is away"), 5000);
    fixture_stop(&f);
}

static void short_tasks_are_quick_in_children_too(void **state)
{
    int64_t start_ms;
    const size_t count = 20000;

    (void)state;
    f.options.concurrency = 4;
    options.child_count = 4;
    fixture_push_many(&f, "q", "t", "n", count);
    start_ms = cq_mono_ms();
    run(act, NULL);
    FIXTURE_AWAIT(fixture_counts(&f)->done == count, 30000);
    print_message("%d no-op tasks a second in children\n",
                  (int)(count * 1000 / (size_t)(cq_mono_ms() - start_ms + 1)));
    fixture_stop(&f);
}

static void *rest(void *arg)
{
    cq_sleep_ms(500);
    return arg;
}

static void a_process_with_threads_is_refused(void **state)
{
    cronq_error err = { CRONQ_OK, "" };
    pthread_t thread;

    (void)state;
    pthread_create(&thread, NULL, rest, NULL);
    fixture_worker(&f);
    fixture_add(&f, "t", act, NULL);
    assert_int_equal(cq_worker_isolate(f.worker, "t", &options, &err), CRONQ_OK);
    assert_int_equal(cq_worker_start(f.worker, &err), CRONQ_ESTATE);
    assert_non_null(strstr(err.text, "2 threads"));
    pthread_join(thread, NULL);
}

static void wrong_options_are_refused(void **state)
{
    cronq_error err = { CRONQ_OK, "" };

    (void)state;
    fixture_worker(&f);
    fixture_add(&f, "t", act, NULL);
    options.child_count = 1001;
    assert_int_equal(cq_worker_isolate(f.worker, "t", &options, &err), CRONQ_EINVAL);
    assert_non_null(strstr(err.text, "child_count 1001"));
    options.child_count = 1;
    options.child_grace_ms = -1;
    assert_int_equal(cq_worker_isolate(f.worker, "t", &options, &err), CRONQ_EINVAL);
    options.child_grace_ms = 0;
    options.memory_limit_bytes = 5;
    assert_int_equal(cq_worker_isolate(f.worker, "t", &options, &err), CRONQ_EINVAL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(tasks_run_in_other_processes),
        TEST(what_a_handler_says_arrives),
        TEST(a_crash_ends_one_attempt),
        TEST(a_loop_is_ended_and_its_task_retried),
        TEST(a_timeout_reaches_the_child),
        TEST(a_stop_ends_what_loops_and_gives_it_back),
#if PATIENCE == 1
        TEST(memory_has_a_limit),
#endif
        TEST(cpu_time_has_a_limit),
        TEST(children_are_set_up_once_and_replaced),
        TEST(a_child_that_cannot_start_is_told_of),
        TEST(short_tasks_are_quick_in_children_too),
        TEST(a_process_with_threads_is_refused),
        TEST(wrong_options_are_refused),
    };

    if (UNDER_TSAN)
        return 77;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
