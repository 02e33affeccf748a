/* SPDX-License-Identifier: MIT */
/* notice_test.c - a server that tells a program, or an address, of archived tasks. */
#include "base/clock.h"
#include "base/thread.h"
#include "support/scratch.h"

#include <cronq/client.h>
#include <cronq/handlers.h>

#include <arpa/inet.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define PATIENCE_NS (30 * CQ_NS_PER_S)

static struct {
    char scratch[SCRATCH_ROOM], uri[SCRATCH_ROOM + 32], path[SCRATCH_ROOM + 32];
    char complaint[512];
    atomic_bool complained;
} w;

static cronq_status fail_it(cronq_attempt *attempt, void *arg)
{
    (void)arg;
    return cronq_attempt_fail(attempt, "broken \"pump\"");
}

static void keep_complaint(void *arg, const cronq_log_record *record)
{
    (void)arg;
    if (!strstr(record->text, "nobody was told") || w.complained)
        return;
    snprintf(w.complaint, sizeof w.complaint, "%s", record->text);
    w.complained = true;
}

static void begin(void)
{
    memset(&w, 0, sizeof w);
    scratch_new(w.scratch);
    snprintf(w.uri, sizeof w.uri, "sqlite:%s/db", w.scratch);
    snprintf(w.path, sizeof w.path, "%s/told", w.scratch);
}

static bool never(void)
{
    return false;
}

static bool has_complained(void)
{
    return w.complained;
}

/* Archives a task on a server with this notice; the stop waits until it was sent. */
static void archive_one(cronq_notice *notice, bool (*is_done)(void))
{
    int64_t until_ns = cq_mono_ns() + PATIENCE_NS;
    cronq_client *client;
    cronq_server *server;

    assert_int_equal(
        cronq_server_new(
            w.uri,
            CRONQ_SERVER_OPTIONS(.on_archive = cronq_notice_send,
                                 .on_archive_arg = notice, .shutdown_timeout_ms = 20000,
                                 .logger = { keep_complaint, NULL, CRONQ_LOG_ERROR }),
            &server, NULL),
        CRONQ_OK);
    assert_int_equal(cronq_server_add(server, "t", fail_it, NULL, NULL, NULL), CRONQ_OK);
    assert_int_equal(cronq_client_new(w.uri, NULL, &client, NULL), CRONQ_OK);
    assert_int_equal(cronq_client_push(client,
                                       CRONQ_TASK(.type = "t", .id = "a",
                                                  .payload = CRONQ_LIT("pay\nload"),
                                                  .max_retry = CRONQ_NO_RETRY),
                                       NULL, NULL),
                     CRONQ_OK);
    assert_int_equal(cronq_server_drain(server, NULL), CRONQ_OK);
    while (is_done != never && !is_done() && cq_mono_ns() < until_ns)
        cq_sleep_ms(5);
    cronq_server_free(server);
    cronq_client_free(client);
    cronq_notice_free(notice);
}

static void expect_text(const json_t *object, const char *key, const char *text)
{
    assert_string_equal(json_string_value(json_object_get(object, key)), text);
}

static void expect_notice(const char *text)
{
    json_t *object = json_loads(text, JSON_DISABLE_EOF_CHECK, NULL);

    assert_non_null(object);
    expect_text(object, "event", "archived");
    expect_text(object, "id", "a");
    expect_text(object, "queue", "default");
    expect_text(object, "type", "t");
    expect_text(object, "error", "broken \"pump\"");
    expect_text(object, "payload", "pay\nload");
    assert_int_equal(json_integer_value(json_object_get(object, "payload_bytes")), 8);
    assert_int_equal(json_integer_value(json_object_get(object, "max_retry")), 0);
    assert_true(json_integer_value(json_object_get(object, "archived_at_ms")) > 0);
    json_decref(object);
}

static cronq_notice *tell_command(const char *script)
{
    const char *const argv[] = { script, w.path, NULL };
    cronq_notice *notice = NULL;
    cronq_error err = { 0 };

    if (cronq_notice_new(CRONQ_COMMAND_OPTIONS(.argv = argv, .shell = true), NULL,
                         &notice, &err))
        fail_msg("%s", err.text);
    return notice;
}

/* ---- commands ---- */

