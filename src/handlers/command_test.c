/* SPDX-License-Identifier: MIT */
/* command_test.c - commands as tasks of a real worker on a real redis-server. */
#include "base/clock.h"
#include "base/thread.h"
#include "support/patience.h"
#include "support/redis_server.h"

#include <cronq/client.h>
#include <cronq/handlers.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define ROWS(rows) (sizeof(rows) / sizeof(rows)[0])

/* One worker, one command for tasks of type "t", and the last failure and log line. */
typedef struct fixture {
    redis_server *redis;
    cronq_server *server;
    cronq_client *client;
    cronq_command *command;
    pthread_mutex_t mutex;
    cronq_error why;
    char log[2000];
} fixture;

static void must(cronq_status status, const cronq_error *err)
{
    if (status != CRONQ_OK)
        fail_msg("%s", err->text);
}

static void keep_error(cronq_attempt *attempt, const cronq_error *why, void *arg)
{
    fixture *f = arg;

    (void)attempt;
    pthread_mutex_lock(&f->mutex);
    f->why = *why;
    pthread_mutex_unlock(&f->mutex);
}

static void keep_log(void *arg, const cronq_log_record *record)
{
    fixture *f = arg;

    pthread_mutex_lock(&f->mutex);
    if (record->task_id)
        snprintf(f->log, sizeof f->log, "%s", record->text);
    pthread_mutex_unlock(&f->mutex);
}

static void start(fixture *f, const cronq_command_options *options)
{
    cronq_error err = { 0 };

    memset(f, 0, sizeof *f);
    pthread_mutex_init(&f->mutex, NULL);
    f->redis = redis_server_start(NULL);
    must(cronq_command_new(options, &f->command, &err), &err);
    must(cronq_server_new(redis_server_uri(f->redis),
                          CRONQ_SERVER_OPTIONS(.concurrency = 2, .on_error = keep_error,
                                               .on_error_arg = f,
                                               .logger = { keep_log, f, CRONQ_LOG_WARN },
                                               .shutdown_timeout_ms = 100 * PATIENCE),
                          &f->server, &err),
         &err);
    must(cronq_client_new(redis_server_uri(f->redis), NULL, &f->client, &err), &err);
    must(cronq_server_add(f->server, "t", cronq_command_handle, f->command, NULL, &err),
         &err);
}

static void start_shell(fixture *f, const char *script)
{
    start(f, CRONQ_COMMAND_OPTIONS(.argv = (const char *const[]){ "sh", "-c", script,
                                                                  NULL }));
}

static void stop(fixture *f)
{
    cronq_server_free(f->server);
    cronq_client_free(f->client);
    cronq_command_free(f->command);
    redis_server_stop(f->redis);
    pthread_mutex_destroy(&f->mutex);
}

/* Push a task with id "1" and work until it is done. */
static void run(fixture *f, const cronq_task *task)
{
    cronq_error err = { 0 };

    must(cronq_client_push(f->client, task, NULL, &err), &err);
    must(cronq_server_drain(f->server, &err), &err);
}

static void expect_result(fixture *f, const char *text)
{
    redisReply *reply = redis_server_command(f->redis, "HGET asynq:{default}:t:1 result");

    assert_int_equal(reply->type, REDIS_REPLY_STRING);
    assert_string_equal(reply->str, text);
    freeReplyObject(reply);
}

static void success_keeps_the_output_as_the_result(void **state)
{
    fixture f;

    (void)state;
    start_shell(&f, "cat; echo; echo 'only said' >&2");
    run(&f, CRONQ_TASK(.type = "t", .id = "1", .payload = CRONQ_LIT("payload"),
                       .retain_for_ms = 60000));
    expect_result(&f, "payload\n");
    assert_int_equal(redis_server_int(f.redis, "ZCARD asynq:{default}:completed"), 1);
    stop(&f);
}

static void success_without_retention_leaves_nothing(void **state)
{
    fixture f;

    (void)state;
    start_shell(&f, "echo out");
    run(&f, CRONQ_TASK(.type = "t", .id = "1"));
    assert_int_equal(redis_server_int(f.redis, "EXISTS asynq:{default}:t:1"), 0);
    assert_int_equal(redis_server_int(f.redis, "ZCARD asynq:{default}:retry"), 0);
    assert_string_equal(f.log, "");
    stop(&f);
}

