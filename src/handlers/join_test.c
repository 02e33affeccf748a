/* SPDX-License-Identifier: MIT */
/* join_test.c - payloads of groups joined by a server on an embedded store. */
#include "base/clock.h"
#include "base/thread.h"
#include "support/scratch.h"

#include <cronq/client.h>
#include <cronq/handlers.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define PATIENCE_NS (20 * CQ_NS_PER_S)

static char seen[4096];
static atomic_bool has_run;

static cronq_status keep(cronq_attempt *attempt, void *arg)
{
    cronq_bytes payload = cronq_attempt_payload(attempt);

    (void)arg;
    snprintf(seen, sizeof seen, "%s|%.*s", cronq_attempt_type(attempt), (int)payload.len,
             (const char *)payload.data);
    has_run = true;
    return CRONQ_OK;
}

static void push_all(const char *uri, const cronq_bytes *payloads, size_t count)
{
    cronq_client *client;

    assert_int_equal(cronq_client_new(uri, NULL, &client, NULL), CRONQ_OK);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(cronq_client_push(client,
                                           CRONQ_TASK(.type = "t", .group = "G",
                                                      .payload = payloads[i]),
                                           NULL, NULL),
                         CRONQ_OK);
    cronq_client_free(client);
}

/* What the merged task of these payloads is: TYPE|PAYLOAD, in `seen`. */
static void merge(cronq_join_kind kind, const cronq_bytes *payloads, size_t count)
{
    int64_t until_ns = cq_mono_ns() + PATIENCE_NS;
    cronq_join how = { .type = "all", .kind = kind };
    char room[SCRATCH_ROOM], uri[SCRATCH_ROOM + 32];
    cronq_server *server;

    has_run = false;
    snprintf(uri, sizeof uri, "sqlite:%s/cronq.db", scratch_new(room));
    push_all(uri, payloads, count);
    assert_int_equal(
        cronq_server_new(uri,
                         CRONQ_SERVER_OPTIONS(.aggregator = cronq_join_payloads,
                                              .aggregator_arg = &how,
                                              .group_max_size = (uint32_t)count),
                         &server, NULL),
        CRONQ_OK);
    assert_int_equal(cronq_server_add(server, "all", keep, NULL, NULL, NULL), CRONQ_OK);
    assert_int_equal(cronq_server_start(server, NULL), CRONQ_OK);
    while (!has_run && cq_mono_ns() < until_ns)
        cq_sleep_ms(5);
    cronq_server_free(server);
    scratch_remove(room);
    assert_true(has_run);
}

static void lines_are_the_payloads_with_a_newline_each(void **state)
{
    const cronq_bytes payloads[] = { CRONQ_LIT("one"), CRONQ_LIT(""), CRONQ_LIT("{") };

    (void)state;
    merge(CRONQ_JOIN_LINES, payloads, 3);
    assert_string_equal(seen, "all|one\n\n{\n");
}

static void an_array_has_json_as_it_is_and_the_rest_as_strings(void **state)
{
    const cronq_bytes payloads[] = {
        CRONQ_LIT("{\"a\": [1.50, null]}"),
        CRONQ_LIT("12345678901234567890123"),
        CRONQ_LIT("1\n"),
        CRONQ_LIT("\"x\\u0000\""),
        CRONQ_LIT("one"),
        CRONQ_LIT(""),
        CRONQ_LIT("{} {}"),
        CRONQ_LIT("[1,]"),
        CRONQ_LIT("\"\xff\""),
    };

    (void)state;
    merge(CRONQ_JOIN_JSON_ARRAY, payloads, sizeof payloads / sizeof payloads[0]);
    assert_string_equal(seen, "all|[{\"a\": [1.50, null]},12345678901234567890123,1\n,"
                              "\"x\\u0000\",\"one\",\"\",\"{} {}\",\"[1,]\","
                              "\"\\\"\xEF\xBF\xBD\\\"\"]");
}

static void a_join_needs_its_type(void **state)
{
    cronq_error err = { 0 };
    cronq_join how = { 0 };

    (void)state;
    assert_int_equal(cronq_join_payloads(NULL, &how, &err), CRONQ_EINVAL);
    assert_true(strlen(err.text) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_the_payloads_with_a_newline_each),
        cmocka_unit_test(an_array_has_json_as_it_is_and_the_rest_as_strings),
        cmocka_unit_test(a_join_needs_its_type),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
