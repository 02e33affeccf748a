/* SPDX-License-Identifier: MIT */
/* bad_input_test.c - what a client refuses, with a status and a sentence, storing
 * nothing.
 */
#include "client/client.h"

#include "base/clock.h"
#include "client/internal.h"
#include "support/redis_server.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof(a)[0])

static redis_server *server;
static cronq_client *client;

static int start(void **state)
{
    cronq_error err = { .text = "" };

    (void)state;
    server = redis_server_start(NULL);
    if (cronq_client_new(redis_server_uri(server), NULL, &client, &err))
        fail_msg("%s", err.text);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    cronq_client_free(client);
    redis_server_stop(server);
    return 0;
}

/* Every text must hold these words: the field, and the value or the limit. */
typedef struct bad_task {
    cronq_task task;
    cronq_status status;
    const char *words[3];
} bad_task;

#define TASK(...)                                      \
    {                                                  \
        .struct_size = sizeof(cronq_task), __VA_ARGS__ \
    }

static const cronq_header no_key[] = { { NULL, "v" } };
static const cronq_header empty_key[] = { { "a", "v" }, { "", "v" } };
static const cronq_header twice[] = { { "a", "1" }, { "b", "2" }, { "a", "3" } };
static const cronq_header odd_key[] = { { "\xC3(", "1" } };
static const cronq_header odd_value[] = { { "k", "\xFF" } };

static const bad_task bad_tasks[] = {
    { TASK(.id = "x"), CRONQ_EINVAL, { "type" } },
    { TASK(.type = ""), CRONQ_EINVAL, { "type", "blank" } },
    { TASK(.type = " \t"), CRONQ_EINVAL, { "type" } },
    { TASK(.type = "a\nb"), CRONQ_EINVAL, { "type", "a\\nb", "control" } },
    { TASK(.type = "\xC3("), CRONQ_EINVAL, { "type", "UTF-8" } },
    { TASK(.type = "t", .queue = ""), CRONQ_EINVAL, { "queue", "blank" } },
    { TASK(.type = "t", .queue = "a{b"), CRONQ_EINVAL, { "queue", "a{b", "brace" } },
    { TASK(.type = "t", .queue = "a}b"), CRONQ_EINVAL, { "queue", "a}b" } },
    { TASK(.type = "t", .queue = "a\x01"), CRONQ_EINVAL, { "queue", "control" } },
    { TASK(.type = "t", .queue = "\xED\xA0\x80"), CRONQ_EINVAL, { "queue", "UTF-8" } },
    { TASK(.type = "t", .id = ""), CRONQ_EINVAL, { "task id" } },
    { TASK(.type = "t", .id = "\xFF"), CRONQ_EINVAL, { "task id", "UTF-8" } },
    { TASK(.type = "t", .group = ""), CRONQ_EINVAL, { "group" } },
    { TASK(.type = "t", .group = "\xFF"), CRONQ_EINVAL, { "group", "UTF-8" } },
    { TASK(.type = "t", .payload = { NULL, 5 }), CRONQ_EINVAL, { "payload", "5" } },
    { TASK(.type = "t", .timeout_ms = -1), CRONQ_EINVAL, { "timeout_ms", "-1" } },
    { TASK(.type = "t", .timeout_ms = INT64_MIN), CRONQ_EINVAL, { "timeout_ms" } },
    { TASK(.type = "t", .timeout_ms = (int64_t)1 << 62),
      CRONQ_EINVAL,
      { "timeout_ms", "4611686018427387904", "9223372036000" } },
    { TASK(.type = "t", .deadline_at_ms = -5), CRONQ_EINVAL, { "deadline_at_ms", "-5" } },
    { TASK(.type = "t", .deadline_at_ms = 1000),
      CRONQ_EINVAL,
      { "deadline_at_ms", "1000" } },
    { TASK(.type = "t", .deadline_at_ms = INT64_MAX),
      CRONQ_EINVAL,
      { "deadline_at_ms" } },
    { TASK(.type = "t", .process_at_ms = INT64_MAX), CRONQ_EINVAL, { "process_at_ms" } },
    { TASK(.type = "t", .process_in_ms = -1), CRONQ_EINVAL, { "process_in_ms", "-1" } },
    { TASK(.type = "t", .process_in_ms = INT64_MAX), CRONQ_EINVAL, { "process_in_ms" } },
    { TASK(.type = "t", .process_at_ms = 5, .process_in_ms = 7),
      CRONQ_EINVAL,
      { "process_at_ms is 5", "process_in_ms is 7" } },
    { TASK(.type = "t", .retain_for_ms = -1), CRONQ_EINVAL, { "retain_for_ms", "-1" } },
    { TASK(.type = "t", .retain_for_ms = INT64_MAX), CRONQ_EINVAL, { "retain_for_ms" } },
    { TASK(.type = "t", .unique_for_ms = -1), CRONQ_EINVAL, { "unique_for_ms", "-1" } },
    { TASK(.type = "t", .unique_for_ms = 999),
      CRONQ_EINVAL,
      { "unique_for_ms", "999", "1000" } },
    { TASK(.type = "t", .unique_for_ms = INT64_MAX), CRONQ_EINVAL, { "unique_for_ms" } },
    { TASK(.type = "t", .flags = 4), CRONQ_EINVAL, { "flags", "4" } },
    { TASK(.type = "t", .header_count = 2), CRONQ_EINVAL, { "headers", "2" } },
    { TASK(.type = "t", .headers = twice, .header_count = 1001),
      CRONQ_ETOOBIG,
      { "header_count", "1001", "1000" } },
    { TASK(.type = "t", .headers = no_key, .header_count = 1),
      CRONQ_EINVAL,
      { "header 0" } },
    { TASK(.type = "t", .headers = empty_key, .header_count = 2),
      CRONQ_EINVAL,
      { "header 1", "empty" } },
    { TASK(.type = "t", .headers = twice, .header_count = 3),
      CRONQ_EINVAL,
      { "header 2", "\"a\"", "twice" } },
    { TASK(.type = "t", .headers = odd_key, .header_count = 1),
      CRONQ_EINVAL,
      { "header 0", "key", "UTF-8" } },
    { TASK(.type = "t", .headers = odd_value, .header_count = 1),
      CRONQ_EINVAL,
      { "header 0", "value", "UTF-8" } },
    { { .type = "t" }, CRONQ_EINVAL, { "cronq_task", "struct_size" } },
};