static void environment_is_the_allowed_and_the_task(void **state)
{
    static const cronq_header headers[] = {
        { "traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" },
        { "other", "x" },
    };
    fixture f;

    (void)state;
    setenv("CRONQ_TEST_SECRET", "x", 1);
    setenv("LANG", "C", 1);
    setenv("PATH", "/usr/bin:/bin", 1);
    setenv("HOME", "/elsewhere", 1);
    unsetenv("TZ");
    unsetenv("LC_ALL");
    start(&f, CRONQ_COMMAND_OPTIONS(.argv = (const char *const[]){ "env", NULL },
                                    .env = (const char *const[]){ "HOME=/own", "A=b=c",
                                                                  NULL }));
    run(&f, CRONQ_TASK(.type = "t:1", .id = "1", .max_retry = 7, .retain_for_ms = 60000,
                       .headers = headers, .header_count = 2));
    expect_result(
        &f, "PATH=/usr/bin:/bin\nLANG=C\nHOME=/own\nA=b=c\nCRONQ_TASK_ID=1\n"
            "CRONQ_QUEUE=default\nCRONQ_TYPE=t:1\nCRONQ_RETRY=0\nCRONQ_MAX_RETRY=7\n"
            "TRACEPARENT=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\n");
    stop(&f);
}

static void header_that_is_no_trace_is_not_passed_on(void **state)
{
    static const cronq_header headers[] = { { "traceparent", "() { :; }; echo x" } };
    fixture f;

    (void)state;
    start_shell(&f, "echo \"[$TRACEPARENT]\"");
    run(&f, CRONQ_TASK(.type = "t", .id = "1", .retain_for_ms = 60000, .headers = headers,
                       .header_count = 1));
    expect_result(&f, "[]\n");
    stop(&f);
}

static void each_bad_end_has_its_place_and_text(void **state)
{
    static const struct {
        const char *script, *text, *set;
    } rows[] = {
        { "echo one >&2; echo two >&2; exit 1", "two", "retry" },
        { "exit 4", "exit status 4", "retry" },
        { "echo not again >&2; exit 65", "not again", "archived" },
        { "echo later >&2; exit 75", "later", "retry" },
        { "kill -SEGV $$", "signal: SIGSEGV", "retry" },
        { "printf 'a\\377b' >&2; exit 1",
          "a\xef\xbf\xbd"
          "b",
          "retry" },
    };

    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        fixture f;

        start_shell(&f, rows[i].script);
        run(&f, CRONQ_TASK(.type = "t", .id = "1"));
        assert_string_equal(f.why.text, rows[i].text);
        assert_int_equal(
            redis_server_int(f.redis, "ZCARD asynq:{default}:%s", rows[i].set), 1);
        stop(&f);
    }
}

/* 75 again and again: neither the retries nor the failures of the day go up. */
static void retry_later_uses_up_no_retry(void **state)
{
    fixture f;

    (void)state;
    start_shell(&f, "exit 75");
    run(&f, CRONQ_TASK(.type = "t", .id = "1", .max_retry = CRONQ_NO_RETRY));
    assert_int_equal(redis_server_int(f.redis, "ZCARD asynq:{default}:retry"), 1);
    assert_int_equal(redis_server_int(f.redis, "ZCARD asynq:{default}:archived"), 0);
    stop(&f);
}

/* One argument each, whatever is in it: no word is split and no sign is special. */
static void placeholders_become_one_argument_each(void **state)
{
    static const struct {
        const char *payload, *result;
    } rows[] = {
        { "{\"name\": \"a; $(touch /tmp/x) '\\\" *\"}", "[a; $(touch /tmp/x) '\" *]" },
        { "{\"name\": \"\"}", "[]" },
        { "{\"name\": \"-n\"}", "[-n]" },
        { "{\"name\": 1.5}", "[1.5]" },
        { "{\"name\": true}", "[true]" },
        { "{\"name\": [1, {\"a\": \"b c\"}]}", "[[1,{\"a\":\"b c\"}]]" },
        { "{\"name\": \"line\\nline\"}", "[line\nline]" },
    };

    (void)state;
    for (size_t i = 0; i < 2 * ROWS(rows); i++) {
        const char *payload = rows[i / 2].payload;
        char wanted[200];
        fixture f;

        snprintf(wanted, sizeof wanted, "%s[x y][{x}/{print}]%s", rows[i / 2].result,
                 i % 2 ? "[3]" : "");
        if (i % 2)
            start(&f, CRONQ_COMMAND_OPTIONS(.argv =
                                                (const char *const[]){
                                                    "printf '[%s]' \"$@\" $#",
                                                    "{payload.name}", "x y",
                                                    "{x}/{print}", NULL },
                                            .shell = true));
        else
            start(&f, CRONQ_COMMAND_OPTIONS(.argv = (const char *const[]){
                                                "printf", "--", "[%s]", "{payload.name}",
                                                "x y", "{x}/{print}", NULL }));
        run(&f, CRONQ_TASK(.type = "t", .id = "1", .retain_for_ms = 60000,
                           .payload = { payload, strlen(payload) }));
        expect_result(&f, wanted);
        stop(&f);
    }
}

