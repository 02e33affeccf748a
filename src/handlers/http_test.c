/* SPDX-License-Identifier: MIT */
/* http_test.c - HTTP requests as tasks of a real worker, to a real server of the test. */
#include "base/clock.h"
#include "handlers/signature.h"
#include "support/certs.h"
#include "support/http_peer.h"

#include <cronq/client.h>
#include <cronq/handlers.h>
#include <cronq/inspector.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define ROWS(rows) (sizeof(rows) / sizeof(rows)[0])
#define OK_ANSWER  "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\ndone\n"

/* One worker on a store of its own file, one request for tasks of type "t". */
typedef struct fixture {
    char dir[40], uri[80], url[120];
    http_peer *peer;
    cronq_server *server;
    cronq_client *client;
    cronq_inspector *inspector;
    cronq_http *http;
    cronq_error why;
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
    f->why = *why;
}

/* options without a URL get that of the peer. */
static void start_with(fixture *f, http_peer *peer, const char *scheme,
                       cronq_http_options options)
{
    cronq_error err = { 0 };

    memset(f, 0, sizeof *f);
    snprintf(f->dir, sizeof f->dir, "/tmp/cronq-http-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->uri, sizeof f->uri, "sqlite:%s/store", f->dir);
    f->peer = peer;
    snprintf(f->url, sizeof f->url, "%s://127.0.0.1:%d/hook?a=b", scheme,
             http_peer_port(peer));
    if (!options.url)
        options.url = f->url;
    must(cronq_http_new(&options, &f->http, &err), &err);
    must(cronq_server_new(f->uri,
                          CRONQ_SERVER_OPTIONS(.concurrency = 1, .on_error = keep_error,
                                               .on_error_arg = f,
                                               .shutdown_timeout_ms = 100),
                          &f->server, &err),
         &err);
    must(cronq_client_new(f->uri, NULL, &f->client, &err), &err);
    must(cronq_inspector_new(f->uri, NULL, &f->inspector, &err), &err);
    must(cronq_server_add(f->server, "t", cronq_http_handle, f->http, NULL, &err), &err);
}

static void start(fixture *f, cronq_http_options options)
{
    http_peer *peer = http_peer_start(NULL, NULL);

    http_peer_answer(peer, OK_ANSWER);
    options.allow_private = true;
    start_with(f, peer, "http", options);
}

#define OPTIONS(...) (*CRONQ_HTTP_OPTIONS(__VA_ARGS__))

static void stop(fixture *f)
{
    char command[80];

    cronq_server_free(f->server);
    cronq_client_free(f->client);
    cronq_inspector_free(f->inspector);
    cronq_http_free(f->http);
    http_peer_stop(f->peer);
    snprintf(command, sizeof command, "rm -r %s", f->dir);
    assert_int_equal(system(command), 0);
}

static void push(fixture *f, const cronq_task *task)
{
    cronq_error err = { 0 };

    must(cronq_client_push(f->client, task, NULL, &err), &err);
}

static void run(fixture *f, const cronq_task *task)
{
    cronq_error err = { 0 };

    push(f, task);
    must(cronq_server_drain(f->server, &err), &err);
}

static cronq_task_info *look(fixture *f, const char *id)
{
    cronq_task_info *info = NULL;
    cronq_error err = { 0 };

    must(cronq_inspector_task(f->inspector, "default", id, &info, &err), &err);
    return info;
}

static bool heard(fixture *f, const char *text)
{
    return strstr(http_peer_head(f->peer), text) != NULL;
}

static void request_says_what_the_task_is(void **state)
{
    static const cronq_header of_task[] = {
        { "traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" }
    };
    static const cronq_header headers[] = { { "X-Own", "a b" }, { "X-Empty", "" } };
    cronq_task_info *info;
    fixture f;
    size_t len;

    (void)state;
    start(&f, OPTIONS(.headers = headers, .header_count = 2));
    run(&f, CRONQ_TASK(.type = "t:x", .id = "a b: 100%\xc3\xa9", .max_retry = 7,
                       .payload = CRONQ_LIT("pay\0load"), .retain_for_ms = 60000,
                       .headers = of_task, .header_count = 1));
    assert_true(heard(&f, "POST /hook?a=b HTTP/1.1\r\n"));
    assert_true(heard(&f, "\r\nCronq-Task-Id: a%20b:%20100%25%C3%A9\r\n"));
    assert_true(heard(&f, "\r\nCronq-Queue: default\r\nCronq-Type: t:x\r\nCronq-Retry: "
                          "0\r\nCronq-Max-Retry: 7\r\n"));
    assert_true(heard(&f, "\r\ntraceparent: 00-0af7651916cd43dd8448eb211c80319c"));
    assert_true(heard(&f, "\r\nX-Own: a b\r\nX-Empty:\r\n"));
    assert_true(heard(&f, "\r\nContent-Type: application/octet-stream\r\n"));
    assert_true(heard(&f, "\r\nUser-Agent: cronq/"));
    assert_false(heard(&f, "Expect"));
    assert_memory_equal(http_peer_body(f.peer, &len), "pay\0load", 8);
    assert_int_equal(len, 8);
    info = look(&f, "a b: 100%\xc3\xa9");
    assert_int_equal(cronq_task_info_result(info).len, 5);
    assert_memory_equal(cronq_task_info_result(info).data, "done\n", 5);
    cronq_task_info_free(info);
    stop(&f);
}

static void body_is_a_template_of_json(void **state)
{
    static const cronq_header headers[] = { { "content-type", "text/x" } };
    fixture f;
    size_t len;

    (void)state;
    start(&f, OPTIONS(.method = "PUT", .headers = headers, .header_count = 1,
                      .body = "{\"id\": {task_id}, \"n\": {payload.n}, \"s\": "
                              "{payload.s}, \"all\": {payload}, {x} {retry}}"));
    run(&f, CRONQ_TASK(.type = "t", .id = "a\"b",
                       .payload = CRONQ_LIT("{\"n\": [1, 2], \"s\": \"q\\\"\\n\"}")));
    assert_true(heard(&f, "PUT /hook"));
    assert_true(heard(&f, "\r\ncontent-type: text/x\r\n"));
    assert_false(heard(&f, "application/"));
    assert_string_equal(
        http_peer_body(f.peer, &len),
        "{\"id\": \"a\\\"b\", \"n\": [1,2], \"s\": \"q\\\"\\n\", \"all\": "
        "{\"n\": [1, 2], \"s\": \"q\\\"\\n\"}, {x} 0}");
    stop(&f);
}

static void get_has_no_body(void **state)
{
    fixture f;
    size_t len;

    (void)state;
    start(&f, OPTIONS(.method = "GET"));
    run(&f, CRONQ_TASK(.type = "t", .payload = CRONQ_LIT("x")));
    assert_true(heard(&f, "GET /hook"));
    assert_false(heard(&f, "Content-"));
    http_peer_body(f.peer, &len);
    assert_int_equal(len, 0);
    stop(&f);
}

/* Where the task is afterwards, the text of its failure, and when it runs again. */
static void each_status_has_its_outcome(void **state)
{
    static const struct {
        const char *answer;
        cronq_state set;
        const char *text;
        int64_t wait_s; /* 0: the worker's own */
        int retried;
    } rows[] = {
        { "201 Created\r\n", CRONQ_STATE_COMPLETED, "", 0, 0 },
        { "204 No Content\r\n", CRONQ_STATE_COMPLETED, "", 0, 0 },
        { "302 Found\r\nLocation: /there\r\n", CRONQ_STATE_RETRY,
          "HTTP 302: redirects are not followed", 0, 1 },
        { "400 Bad\r\n", CRONQ_STATE_ARCHIVED, "HTTP 400: said", 0, 0 },
        { "401 No\r\n", CRONQ_STATE_ARCHIVED, "HTTP 401: said", 0, 0 },
        { "404 No\r\n", CRONQ_STATE_ARCHIVED, "HTTP 404: said", 0, 0 },
        { "408 Late\r\n", CRONQ_STATE_RETRY, "HTTP 408: said", 0, 1 },
        { "410 Gone\r\n", CRONQ_STATE_ARCHIVED, "HTTP 410: said", 0, 0 },
        { "425 Early\r\n", CRONQ_STATE_RETRY, "HTTP 425: said", 0, 1 },
        { "429 Much\r\n", CRONQ_STATE_RETRY, "HTTP 429: said", 0, 1 },
        { "429 Much\r\nRetry-After: 1800\r\n", CRONQ_STATE_RETRY, "HTTP 429: said", 1800,
          0 },
        { "500 Broken\r\n", CRONQ_STATE_RETRY, "HTTP 500: said", 0, 1 },
        { "500 Broken\r\nRetry-After: 1800\r\n", CRONQ_STATE_RETRY, "HTTP 500: said", 0,
          1 },
        { "503 Away\r\n", CRONQ_STATE_RETRY, "HTTP 503: said", 0, 1 },
        { "503 Away\r\nRetry-After: 7200\r\n", CRONQ_STATE_RETRY, "HTTP 503: said", 7200,
          0 },
        { "503 Away\r\nRetry-After: soon\r\n", CRONQ_STATE_RETRY, "HTTP 503: said", 0,
          1 },
        { "503 Away\r\nRetry-After: 99999999\r\n", CRONQ_STATE_RETRY, "HTTP 503: said",
          86400, 0 },
    };

    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        int64_t now_ms = cq_wall_ns() / CQ_NS_PER_MS;
        cronq_task_info *info;
        char answer[300];
        fixture f;

        start(&f, OPTIONS(.method = NULL));
        snprintf(answer, sizeof answer, "HTTP/1.1 %s%s", rows[i].answer,
                 strncmp(rows[i].answer, "204", 3) == 0
                     ? "\r\n"
                     : "Content-Length: 10\r\n\r\nsaid\nmore\n");
        http_peer_answer(f.peer, answer);
        run(&f, CRONQ_TASK(.type = "t", .id = "1", .retain_for_ms = 60000));
        info = look(&f, "1");
        assert_int_equal(cronq_task_info_state(info), rows[i].set);
        assert_string_equal(f.why.text, rows[i].text);
        assert_int_equal(cronq_task_info_retry_count(info), rows[i].retried);
        if (rows[i].wait_s)
            assert_in_range(cronq_task_info_next_at_ms(info),
                            now_ms + rows[i].wait_s * 1000 - 1000,
                            now_ms + rows[i].wait_s * 1000 + 60000);
        cronq_task_info_free(info);
        stop(&f);
    }
}