static void check_refused(cronq_status status, const cronq_error *err,
                          cronq_status expected, const char *const *words)
{
    if (status != expected)
        fail_msg("%s, not %s: %s", cronq_status_name(status), cronq_status_name(expected),
                 err->text);
    assert_int_equal(err->code, expected);
    for (size_t i = 0; i < 3 && words[i]; i++)
        if (!strstr(err->text, words[i]))
            fail_msg("\"%s\" does not say \"%s\"", err->text, words[i]);
}

static void a_bad_task_is_refused_with_its_field_and_value(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(bad_tasks); i++) {
        const bad_task *bad = &bad_tasks[i];
        cronq_task_info *info = NULL;
        cronq_error err = { .text = "" };

        check_refused(cronq_client_push(client, &bad->task, &info, &err), &err,
                      bad->status, bad->words);
        assert_null(info);
        assert_int_equal(cronq_client_push(client, &bad->task, NULL, NULL), bad->status);
    }
    assert_int_equal(redis_server_int(server, "DBSIZE"), 0);
}

static void names_end_at_their_limits(void **state)
{
    char name[1100];
    cronq_error err = { .text = "" };

    (void)state;
    memset(name, 'n', sizeof name);
    name[1024] = '\0';
    assert_int_equal(
        cronq_client_push(client, CRONQ_TASK(.type = name, .id = name), NULL, &err),
        CRONQ_OK);
    name[1024] = 'n';
    name[1025] = '\0';
    assert_int_equal(cronq_client_push(client, CRONQ_TASK(.type = name), NULL, &err),
                     CRONQ_EINVAL);
    assert_non_null(strstr(err.text, "1024"));
    assert_int_equal(
        cronq_client_push(client, CRONQ_TASK(.type = "t", .id = name), NULL, &err),
        CRONQ_EINVAL);
    name[200] = '\0';
    assert_int_equal(
        cronq_client_push(client, CRONQ_TASK(.type = "t", .queue = name), NULL, &err),
        CRONQ_OK);
    name[200] = 'n';
    name[201] = '\0';
    assert_int_equal(
        cronq_client_push(client, CRONQ_TASK(.type = "t", .queue = name), NULL, &err),
        CRONQ_EINVAL);
    assert_non_null(strstr(err.text, "200"));
    redis_server_do(server, "FLUSHALL");
}

