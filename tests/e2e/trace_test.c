/* SPDX-License-Identifier: MIT */
/* trace_test.c - one trace over two processes: this one pushes, cronq server works. */
#include "support/otlp_receiver.h"
#include "support/process.h"
#include "support/redis_server.h"
#include "support/scratch.h"

#include <cronq/cronq.h>
#include <cronq/otlp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
/* after the others */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define UPSTREAM "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

typedef struct stage {
    redis_server *redis;
    otlp_receiver *receiver;
    char directory[SCRATCH_ROOM];
    pid_t worker;
    cronq_otlp *otlp;
    cronq_tracer *tracer;
    cronq_client *client;
} stage;

static void must(cronq_status status, const cronq_error *err)
{
    if (status)
        fail_msg("%s: %s", cronq_status_name(status), err->text);
}

static void write_config(const stage *s, char *path, size_t size)
{
    FILE *file;

    snprintf(path, size, "%s/worker.yaml", s->directory);
    file = fopen(path, "w");
    assert_non_null(file);
    fprintf(file,
            "Name: shop-worker\n"
            "Telemetry:\n"
            "  Endpoint: 127.0.0.1:%u\n"
            "WorkConf:\n"
            "  Network: unix\n"
            "  Addr: %s\n"
            "  Retry: {Delay: fixed, Base: 1s}\n"
            "Tasks:\n"
            "- {Pattern: good, Command: ['true']}\n"
            "- {Pattern: bad, Command: ['false']}\n"
            "- {Pattern: tick, Command: ['true'], Cron: '@every 1s'}\n",
            (unsigned)otlp_receiver_port(s->receiver), redis_server_socket(s->redis));
    fclose(file);
}

static void set_up(stage *s)
{
    char url[64], config[SCRATCH_ROOM + 32];
    const char *argv[] = { CRONQ_PROGRAM, "server", "-f", config, NULL };
    cronq_error err;

    s->redis = redis_server_start(NULL);
    s->receiver = otlp_receiver_start(OTLP_TAKES);
    scratch_new(s->directory);
    write_config(s, config, sizeof config);
    snprintf(url, sizeof url, "http://127.0.0.1:%u/v1/traces",
             (unsigned)otlp_receiver_port(s->receiver));
    must(cronq_otlp_new(CRONQ_OTLP_OPTIONS(.service_name = "shop", .url = url), &s->otlp,
                        &err),
         &err);
    must(cronq_tracer_new(
             CRONQ_TRACER_OPTIONS(.write = cronq_otlp_write, .write_arg = s->otlp),
             &s->tracer, &err),
         &err);
    must(cronq_client_new(redis_server_uri(s->redis),
                          CRONQ_CLIENT_OPTIONS(.tracer = s->tracer), &s->client, &err),
         &err);
    s->worker = process_start(argv);
}

static void push(stage *s, const cronq_task *task)
{
    cronq_error err;

    must(cronq_client_push(s->client, task, NULL, &err), &err);
}

/* Everything is pushed and run, then both ends hand over what they have. */
static void end(stage *s)
{
    cronq_client_free(s->client);
    cronq_tracer_free(s->tracer);
    cronq_otlp_free(s->otlp);
    assert_int_equal(process_end(s->worker, SIGTERM), 0);
}

static void clean_up(stage *s)
{
    scratch_remove(s->directory);
    otlp_receiver_stop(s->receiver);
    redis_server_stop(s->redis);
}

static void assert_has(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("\"%s\" has no \"%s\"", text, part);
}

static void assert_below(const received_span *span, const received_span *parent)
{
    assert_string_equal(span->trace_id, parent->trace_id);
    assert_string_equal(span->parent_id, parent->span_id);
    assert_string_not_equal(span->span_id, parent->span_id);
    assert_true(span->start_ns >= parent->start_ns);
    assert_true(span->end_ns >= span->start_ns);
}

static void check_good(stage *s)
{
    received_span sent = otlp_receiver_await(s->receiver, "cron-producer-good", 0);
    received_span run = otlp_receiver_await(s->receiver, "cron-consumer-good", 0);

    assert_string_equal(sent.service, "shop");
    assert_string_equal(run.service, "shop-worker");
    assert_string_equal(sent.trace_id, "0af7651916cd43dd8448eb211c80319c");
    assert_string_equal(sent.parent_id, "b7ad6b7169203331");
    assert_below(&run, &sent);
    assert_int_equal(sent.kind, CRONQ_SPAN_PRODUCER);
    assert_int_equal(run.kind, CRONQ_SPAN_CONSUMER);
    assert_int_equal(sent.status, CRONQ_SPAN_OK);
    assert_int_equal(run.status, CRONQ_SPAN_OK);
    assert_string_equal(run.trace_state, "vendor=1");
    assert_has(sent.attributes, "messaging.system=cron;");
    assert_has(sent.attributes, "messaging.destination=default;");
    assert_has(sent.attributes, "messaging.operation=send;");
    assert_has(sent.attributes, "messaging.message_id=good-1;");
    assert_has(run.attributes, "messaging.operation=process;");
    assert_has(run.attributes, "messaging.message.id=good-1;");
    assert_has(run.attributes, "messaging.destination.name=default;");
    assert_has(run.attributes, "cronq.outcome=done;");
    assert_null(strstr(run.attributes, ";retry="));
}