static void a_command_gets_the_notice(void **state)
{
    char text[4096] = "", *rest;
    FILE *file;

    (void)state;
    begin();
    archive_one(tell_command("cat > \"$1\"; "
                             "echo \"$CRONQ_TASK_ID|$CRONQ_ERROR\" >> \"$1\""),
                never);
    file = fopen(w.path, "r");
    assert_non_null(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    expect_notice(text);
    rest = strchr(text, '\n');
    assert_non_null(rest);
    assert_string_equal(rest + 1, "a|broken \"pump\"\n");
    assert_false(w.complained);
    scratch_remove(w.scratch);
}

static void a_command_that_fails_is_complained_of(void **state)
{
    (void)state;
    begin();
    archive_one(tell_command("echo no mail today >&2; exit 3"), has_complained);
    assert_non_null(strstr(w.complaint, "task a of default is archived"));
    assert_non_null(strstr(w.complaint, "exit status 3: no mail today"));
    scratch_remove(w.scratch);
}

/* ---- requests ---- */

typedef struct peer {
    int fd;
    char url[64], heard[8192];
    const char *answer;
    pthread_t thread;
} peer;

/* Hears one request to the end of its JSON text, and answers. */
static void *serve(void *arg)
{
    peer *p = arg;
    int fd = accept(p->fd, NULL, NULL);
    size_t len = 0;
    ssize_t got = 1;

    while (fd >= 0 && got > 0 && len < sizeof p->heard - 1 && !strstr(p->heard, "}\n")) {
        got = read(fd, p->heard + len, sizeof p->heard - 1 - len);
        len += got > 0 ? (size_t)got : 0;
        p->heard[len] = '\0';
    }
    if (fd >= 0 && write(fd, p->answer, strlen(p->answer)) < 0)
        perror("write");
    close(fd);
    return NULL;
}

static void listen_at(peer *p, const char *answer)
{
    struct sockaddr_in at = { .sin_family = AF_INET,
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof at;

    *p = (peer){ .answer = answer };
    p->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(p->fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(p->fd, 4), 0);
    assert_int_equal(getsockname(p->fd, (struct sockaddr *)&at, &size), 0);
    snprintf(p->url, sizeof p->url, "http://127.0.0.1:%d/hook", ntohs(at.sin_port));
    assert_int_equal(cq_thread_start(&p->thread, "peer", serve, p, NULL), CRONQ_OK);
}

static void tell_peer(peer *p, bool (*is_done)(void))
{
    cronq_notice *notice = NULL;
    cronq_error err = { 0 };

    if (cronq_notice_new(NULL, CRONQ_HTTP_OPTIONS(.url = p->url, .allow_private = true),
                         &notice, &err))
        fail_msg("%s", err.text);
    archive_one(notice, is_done);
    pthread_join(p->thread, NULL);
    close(p->fd);
}

static void an_address_gets_the_notice(void **state)
{
    peer p;

    (void)state;
    begin();
    listen_at(&p, "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
    tell_peer(&p, never);
    assert_non_null(strstr(p.heard, "POST /hook HTTP/1.1\r\n"));
    assert_non_null(strstr(p.heard, "Content-Type: application/json\r\n"));
    assert_non_null(strstr(p.heard, "\r\n\r\n"));
    expect_notice(strstr(p.heard, "\r\n\r\n") + 4);
    assert_false(w.complained);
    scratch_remove(w.scratch);
}

static void an_address_that_refuses_is_complained_of(void **state)
{
    peer p;

    (void)state;
    begin();
    listen_at(&p, "HTTP/1.1 500 Oops\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    tell_peer(&p, has_complained);
    assert_non_null(strstr(w.complaint, "HTTP 500"));
    scratch_remove(w.scratch);
}

static void wrong_notices_are_refused(void **state)
{
    const char *const argv[] = { "true", NULL }, *const filled[] = { "a", "{type}",
                                                                     NULL };
    const cronq_http_options *http = CRONQ_HTTP_OPTIONS(.url = "http://h/", .body = "x");
    cronq_notice *notice = NULL;

    (void)state;
    assert_int_equal(cronq_notice_new(NULL, NULL, &notice, NULL), CRONQ_EINVAL);
    assert_int_equal(
        cronq_notice_new(CRONQ_COMMAND_OPTIONS(.argv = argv), http, &notice, NULL),
        CRONQ_EINVAL);
    assert_int_equal(cronq_notice_new(NULL, http, &notice, NULL), CRONQ_EINVAL);
    assert_int_equal(
        cronq_notice_new(CRONQ_COMMAND_OPTIONS(.argv = filled), NULL, &notice, NULL),
        CRONQ_EINVAL);
    assert_null(notice);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_command_gets_the_notice),
        cmocka_unit_test(a_command_that_fails_is_complained_of),
        cmocka_unit_test(an_address_gets_the_notice),
        cmocka_unit_test(an_address_that_refuses_is_complained_of),
        cmocka_unit_test(wrong_notices_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