static void a_thousand_headers_are_stored(void **state)
{
    cronq_header *headers = calloc(1000, sizeof *headers);
    char(*keys)[8] = calloc(1000, sizeof *keys);
    cronq_error err = { .text = "" };

    (void)state;
    for (size_t i = 0; i < 1000; i++) {
        snprintf(keys[i], sizeof keys[i], "k%zu", i);
        headers[i] = (cronq_header){ keys[i], NULL };
    }
    assert_int_equal(cronq_client_push(client,
                                       CRONQ_TASK(.type = "t", .headers = headers,
                                                  .header_count = 1000),
                                       NULL, &err),
                     CRONQ_OK);
    free(keys);
    free(headers);
    redis_server_do(server, "FLUSHALL");
}

static void headers_together_have_a_limit(void **state)
{
    cronq_header header = { "k", NULL };
    cronq_error err = { .text = "" };
    char *value = malloc(1 << 20);

    (void)state;
    memset(value, 'v', (1 << 20) - 1);
    value[(1 << 20) - 1] = '\0';
    header.value = value;
    assert_int_equal(
        cronq_client_push(client,
                          CRONQ_TASK(.type = "t", .headers = &header, .header_count = 1),
                          NULL, &err),
        CRONQ_OK);
    header.key = "kk";
    assert_int_equal(
        cronq_client_push(client,
                          CRONQ_TASK(.type = "t", .headers = &header, .header_count = 1),
                          NULL, &err),
        CRONQ_ETOOBIG);
    assert_non_null(strstr(err.text, "1048577"));
    free(value);
    redis_server_do(server, "FLUSHALL");
}

static void payloads_end_at_the_clients_limit(void **state)
{
    const size_t limit = (size_t)1 << 20;
    char *payload = calloc(1, limit + 1);
    cronq_error err = { .text = "" };
    cronq_task task = TASK(.type = "t", .payload = { payload, limit + 1 });
    cronq_client *small;
    json_t *text;

    (void)state;
    assert_int_equal(cronq_client_push(client, &task, NULL, &err), CRONQ_ETOOBIG);
    assert_non_null(strstr(err.text, "1048577"));
    assert_non_null(strstr(err.text, "1048576"));
    for (size_t len = 0; len <= limit; len = len ? len * 1024 : 1) {
        task.payload.len = len;
        assert_int_equal(cronq_client_push(client, &task, NULL, &err), CRONQ_OK);
    }
    free(payload);
    assert_int_equal(cronq_client_new(redis_server_uri(server),
                                      CRONQ_CLIENT_OPTIONS(.payload_limit_bytes = 4),
                                      &small, &err),
                     CRONQ_OK);
    text = json_string("abc");
    assert_int_equal(
        cronq_client_push_json(small, CRONQ_TASK(.type = "t"), text, NULL, &err),
        CRONQ_ETOOBIG);
    assert_non_null(strstr(err.text, "5 bytes"));
    json_decref(text);
    assert_int_equal(
        cronq_client_push_pack(small, CRONQ_TASK(.type = "t"), NULL, &err, "[i]", 12),
        CRONQ_OK);
    cronq_client_free(small);
    redis_server_do(server, "FLUSHALL");
}

static void a_bad_json_payload_is_refused(void **state)
{
    const cronq_task *task = CRONQ_TASK(.type = "t");
    json_t *loop = json_array(), *inner = json_array();
    cronq_error err = { .text = "" };

    (void)state;
    json_array_append(loop, inner);
    json_array_append(inner, loop);
    assert_int_equal(cronq_client_push_json(client, task, loop, NULL, &err),
                     CRONQ_EINVAL);
    json_array_clear(inner);
    assert_int_equal(
        cronq_client_push_json(client, CRONQ_TASK(.type = "t", .payload = CRONQ_LIT("p")),
                               inner, NULL, &err),
        CRONQ_EINVAL);
    assert_non_null(strstr(err.text, "payload"));
    json_decref(inner);
    json_decref(loop);
    assert_int_equal(cronq_client_push_json(client, task, NULL, NULL, &err),
                     CRONQ_EINVAL);
    assert_int_equal(cronq_client_push_json(client, NULL, NULL, NULL, &err),
                     CRONQ_EINVAL);
    assert_int_equal(cronq_client_push_pack(client, task, NULL, &err, "{s:q}", "a", 1),
                     CRONQ_EINVAL);
    assert_non_null(strstr(err.text, "position"));
    assert_int_equal(
        cronq_client_push_pack(client, task, NULL, &err, "{s:s}", "a", "\xFF"),
        CRONQ_EINVAL);
    assert_int_equal(cronq_client_push_pack(client, task, NULL, &err, NULL),
                     CRONQ_EINVAL);
    assert_int_equal(redis_server_int(server, "DBSIZE"), 0);
}