static void check_bad(stage *s)
{
    received_span sent = otlp_receiver_await(s->receiver, "cron-producer-bad", 0);
    received_span first = otlp_receiver_await(s->receiver, "cron-consumer-bad", 0);
    received_span again = otlp_receiver_await(s->receiver, "cron-consumer-bad", 1);

    assert_string_equal(sent.parent_id, "");
    assert_below(&first, &sent);
    assert_below(&again, &sent);
    assert_int_equal(first.status, CRONQ_SPAN_ERROR);
    assert_has(first.status_text, "exit");
    assert_has(first.events, "{exception:exception.type=EFAILED;exception.message=");
    assert_has(first.attributes, "cronq.outcome=retried;");
    assert_null(strstr(first.attributes, ";retry="));
    assert_has(again.attributes, ";retry=1;");
    assert_has(again.attributes, "cronq.outcome=archived;");
}

static void check_tick(stage *s)
{
    received_span sent = otlp_receiver_await(s->receiver, "cron-producer-tick", 0);
    received_span run = otlp_receiver_await(s->receiver, "cron-consumer-tick", 0);

    assert_string_equal(sent.parent_id, "");
    assert_string_equal(sent.service, "shop-worker");
    assert_has(sent.attributes, "cronq.tick=");
    assert_below(&run, &sent);
}

static void a_trace_goes_through_both_processes(void **state)
{
    static const cronq_header headers[] = { { "tracestate", "vendor=1" },
                                            { "baggage", "k=v" } };
    stage s = { 0 };

    (void)state;
    set_up(&s);
    push(&s, CRONQ_TASK(.type = "good", .id = "good-1", .headers = headers,
                        .header_count = 2, .traceparent = UPSTREAM));
    push(&s, CRONQ_TASK(.type = "bad", .max_retry = 1));
    check_bad(&s); /* the last of them to end; the exporters wait up to 5 s */
    check_good(&s);
    check_tick(&s);
    end(&s);
    clean_up(&s);
}

/* ---- retries that are linked ---- */

static cronq_status fail_once(cronq_attempt *attempt, void *arg)
{
    (void)arg;
    return cronq_attempt_retry_count(attempt) ? CRONQ_OK : CRONQ_EFAILED;
}

static int64_t at_once(int32_t retry_count, const cronq_error *why, const char *type,
                       void *arg)
{
    (void)retry_count;
    (void)why;
    (void)type;
    (void)arg;
    return 1;
}

static void work_with_links(stage *s)
{
    char url[64];
    cronq_server *server;
    cronq_error err;

    s->redis = redis_server_start(NULL);
    s->receiver = otlp_receiver_start(OTLP_TAKES);
    snprintf(url, sizeof url, "http://127.0.0.1:%u/v1/traces",
             (unsigned)otlp_receiver_port(s->receiver));
    must(cronq_otlp_new(
             CRONQ_OTLP_OPTIONS(.service_name = "shop", .url = url, .delay_ms = 50),
             &s->otlp, &err),
         &err);
    must(cronq_tracer_new(CRONQ_TRACER_OPTIONS(.write = cronq_otlp_write,
                                               .write_arg = s->otlp, .retry_links = true),
                          &s->tracer, &err),
         &err);
    must(cronq_client_new(redis_server_uri(s->redis),
                          CRONQ_CLIENT_OPTIONS(.tracer = s->tracer), &s->client, &err),
         &err);
    push(s, CRONQ_TASK(.type = "twice", .traceparent = UPSTREAM));
    must(cronq_server_new(
             redis_server_uri(s->redis),
             CRONQ_SERVER_OPTIONS(.tracer = s->tracer, .retry_delay = at_once), &server,
             &err),
         &err);
    must(cronq_server_add(server, "twice", fail_once, NULL, NULL, &err), &err);
    must(cronq_server_start(server, &err), &err);
    otlp_receiver_await(s->receiver, "cron-consumer-twice", 1);
    must(cronq_server_stop(server, &err), &err);
    cronq_server_free(server);
}

static void a_retry_has_its_own_trace_and_a_link_when_asked(void **state)
{
    received_span sent, first, again;
    stage s = { 0 };

    (void)state;
    work_with_links(&s);
    sent = otlp_receiver_await(s.receiver, "cron-producer-twice", 0);
    first = otlp_receiver_await(s.receiver, "cron-consumer-twice", 0);
    again = otlp_receiver_await(s.receiver, "cron-consumer-twice", 1);
    assert_below(&first, &sent);
    assert_string_equal(first.link, "");
    assert_string_not_equal(again.trace_id, sent.trace_id);
    assert_string_equal(again.parent_id, "");
    assert_string_equal(again.link, sent.span_id);
    assert_has(again.attributes, ";retry=1;");
    cronq_client_free(s.client);
    cronq_tracer_free(s.tracer);
    cronq_otlp_free(s.otlp);
    otlp_receiver_stop(s.receiver);
    redis_server_stop(s.redis);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_trace_goes_through_both_processes),
        cmocka_unit_test(a_retry_has_its_own_trace_and_a_link_when_asked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