static void date_in_retry_after_is_understood(void **state)
{
    int64_t now_ms = cq_wall_ns() / CQ_NS_PER_MS;
    time_t then = (time_t)(now_ms / 1000 + 3600);
    char answer[300], date[60];
    cronq_task_info *info;
    struct tm parts;
    fixture f;

    (void)state;
    start(&f, OPTIONS(.method = NULL));
    gmtime_r(&then, &parts);
    strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", &parts);
    snprintf(answer, sizeof answer,
             "HTTP/1.1 503 Away\r\nRetry-After: %s\r\nContent-Length: 0\r\n\r\n", date);
    http_peer_answer(f.peer, answer);
    run(&f, CRONQ_TASK(.type = "t", .id = "1"));
    info = look(&f, "1");
    assert_in_range(cronq_task_info_next_at_ms(info), now_ms + 3540000, now_ms + 3660000);
    cronq_task_info_free(info);
    stop(&f);
}

static void server_that_stalls_costs_the_timeout(void **state)
{
    int64_t start_ms;
    fixture f;

    (void)state;
    start(&f, OPTIONS(.timeout_ms = 300));
    http_peer_answer(f.peer, NULL);
    start_ms = cq_mono_ms();
    run(&f, CRONQ_TASK(.type = "t", .id = "1"));
    assert_in_range(cq_mono_ms() - start_ms, 250, 10000);
    assert_non_null(strstr(f.why.text, "timed out"));
    stop(&f);
}