static void a_call_with_a_time_and_a_task_with_one_is_refused(void **state)
{
    const cronq_task *task = CRONQ_TASK(.type = "t", .process_in_ms = 5);
    cronq_error err = { .text = "" };

    (void)state;
    assert_int_equal(cronq_client_push_in(client, task, 10, NULL, &err), CRONQ_EINVAL);
    assert_non_null(strstr(err.text, "process_in_ms is 5"));
    assert_int_equal(cronq_client_push_at(client, task, 10, NULL, &err), CRONQ_EINVAL);
    task = CRONQ_TASK(.type = "t");
    assert_int_equal(cronq_client_push_in(client, task, -1, NULL, &err), CRONQ_EINVAL);
    assert_non_null(strstr(err.text, "delay_ms is -1"));
    assert_int_equal(cronq_client_push_in(client, task, INT64_MAX, NULL, &err),
                     CRONQ_EINVAL);
    assert_int_equal(cronq_client_push_at(client, task, INT64_MAX, NULL, &err),
                     CRONQ_EINVAL);
    assert_non_null(strstr(err.text, "at_ms"));
    assert_int_equal(redis_server_int(server, "DBSIZE"), 0);
}

static void a_null_is_refused(void **state)
{
    cronq_error err = { .text = "" };
    cronq_client *none = NULL;

    (void)state;
    assert_int_equal(cronq_client_push(client, NULL, NULL, &err), CRONQ_EINVAL);
    assert_int_equal(cronq_client_push(NULL, CRONQ_TASK(.type = "t"), NULL, &err),
                     CRONQ_EINVAL);
    assert_int_equal(cronq_client_push_many(client, NULL, 3, NULL, NULL, &err),
                     CRONQ_EINVAL);
    assert_int_equal(cronq_client_ping(NULL, &err), CRONQ_EINVAL);
    assert_int_equal(cronq_client_new(NULL, NULL, &none, &err), CRONQ_EINVAL);
    assert_null(none);
    cronq_client_free(NULL);
}

static void bad_options_are_refused(void **state)
{
    struct {
        cronq_client_options options;
        int64_t from_the_future;
    } newer = { { .struct_size = sizeof newer }, 1 };
    const cronq_client_options bad[] = {
        { .struct_size = 0 },
        { .struct_size = sizeof bad[0], .payload_limit_bytes = ((size_t)512 << 20) + 1 },
        { .struct_size = sizeof bad[0], .push_timeout_ms = -2 },
    };
    const char *uri = redis_server_uri(server);
    cronq_error err = { .text = "" };
    cronq_client *none = NULL;

    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_int_equal(cronq_client_new(uri, &bad[i], &none, &err), CRONQ_EINVAL);
    assert_int_equal(cronq_client_new(uri, &newer.options, &none, &err), CRONQ_ESIZE);
    assert_int_equal(cronq_client_new("", NULL, &none, &err), CRONQ_EINVAL);
    assert_int_equal(cronq_client_new("nonsense", NULL, &none, &err), CRONQ_EINVAL);
    assert_int_equal(cronq_client_new("sqlite:", NULL, &none, &err), CRONQ_EINVAL);
    assert_null(none);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bad_task_is_refused_with_its_field_and_value),
        cmocka_unit_test(names_end_at_their_limits),
        cmocka_unit_test(a_thousand_headers_are_stored),
        cmocka_unit_test(headers_together_have_a_limit),
        cmocka_unit_test(payloads_end_at_the_clients_limit),
        cmocka_unit_test(a_bad_json_payload_is_refused),
        cmocka_unit_test(a_call_with_a_time_and_a_task_with_one_is_refused),
        cmocka_unit_test(a_null_is_refused),
        cmocka_unit_test(bad_options_are_refused),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
