/* SPDX-License-Identifier: MIT */
/* span_test.c - what spans hold, and on their way to a receiver that takes them, is busy,
 * or hangs. */
#include "base/clock.h"
#include "obs/span.h"
#include "support/otlp_receiver.h"
#include "support/patience.h"
#include "support/scratch.h"

#include <cronq/otlp.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
/* after the others */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static cronq_otlp *otlp;
static cronq_tracer *tracer;

static void must(cronq_status status, const cronq_error *err)
{
    if (status)
        fail_msg("%s: %s", cronq_status_name(status), err->text);
}

static const char *url_of(const otlp_receiver *receiver)
{
    static char url[64];

    snprintf(url, sizeof url, "http://127.0.0.1:%u/v1/traces",
             (unsigned)otlp_receiver_port(receiver));
    return url;
}

static void open_with(cronq_otlp_options options, double ratio)
{
    cronq_error err;

    options.struct_size = sizeof options;
    options.service_name = "shop";
    must(cronq_otlp_new(&options, &otlp, &err), &err);
    must(cronq_tracer_new(CRONQ_TRACER_OPTIONS(.write = cronq_otlp_write,
                                               .write_arg = otlp, .sample_ratio = ratio),
                          &tracer, &err),
         &err);
}

static void close_all(void)
{
    cronq_tracer_free(tracer);
    cronq_otlp_free(otlp);
}

static void flush(void)
{
    cronq_error err;

    must(cronq_otlp_flush(otlp, 10000, &err), &err);
}

/* A whole span with all there is, and a child in it. */
static void write_full_span(const char *text)
{
    const cronq_attribute about[] = { { "step", "one", 0 }, { "count", NULL, -2 } };
    cronq_span span, *child;
    cq_span_id id;

    cq_span_identify(tracer, NULL, &id);
    assert_true(id.start_ns);
    cq_span_init(&span, tracer, &id, CRONQ_SPAN_CONSUMER);
    cq_span_name(&span, "outer-", CQ_STR("t"));
    span.record.trace_state = "v=1";
    span.record.link = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    cronq_span_set_text(&span, "text", text);
    cronq_span_set_text(&span, "text", text);
    cronq_span_set_number(&span, "zero", 0);
    cronq_span_add_event(&span, "happened", about, 2);
    child = cronq_span_begin(&span, "inner");
    assert_non_null(child);
    assert_memory_equal(cronq_span_traceparent(child), span.traceparent, 36);
    cronq_span_set_status(child, CRONQ_SPAN_ERROR, "no");
    cronq_span_end(child);
    assert_non_null(cronq_span_begin(&span, "left open"));
    cq_span_finish(&span);
}

static void a_span_arrives_with_all_it_holds(void **state)
{
    otlp_receiver *receiver = otlp_receiver_start(OTLP_TAKES);
    static const cronq_header headers[] = { { "x-key", "secret" } };
    received_span outer, inner, open;

    (void)state;
    open_with((cronq_otlp_options){ .url = url_of(receiver),
                                    .headers = headers,
                                    .header_count = 1 },
              0);
    write_full_span("caf\xC3\xA9 \xFF!");
    flush();
    outer = otlp_receiver_await(receiver, "outer-t", 0);
    inner = otlp_receiver_await(receiver, "inner", 0);
    open = otlp_receiver_await(receiver, "left open", 0);
    assert_string_equal(outer.service, "shop");
    assert_string_equal(outer.scope, "cronq");
    assert_string_equal(outer.attributes, "text=caf\xC3\xA9 \xEF\xBF\xBD!;zero=0;");
    assert_string_equal(outer.events, "{happened:step=one;count=-2;}");
    assert_string_equal(outer.link, "b7ad6b7169203331");
    assert_string_equal(outer.parent_id, "");
    assert_string_equal(outer.trace_state, "v=1");
    assert_int_equal(outer.kind, CRONQ_SPAN_CONSUMER);
    assert_int_equal(outer.flags & 1, 1);
    assert_string_equal(inner.parent_id, outer.span_id);
    assert_string_equal(inner.trace_id, outer.trace_id);
    assert_int_equal(inner.status, CRONQ_SPAN_ERROR);
    assert_string_equal(inner.status_text, "no");
    assert_string_equal(open.parent_id, outer.span_id);
    assert_true(outer.start_ns <= inner.start_ns && inner.end_ns <= outer.end_ns);
    assert_true(otlp_receiver_heard(receiver, "x-key: secret\r\n"));
    assert_true(
        otlp_receiver_heard(receiver, "Content-Type: application/x-protobuf\r\n"));
    assert_int_equal(cronq_otlp_sent_count(otlp), 3);
    close_all();
    otlp_receiver_stop(receiver);
}