static void placeholders_of_the_task_are_filled_in(void **state)
{
    static const char *const argv[] = { "echo",    "{task_id}",   "{queue}",   "{type}",
                                        "{retry}", "{max_retry}", "{payload}", NULL };
    fixture f;

    (void)state;
    start(&f, CRONQ_COMMAND_OPTIONS(.argv = argv));
    run(&f, CRONQ_TASK(.type = "t:x", .id = "1", .retain_for_ms = 60000, .max_retry = 3,
                       .payload = CRONQ_LIT("all of it")));
    expect_result(&f, "1 default t:x 0 3 all of it\n");
    stop(&f);
}

/* However often it is tried, the task stays what it is. */
static void text_that_fits_no_placeholder_is_not_tried_again(void **state)
{
    static const struct {
        const char *arg;
        cronq_bytes payload;
        const char *text;
    } rows[] = {
        { "{payload.a}", CRONQ_LIT("no json"), "{payload.a}: the payload is not a JSON" },
        { "{payload.a}", CRONQ_LIT("[1]"), "{payload.a}: the payload is not a JSON" },
        { "{payload.a}", CRONQ_LIT(""), "{payload.a}: the payload is not a JSON" },
        { "{payload.a}", CRONQ_LIT("{}"), "the payload has no member \"a\"" },
        { "{payload.a}", CRONQ_LIT("{\"a\":null}"), "the payload has no member \"a\"" },
        { "{payload.a}", CRONQ_LIT("{\"a\":\"-rf\"}"), "begins with \"-\"" },
        { "{payload}", CRONQ_LIT("-rf"), "{payload}: it begins with \"-\"" },
        { "{payload}", CRONQ_LIT("a\0b"), "{payload}: it has a NUL" },
    };

    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        const char *const argv[] = { "echo", rows[i].arg, NULL };
        fixture f;

        start(&f, CRONQ_COMMAND_OPTIONS(.argv = argv));
        run(&f, CRONQ_TASK(.type = "t", .id = "1", .payload = rows[i].payload));
        assert_non_null(strstr(f.why.text, rows[i].text));
        assert_int_equal(redis_server_int(f.redis, "ZCARD asynq:{default}:archived"), 1);
        stop(&f);
    }
}

static void program_that_is_missing_is_a_failure(void **state)
{
    fixture f;

    (void)state;
    start(&f, CRONQ_COMMAND_OPTIONS(.argv = (const char *const[]){ "no-such", NULL }));
    run(&f, CRONQ_TASK(.type = "t", .id = "1"));
    assert_string_equal(f.why.text, "there is no program no-such in PATH");
    stop(&f);
}

static void time_of_the_task_stops_the_command(void **state)
{
    int64_t start_ms;
    fixture f;

    (void)state;
    start_shell(&f, "sleep 30 & wait");
    start_ms = cq_mono_ms();
    run(&f, CRONQ_TASK(.type = "t", .id = "1", .timeout_ms = 1000));
    assert_in_range(cq_mono_ms() - start_ms, 900, 4000);
    assert_string_equal(f.why.text, "context deadline exceeded");
    assert_int_equal(redis_server_int(f.redis, "ZCARD asynq:{default}:retry"), 1);
    stop(&f);
}

static void time_of_the_command_stops_it_too(void **state)
{
    static const char *const argv[] = { "sleep", "30", NULL };
    fixture f;

    (void)state;
    start(&f, CRONQ_COMMAND_OPTIONS(.argv = argv, .timeout_ms = 100));
    run(&f, CRONQ_TASK(.type = "t", .id = "1"));
    assert_string_equal(f.why.text, "stopped: it took longer than 100 ms");
    stop(&f);
}

static void stop_of_the_worker_stops_the_command(void **state)
{
    cronq_error err = { 0 };
    int64_t start_ms;
    fixture f;

    (void)state;
    start_shell(&f, "sleep 4712");
    must(cronq_client_push(f.client, CRONQ_TASK(.type = "t", .id = "1"), NULL, &err),
         &err);
    must(cronq_server_start(f.server, &err), &err);
    for (int i = 0; i < 500 && system("pgrep -f '^sleep 4712$' >/dev/null") != 0; i++)
        cq_sleep_ms(10);
    start_ms = cq_mono_ms();
    must(cronq_server_stop(f.server, &err), &err);
    assert_true(cq_mono_ms() - start_ms < 3000);
    assert_int_not_equal(system("pgrep -f '^sleep 4712$' >/dev/null"), 0);
    assert_int_equal(redis_server_int(f.redis, "LLEN asynq:{default}:pending"), 1);
    stop(&f);
}