/* Half a body is no answer. */
static void answer_that_is_cut_off_is_a_failure(void **state)
{
    fixture f;

    (void)state;
    start(&f, OPTIONS(.timeout_ms = 500));
    http_peer_answer(f.peer, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
    run(&f, CRONQ_TASK(.type = "t", .id = "1"));
    assert_true(*f.why.text != '\0');
    stop(&f);
}

static void stop_of_the_worker_does_not_wait_for_an_answer(void **state)
{
    cronq_task_info *info;
    cronq_error err = { 0 };
    int64_t start_ms = cq_mono_ms();
    fixture f;

    (void)state;
    start(&f, OPTIONS(.method = NULL));
    http_peer_answer(f.peer, NULL);
    push(&f, CRONQ_TASK(.type = "t", .id = "1"));
    must(cronq_server_start(f.server, &err), &err);
    while (http_peer_requests(f.peer) == 0 && cq_mono_ms() - start_ms < 20000)
        usleep(10000);
    start_ms = cq_mono_ms();
    must(cronq_server_stop(f.server, &err), &err);
    assert_true(cq_mono_ms() - start_ms < 10000);
    info = look(&f, "1");
    assert_int_equal(cronq_task_info_state(info), CRONQ_STATE_PENDING);
    cronq_task_info_free(info);
    stop(&f);
}

static void connections_are_used_again(void **state)
{
    cronq_error err = { 0 };
    fixture f;

    (void)state;
    start(&f, OPTIONS(.method = NULL));
    for (int i = 0; i < 20; i++)
        push(&f, CRONQ_TASK(.type = "t"));
    must(cronq_server_drain(f.server, &err), &err);
    assert_int_equal(http_peer_requests(f.peer), 20);
    assert_int_equal(http_peer_connections(f.peer), 1);
    stop(&f);
}

static void redirect_to_a_private_address_is_not_followed(void **state)
{
    http_peer *inner = http_peer_start(NULL, NULL);
    char answer[200];
    fixture f;

    (void)state;
    start(&f, OPTIONS(.method = NULL));
    http_peer_answer(inner, OK_ANSWER);
    snprintf(answer, sizeof answer,
             "HTTP/1.1 307 There\r\nLocation: http://127.0.0.1:%d/\r\nContent-Length: "
             "0\r\n\r\n",
             http_peer_port(inner));
    http_peer_answer(f.peer, answer);
    run(&f, CRONQ_TASK(.type = "t", .id = "1"));
    assert_string_equal(f.why.text, "HTTP 307: redirects are not followed");
    assert_int_equal(http_peer_connections(inner), 0);
    http_peer_stop(inner);
    stop(&f);
}

/* Whatever they are called by: the address is looked at when it is connected to. */
static void private_addresses_are_refused_by_any_name(void **state)
{
    static const char *const hosts[] = { "127.0.0.1",  "localhost",          "0x7f.1",
                                         "2130706433", "[::ffff:127.0.0.1]", "0" };

    (void)state;
    setenv("http_proxy", "http://127.0.0.1:9/", 1);
    for (size_t i = 0; i < ROWS(hosts); i++) {
        http_peer *peer = http_peer_start(NULL, NULL);
        char url[100];
        fixture f;

        snprintf(url, sizeof url, "http://%s:%d/", hosts[i], http_peer_port(peer));
        start_with(&f, peer, "http", OPTIONS(.url = url));
        run(&f, CRONQ_TASK(.type = "t", .id = "1"));
        assert_string_equal(f.why.text, "its address is private, which is not allowed");
        assert_int_equal(http_peer_connections(peer), 0);
        stop(&f);
    }
    unsetenv("http_proxy");
}

static void certificates_are_verified(void **state)
{
    static const struct {
        const char *name;
        bool trusts_ca;
        bool is_good;
    } rows[] = {
        { "server", true, true },   { "server", false, false },
        { "expired", true, false }, { "elsewhere", true, false },
        { "self", true, false },
    };
    char *certs = certs_make();

    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        http_peer *peer = http_peer_start(certs, rows[i].name);
        fixture f;

        http_peer_answer(peer, OK_ANSWER);
        start_with(&f, peer, "https",
                   OPTIONS(.allow_private = true,
                           .ca_file = rows[i].trusts_ca ? certs_path(certs, "ca", "pem")
                                                        : NULL));
        run(&f, CRONQ_TASK(.type = "t", .id = "1"));
        assert_int_equal(http_peer_requests(peer), rows[i].is_good ? 1 : 0);
        assert_int_equal(*f.why.text == '\0', rows[i].is_good);
        if (!rows[i].is_good)
            assert_non_null(strcasestr(f.why.text, "SSL"));
        stop(&f);
    }
    certs_remove(certs);
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

/* The example of the specification of Standard Webhooks. */
static void signature_is_that_of_the_specification(void **state)
{
    static const char body[] = "{\"test\": 2432232314}";
    char path[] = "/tmp/cronq-secret-XXXXXX", out[CQ_SIGNATURE_BYTES];
    cronq_error err = { 0 };
    int fd = mkstemp(path);

    (void)state;
    close(fd);
    write_file(path, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n");
    must(cq_signature_make(path, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330,
                           (cronq_bytes){ body, strlen(body) }, out, &err),
         &err);
    assert_string_equal(out, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    write_file(path, "whsec_***\n");
    assert_int_equal(cq_signature_make(path, "x", 1, (cronq_bytes){ "", 0 }, out, &err),
                     CRONQ_EINVAL);
    write_file(path, "\n");
    assert_int_equal(cq_signature_make(path, "x", 1, (cronq_bytes){ "", 0 }, out, &err),
                     CRONQ_EINVAL);
    unlink(path);
    assert_int_equal(cq_signature_make(path, "x", 1, (cronq_bytes){ "", 0 }, out, &err),
                     CRONQ_EIO);
}

static void requests_are_signed(void **state)
{
    char path[] = "/tmp/cronq-secret-XXXXXX", wanted[CQ_SIGNATURE_BYTES], line[100];
    const char *stamp;
    cronq_error err = { 0 };
    fixture f;

    (void)state;
    close(mkstemp(path));
    write_file(path, "a secret");
    start(&f, OPTIONS(.secret_file = path));
    run(&f, CRONQ_TASK(.type = "t", .id = "1", .payload = CRONQ_LIT("body")));
    stamp = strstr(http_peer_head(f.peer), "\r\nwebhook-timestamp: ");
    assert_non_null(stamp);
    must(cq_signature_make(path, "1", atoll(stamp + 21), (cronq_bytes)CRONQ_LIT("body"),
                           wanted, &err),
         &err);
    snprintf(line, sizeof line, "\r\nwebhook-signature: %s\r\n", wanted);
    assert_true(heard(&f, line));
    assert_true(heard(&f, "\r\nwebhook-id: 1\r\n"));
    stop(&f);
    unlink(path);
}

static void secret_that_is_gone_is_a_failure_without_a_request(void **state)
{
    fixture f;

    (void)state;
    start(&f, OPTIONS(.secret_file = "/nonexistent/secret"));
    run(&f, CRONQ_TASK(.type = "t", .id = "1"));
    assert_non_null(strstr(f.why.text, "cannot read the secret file /nonexistent/"));
    assert_int_equal(http_peer_requests(f.peer), 0);
    stop(&f);
}

static void wrong_options_name_the_field(void **state)
{
    static const cronq_header own[] = { { "Webhook-Id", "x" } },
                              line[] = { { "A", "b\n" } }, name[] = { { "A b", "c" } };
    const struct {
        const cronq_http_options *options;
        const char *text;
    } rows[] = {
        { NULL, "the URL is wrong" },
        { CRONQ_HTTP_OPTIONS(.url = "nowhere"), "the URL is wrong" },
        { CRONQ_HTTP_OPTIONS(.url = "file:///etc/passwd"), "neither http nor https" },
        { CRONQ_HTTP_OPTIONS(.url = "http://h/", .method = "BREW"), "method BREW" },
        { CRONQ_HTTP_OPTIONS(.url = "http://h/", .timeout_ms = -1), "timeout_ms -1" },
        { CRONQ_HTTP_OPTIONS(.url = "http://h/", .output_bytes = 9 << 20), "output_byt" },
        { CRONQ_HTTP_OPTIONS(.url = "http://h/", .ca_file = "/no/ca"), "ca_file /no/ca" },
        { CRONQ_HTTP_OPTIONS(.url = "http://h/", .headers = own, .header_count = 1),
          "Webhook-Id is set by cronq" },
        { CRONQ_HTTP_OPTIONS(.url = "http://h/", .headers = line, .header_count = 1),
          "headers[0] is no HTTP header" },
        { CRONQ_HTTP_OPTIONS(.url = "http://h/", .headers = name, .header_count = 1),
          "headers[0] is no HTTP header" },
    };

    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        cronq_http *http = NULL;
        cronq_error err = { 0 };

        assert_int_equal(cronq_http_new(rows[i].options, &http, &err), CRONQ_EINVAL);
        if (!strstr(err.text, rows[i].text))
            fail_msg("%s", err.text);
        assert_null(http);
    }
    cronq_http_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(request_says_what_the_task_is),
        cmocka_unit_test(body_is_a_template_of_json),
        cmocka_unit_test(get_has_no_body),
        cmocka_unit_test(each_status_has_its_outcome),
        cmocka_unit_test(date_in_retry_after_is_understood),
        cmocka_unit_test(server_that_stalls_costs_the_timeout),
        cmocka_unit_test(answer_that_is_cut_off_is_a_failure),
        cmocka_unit_test(stop_of_the_worker_does_not_wait_for_an_answer),
        cmocka_unit_test(connections_are_used_again),
        cmocka_unit_test(redirect_to_a_private_address_is_not_followed),
        cmocka_unit_test(private_addresses_are_refused_by_any_name),
        cmocka_unit_test(certificates_are_verified),
        cmocka_unit_test(signature_is_that_of_the_specification),
        cmocka_unit_test(requests_are_signed),
        cmocka_unit_test(secret_that_is_gone_is_a_failure_without_a_request),
        cmocka_unit_test(wrong_options_name_the_field),
    };

    signal(SIGPIPE, SIG_IGN); /* of the server, when the worker hangs up */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