static void what_is_left_is_sent_at_the_end(void **state)
{
    otlp_receiver *receiver = otlp_receiver_start(OTLP_TAKES);

    (void)state;
    open_with((cronq_otlp_options){ .url = url_of(receiver) }, 0);
    write_full_span("x");
    close_all();
    assert_int_equal(otlp_receiver_count(receiver), 3);
    otlp_receiver_stop(receiver);
}

static void a_receiver_that_is_busy_is_asked_again(void **state)
{
    otlp_receiver *receiver = otlp_receiver_start(OTLP_REFUSES);

    (void)state;
    open_with((cronq_otlp_options){ .url = url_of(receiver) }, 0);
    write_full_span("x");
    flush();
    assert_int_equal(otlp_receiver_count(receiver), 3);
    assert_int_equal(cronq_otlp_sent_count(otlp), 3);
    assert_int_equal(cronq_otlp_dropped_count(otlp), 0);
    close_all();
    otlp_receiver_stop(receiver);
}

/* Whoever writes never waits, and every span is accounted for. */
static void a_receiver_that_hangs_costs_spans_only(void **state)
{
    otlp_receiver *receiver = otlp_receiver_start(OTLP_SILENT);
    int64_t begun_ms = cq_mono_ms();

    (void)state;
    open_with((cronq_otlp_options){ .url = url_of(receiver),
                                    .queue_limit_count = 300,
                                    .batch_count = 30,
                                    .stop_timeout_ms = 200 },
              0);
    for (int i = 0; i < 10000; i++)
        write_full_span("x");
    assert_true(cq_mono_ms() - begun_ms < 5000 * PATIENCE);
    assert_true(cronq_otlp_dropped_count(otlp) >= 30000 - 2 * 300);
    assert_int_equal(cronq_otlp_sent_count(otlp), 0);
    begun_ms = cq_mono_ms();
    close_all();
    assert_true(cq_mono_ms() - begun_ms < 3000 * PATIENCE);
    otlp_receiver_stop(receiver);
}

static void the_limit_in_bytes_holds_too(void **state)
{
    char *text = malloc(60001);

    (void)state;
    assert_non_null(text);
    memset(text, 'x', 60000);
    text[60000] = '\0';
    open_with((cronq_otlp_options){ .url = "http://127.0.0.1:1/",
                                    .queue_limit_bytes = 70000,
                                    .stop_timeout_ms = 100 },
              0);
    write_full_span("x");
    assert_int_equal(cronq_otlp_dropped_count(otlp), 0);
    write_full_span(text);
    write_full_span(text);
    assert_true(cronq_otlp_dropped_count(otlp) > 0);
    close_all();
    free(text);
}

static void a_file_gets_a_request_of_json_a_line(void **state)
{
    char room[SCRATCH_ROOM], path[128];
    json_t *line, *span;
    json_error_t why;

    (void)state;
    snprintf(path, sizeof path, "%s/spans", scratch_new(room));
    open_with((cronq_otlp_options){ .path = path }, 0);
    write_full_span("\"\x01\xFF\n");
    flush();
    line = json_load_file(path, 0, &why);
    if (!line)
        fail_msg("%s", why.text);
    assert_int_equal(json_unpack(line, "{s:[{s:[{s:[o,o,O]}]}]}", "resourceSpans",
                                 "scopeSpans", "spans", &span, &span, &span),
                     0);
    assert_string_equal(json_string_value(json_object_get(span, "name")), "outer-t");
    assert_int_equal(json_integer_value(json_object_get(span, "kind")), 5);
    json_decref(span);
    json_decref(line);
    close_all();
    scratch_remove(room);
}