static void result_that_is_cut_is_logged(void **state)
{
    fixture f;

    (void)state;
    start_shell(&f, "head -c 70000 /dev/zero");
    run(&f, CRONQ_TASK(.type = "t", .id = "1", .retain_for_ms = 60000));
    assert_int_equal(redis_server_int(f.redis, "HSTRLEN asynq:{default}:t:1 result"),
                     65536);
    assert_non_null(strstr(f.log, "more than 65536 bytes"));
    stop(&f);
}

static void wrong_options_name_the_field(void **state)
{
    static const char *const argv[] = { "x", NULL }, *const none[] = { NULL },
                             *const blank[] = { "", NULL }, *const env[] = { "A", NULL };
    static const char *const first[] = { "{payload}", NULL },
                             *const inner[] = { "x", "--a={payload.a}", NULL },
                             *const script[] = { "echo {payload}", NULL };
    const struct {
        const cronq_command_options *options;
        const char *text;
    } rows[] = {
        { CRONQ_COMMAND_OPTIONS(.argv = NULL), "argv is empty" },
        { CRONQ_COMMAND_OPTIONS(.argv = none), "argv is empty" },
        { CRONQ_COMMAND_OPTIONS(.argv = blank), "argv is empty" },
        { CRONQ_COMMAND_OPTIONS(.argv = argv, .env = env), "env[0] is not NAME=VALUE" },
        { CRONQ_COMMAND_OPTIONS(.argv = argv, .timeout_ms = -1), "timeout_ms -1" },
        { CRONQ_COMMAND_OPTIONS(.argv = argv, .kill_grace_ms = -1), "kill_grace_ms -1" },
        { CRONQ_COMMAND_OPTIONS(.argv = argv, .output_bytes = 2 << 20), "output_bytes" },
        { CRONQ_COMMAND_OPTIONS(.argv = argv, .memory_bytes = -1), "memory_bytes -1" },
        { CRONQ_COMMAND_OPTIONS(.argv = argv, .cgroup = "/tmp"),
          "/tmp is not a cgroup2" },
        { CRONQ_COMMAND_OPTIONS(.argv = argv, .user = "no-such"), "no user no-such" },
        { CRONQ_COMMAND_OPTIONS(.argv = argv, .user = "64917"), "a group is needed" },
        { CRONQ_COMMAND_OPTIONS(.argv = argv, .group = "no-such"), "no group no-such" },
        { CRONQ_COMMAND_OPTIONS(.argv = first), "argv[0]: the program can not be" },
        { CRONQ_COMMAND_OPTIONS(.argv = inner), "argv[1]: {payload.a} must be" },
        { CRONQ_COMMAND_OPTIONS(.argv = script, .shell = true),
          "argv[0]: {payload} must" },
        { NULL, "argv is empty" },
    };

    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        cronq_command *command = NULL;
        cronq_error err = { 0 };

        assert_int_equal(cronq_command_new(rows[i].options, &command, &err),
                         CRONQ_EINVAL);
        assert_non_null(strstr(err.text, rows[i].text));
        assert_null(command);
    }
    cronq_command_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(success_keeps_the_output_as_the_result),
        cmocka_unit_test(success_without_retention_leaves_nothing),
        cmocka_unit_test(environment_is_the_allowed_and_the_task),
        cmocka_unit_test(header_that_is_no_trace_is_not_passed_on),
        cmocka_unit_test(each_bad_end_has_its_place_and_text),
        cmocka_unit_test(retry_later_uses_up_no_retry),
        cmocka_unit_test(placeholders_become_one_argument_each),
        cmocka_unit_test(placeholders_of_the_task_are_filled_in),
        cmocka_unit_test(text_that_fits_no_placeholder_is_not_tried_again),
        cmocka_unit_test(program_that_is_missing_is_a_failure),
        cmocka_unit_test(time_of_the_task_stops_the_command),
        cmocka_unit_test(time_of_the_command_stops_it_too),
        cmocka_unit_test(stop_of_the_worker_stops_the_command),
        cmocka_unit_test(result_that_is_cut_is_logged),
        cmocka_unit_test(wrong_options_name_the_field),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