static void the_sampler_keeps_its_ratio_and_follows_parents(void **state)
{
    cq_trace parent = { { 1 }, { 2 }, 0 };
    int sampled = 0;
    cq_span_id id;

    (void)state;
    open_with((cronq_otlp_options){ .url = "http://127.0.0.1:1/" }, 0.25);
    for (int i = 0; i < 10000; i++) {
        cq_span_identify(tracer, NULL, &id);
        assert_int_equal(id.start_ns != 0, id.own.flags & 1);
        sampled += id.own.flags & 1;
    }
    assert_in_range(sampled, 2200, 2800);
    cq_span_identify(tracer, &parent, &id);
    assert_int_equal(id.start_ns, 0);
    assert_memory_equal(id.own.trace_id, parent.trace_id, 16);
    assert_memory_equal(id.parent_id, parent.span_id, 8);
    parent.flags = CQ_TRACE_FLAG_SAMPLED;
    cq_span_identify(tracer, &parent, &id);
    assert_true(id.start_ns > 0);
    close_all();
}

static void a_span_holds_what_it_may_and_counts_the_rest(void **state)
{
    otlp_receiver *receiver = otlp_receiver_start(OTLP_TAKES);
    cronq_span span;
    cq_span_id id;
    char key[16];

    (void)state;
    open_with((cronq_otlp_options){ .url = url_of(receiver) }, 0);
    cq_span_identify(tracer, NULL, &id);
    cq_span_init(&span, tracer, &id, CRONQ_SPAN_INTERNAL);
    for (int i = 0; i < 200; i++) {
        snprintf(key, sizeof key, "k%d", i);
        cronq_span_set_number(&span, key, i);
        cronq_span_add_event(&span, key, NULL, 0);
    }
    assert_int_equal(span.record.attribute_count, 128);
    assert_int_equal(span.record.dropped_attribute_count, 72);
    assert_int_equal(span.record.event_count, 128);
    assert_int_equal(span.record.dropped_event_count, 72);
    for (int i = 0; i < 1000; i++)
        assert_non_null(cronq_span_begin(&span, "child"));
    assert_null(cronq_span_begin(&span, "one more"));
    cq_span_finish(&span);
    assert_null(cronq_span_begin(NULL, "nothing"));
    cronq_span_set_text(NULL, "a", "b");
    cronq_span_end(NULL);
    assert_null(cronq_span_traceparent(NULL));
    close_all();
    otlp_receiver_stop(receiver);
}

static void odd_options_are_refused(void **state)
{
    static const cronq_header bad[] = { { "a\r\nb", "c" } };
    static const struct {
        cronq_otlp_options options;
        const char *text;
    } rows[] = {
        { { .url = "http://x/" }, "service_name" },
        { { .service_name = "s" }, "url or path" },
        { { .service_name = "s", .url = "http://x/", .path = "x" }, "url or path" },
        { { .service_name = "s", .url = "ftp://x/" }, "http://" },
        { { .service_name = "s", .url = "http://x/", .timeout_ms = -1 }, "timeout_ms" },
        { { .service_name = "s", .url = "http://x/", .headers = bad, .header_count = 1 },
          "headers: number 0" },
        { { .service_name = "s", .path = "/no/such/place" }, "cannot open" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        cronq_otlp_options options = rows[i].options;
        cronq_otlp *none = NULL;
        cronq_error err = { 0 };

        options.struct_size = sizeof options;
        assert_int_not_equal(cronq_otlp_new(&options, &none, &err), CRONQ_OK);
        assert_null(none);
        if (!strstr(err.text, rows[i].text))
            fail_msg("\"%s\" has no \"%s\"", err.text, rows[i].text);
    }
    assert_int_equal(
        cronq_tracer_new(CRONQ_TRACER_OPTIONS(.sample_ratio = 1.5), &tracer, NULL),
        CRONQ_EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_span_arrives_with_all_it_holds),
        cmocka_unit_test(what_is_left_is_sent_at_the_end),
        cmocka_unit_test(a_receiver_that_is_busy_is_asked_again),
        cmocka_unit_test(a_receiver_that_hangs_costs_spans_only),
        cmocka_unit_test(the_limit_in_bytes_holds_too),
        cmocka_unit_test(a_file_gets_a_request_of_json_a_line),
        cmocka_unit_test(the_sampler_keeps_its_ratio_and_follows_parents),
        cmocka_unit_test(a_span_holds_what_it_may_and_counts_the_rest),
        cmocka_unit_test(odd_options_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
