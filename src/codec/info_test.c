/* SPDX-License-Identifier: MIT */
/* info_test.c - servers, workers, entries and events on the wire: every recorded one. */
#include "codec/info.h"
#include "support/golden.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ITEMS_MAX 1024

typedef union any_info {
    cq_server_info server;
    cq_worker_info worker;
    cq_entry_info entry;
    cq_enqueue_event event;
} any_info;

/* The line being checked, and memory for what its fields stand for. */
static json_t *line;
static cq_queue_weight weights[ITEMS_MAX];
static cq_str options[ITEMS_MAX];
static cq_arena arena;
static cq_buf out;

static int open_memory(void **state)
{
    (void)state;
    cq_arena_init(&arena, 1 << 24);
    cq_buf_init(&out, 1 << 20);
    return 0;
}

static int close_memory(void **state)
{
    (void)state;
    cq_arena_release(&arena);
    cq_buf_release(&out);
    return 0;
}

static cq_str text_at(const char *field)
{
    json_t *text = json_object_get(line, field);

    assert_true(json_is_string(text));
    return (cq_str){ json_string_value(text), json_string_length(text) };
}

static cq_str unhexed(const char *hex)
{
    size_t len;
    unsigned char *bytes = golden_unhex(hex, &len);
    cq_str copy = { cq_arena_dup(&arena, bytes, len), len };

    free(bytes);
    return copy;
}

static cq_str hex_at(const char *field)
{
    json_t *text = json_object_get(line, field);

    assert_true(json_is_string(text));
    return unhexed(json_string_value(text));
}

static cronq_bytes payload_at(const char *field, const char *nil_field)
{
    cq_str bytes = hex_at(field);

    if (json_is_true(json_object_get(line, nil_field)))
        return (cronq_bytes){ NULL, 0 };
    return (cronq_bytes){ bytes.data, bytes.len };
}

static int32_t int_at(const char *field)
{
    return (int32_t)json_integer_value(json_object_get(line, field));
}

static cq_timestamp time_at(const char *field)
{
    json_t *time = json_object_get(line, field);

    assert_true(json_is_object(time));
    return (cq_timestamp){
        strtoll(json_string_value(json_object_get(time, "unix")), NULL, 10),
        (int32_t)json_integer_value(json_object_get(time, "nanos")),
    };
}

static int by_name(const void *a, const void *b)
{
    const cq_queue_weight *left = a, *right = b;

    return strcmp(left->name.data, right->name.data);
}

static void fill_server(any_info *info)
{
    json_t *queues = json_object_get(line, "queues"), *weight;
    const char *name;
    size_t count = 0;

    json_object_foreach(queues, name, weight)
    {
        assert_true(count < ITEMS_MAX);
        weights[count++] =
            (cq_queue_weight){ cq_str_of(name), (int32_t)json_integer_value(weight) };
    }
    qsort(weights, count, sizeof weights[0], by_name);
    info->server = (cq_server_info){
        .host = hex_at("host"),
        .pid = int_at("pid"),
        .server_id = text_at("server_id"),
        .concurrency = int_at("concurrency"),
        .queues = weights,
        .queue_count = count,
        .strict_priority = json_is_true(json_object_get(line, "strict_priority")),
        .status = text_at("status"),
        .start_time = time_at("start_time"),
        .active_worker_count = int_at("active_worker_count"),
    };
}

static void fill_worker(any_info *info)
{
    info->worker = (cq_worker_info){
        .host = hex_at("host"),
        .pid = int_at("pid"),
        .server_id = text_at("server_id"),
        .task_id = text_at("task_id"),
        .task_type = text_at("task_type"),
        .task_payload = payload_at("task_payload", "task_payload_nil"),
        .queue = text_at("queue"),
        .start_time = time_at("start_time"),
        .deadline = time_at("deadline"),
    };
}

static void fill_entry(any_info *info)
{
    json_t *option;
    size_t count;

    json_array_foreach(json_object_get(line, "enqueue_options"), count, option)
    {
        assert_true(count < ITEMS_MAX);
        options[count] =
            (cq_str){ json_string_value(option), json_string_length(option) };
    }
    info->entry = (cq_entry_info){
        .id = text_at("id"),
        .spec = text_at("spec"),
        .task_type = text_at("task_type"),
        .task_payload = payload_at("task_payload", "task_payload_nil"),
        .options = options,
        .option_count = count,
        .next = time_at("next_enqueue_time"),
        .previous = time_at("prev_enqueue_time"),
    };
}

static void fill_event(any_info *info)
{
    info->event = (cq_enqueue_event){
        .task_id = hex_at("task_id"),
        .enqueued_at = time_at("enqueue_time"),
    };
}

static cronq_status encode_server(const any_info *info, cronq_error *err)
{
    return cq_server_info_encode(&info->server, &out, err);
}

static cronq_status encode_worker(const any_info *info, cronq_error *err)
{
    return cq_worker_info_encode(&info->worker, &out, err);
}

static cronq_status encode_entry(const any_info *info, cronq_error *err)
{
    return cq_entry_info_encode(&info->entry, &out, err);
}

static cronq_status encode_event(const any_info *info, cronq_error *err)
{
    return cq_enqueue_event_encode(&info->event, &out, err);
}

static cronq_status decode_server(cronq_bytes in, any_info *info, cronq_error *err)
{
    return cq_server_info_decode(in, &arena, &info->server, err);
}

static cronq_status decode_worker(cronq_bytes in, any_info *info, cronq_error *err)
{
    return cq_worker_info_decode(in, &arena, &info->worker, err);
}

static cronq_status decode_entry(cronq_bytes in, any_info *info, cronq_error *err)
{
    return cq_entry_info_decode(in, &arena, &info->entry, err);
}

static cronq_status decode_event(cronq_bytes in, any_info *info, cronq_error *err)
{
    return cq_enqueue_event_decode(in, &arena, &info->event, err);
}

static void assert_text(cq_str actual, cq_str expected)
{
    assert_true(cq_str_eq(actual, expected));
}

/* An empty payload is not written, and so reads back as absent. */
static void assert_payload(cronq_bytes actual, cronq_bytes expected)
{
    assert_int_equal(actual.len, expected.len);
    assert_int_equal(actual.data != NULL, expected.len != 0);
    if (expected.len)
        assert_memory_equal(actual.data, expected.data, expected.len);
}

static void assert_time(cq_timestamp actual, cq_timestamp expected)
{
    assert_true(actual.seconds == expected.seconds);
    assert_int_equal(actual.nanos, expected.nanos);
}

static void same_server(const any_info *actual, const any_info *expected)
{
    const cq_server_info *a = &actual->server, *e = &expected->server;

    assert_text(a->host, e->host);
    assert_int_equal(a->pid, e->pid);
    assert_text(a->server_id, e->server_id);
    assert_int_equal(a->concurrency, e->concurrency);
    assert_int_equal(a->strict_priority, e->strict_priority);
    assert_text(a->status, e->status);
    assert_time(a->start_time, e->start_time);
    assert_int_equal(a->active_worker_count, e->active_worker_count);
    assert_int_equal(a->queue_count, e->queue_count);
    for (size_t i = 0; i < e->queue_count; i++) {
        size_t at = 0;

        while (at < a->queue_count && !cq_str_eq(a->queues[at].name, e->queues[i].name))
            at++;
        assert_true(at < a->queue_count);
        assert_int_equal(a->queues[at].weight, e->queues[i].weight);
    }
}

static void same_worker(const any_info *actual, const any_info *expected)
{
    const cq_worker_info *a = &actual->worker, *e = &expected->worker;

    assert_text(a->host, e->host);
    assert_int_equal(a->pid, e->pid);
    assert_text(a->server_id, e->server_id);
    assert_text(a->task_id, e->task_id);
    assert_text(a->task_type, e->task_type);
    assert_payload(a->task_payload, e->task_payload);
    assert_text(a->queue, e->queue);
    assert_time(a->start_time, e->start_time);
    assert_time(a->deadline, e->deadline);
}

static void same_entry(const any_info *actual, const any_info *expected)
{
    const cq_entry_info *a = &actual->entry, *e = &expected->entry;

    assert_text(a->id, e->id);
    assert_text(a->spec, e->spec);
    assert_text(a->task_type, e->task_type);
    assert_payload(a->task_payload, e->task_payload);
    assert_int_equal(a->option_count, e->option_count);
    for (size_t i = 0; i < e->option_count; i++)
        assert_text(a->options[i], e->options[i]);
    assert_time(a->next, e->next);
    assert_time(a->previous, e->previous);
}

static void same_event(const any_info *actual, const any_info *expected)
{
    assert_text(actual->event.task_id, expected->event.task_id);
    assert_time(actual->event.enqueued_at, expected->event.enqueued_at);
}

static const struct {
    const char *kind;
    void (*fill)(any_info *info);
    cronq_status (*encode)(const any_info *info, cronq_error *err);
    cronq_status (*decode)(cronq_bytes in, any_info *info, cronq_error *err);
    void (*same)(const any_info *actual, const any_info *expected);
} kinds[] = {
    { "ServerInfo", fill_server, encode_server, decode_server, same_server },
    { "WorkerInfo", fill_worker, encode_worker, decode_worker, same_worker },
    { "SchedulerEntry", fill_entry, encode_entry, decode_entry, same_entry },
    { "SchedulerEnqueueEvent", fill_event, encode_event, decode_event, same_event },
};

static void check_line(json_t *json, size_t number)
{
    const char *kind = json_string_value(json_object_get(json, "kind"));
    const char *sorted = json_string_value(json_object_get(json, "hex_sorted_queues"));
    const char *hex = json_string_value(json_object_get(json, "hex"));
    cronq_error err = { 0 };
    any_info info, back;
    cronq_status status;
    cq_str wire;
    size_t k = 0;

    (void)number;
    line = json;
    while (strcmp(kinds[k].kind, kind) != 0)
        assert_true(++k < sizeof kinds / sizeof kinds[0]);
    kinds[k].fill(&info);
    cq_buf_reset(&out);
    status = kinds[k].encode(&info, &err);
    if (json_object_get(json, "encode_error")) {
        assert_int_equal(status, CRONQ_EINVAL);
        assert_non_null(strstr(err.text, "UTF-8"));
        assert_int_equal(out.len, 0);
        return;
    }
    assert_int_equal(status, CRONQ_OK);
    assert_text(cq_buf_str(&out), unhexed(sorted ? sorted : hex));
    wire = unhexed(hex);
    status = kinds[k].decode((cronq_bytes){ wire.data, wire.len }, &back, &err);
    assert_int_equal(status, CRONQ_OK);
    kinds[k].same(&back, &info);
}

static void every_recorded_info_has_the_same_bytes_and_fields(void **state)
{
    (void)state;
    golden_each("infos.jsonl", check_line);
}

static cronq_status decode_hex(const char *hex, cq_enqueue_event *event)
{
    cq_str wire = unhexed(hex);

    return cq_enqueue_event_decode((cronq_bytes){ wire.data, wire.len }, &arena, event,
                                   NULL);
}

static void timestamps_merge_and_normalise_as_in_go(void **state)
{
    static const struct {
        const char *hex;
        int64_t seconds;
        int32_t nanos;
    } rows[] = {
        { "", 0, 0 },                                       /* absent */
        { "1200", 0, 0 },                                   /* empty */
        { "1202080512021007", 5, 7 },                       /* two merge */
        { "120208051202100712020806", 6, 7 },               /* the last wins */
        { "120410070805", 5, 7 },                           /* any order */
        { "12041a00780512020805", 5, 0 },                   /* unknown fields */
        { "12070d010203040805", 5, 0 },                     /* wrong wire type */
        { "100312020805", 5, 0 },                           /* not a message */
        { "120d080510ffffffffffffffffff01", 4, 999999999 }, /* -1 ns */
        { "120610ffffffff07", 2, 147483647 },               /* 2^31 - 1 ns */
        { "120b1080808080f8ffffffff01", -3, 852516352 },    /* -2^31 ns */
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        cq_enqueue_event event;

        assert_int_equal(decode_hex(rows[i].hex, &event), CRONQ_OK);
        assert_true(event.enqueued_at.seconds == rows[i].seconds);
        assert_int_equal(event.enqueued_at.nanos, rows[i].nanos);
    }
    assert_int_equal(decode_hex("12020d000000001805", &(cq_enqueue_event){ 0 }),
                     CRONQ_EPROTO); /* cut short within the timestamp */
}

static void weights_follow_the_rules_of_maps(void **state)
{
    /* no value; no key; key twice; wrong wire types; a repeated name; bad UTF-8 */
    cq_str wire = unhexed("2a030a01612a0210072a080a01620a016310052a0508051201781001"
                          "2a050a01611009");
    cq_str bad = unhexed("2a030a01ff");
    cq_server_info info;

    (void)state;
    assert_int_equal(
        cq_server_info_decode((cronq_bytes){ wire.data, wire.len }, &arena, &info, NULL),
        CRONQ_OK);
    assert_int_equal(info.queue_count, 3);
    assert_int_equal(info.pid, 1);
    assert_text(info.queues[0].name, CQ_STR("c"));
    assert_int_equal(info.queues[0].weight, 5);
    assert_text(info.queues[1].name, CQ_STR(""));
    assert_int_equal(info.queues[1].weight, 0);
    assert_text(info.queues[2].name, CQ_STR("a"));
    assert_int_equal(info.queues[2].weight, 9);
    assert_int_equal(
        cq_server_info_decode((cronq_bytes){ bad.data, bad.len }, &arena, &info, NULL),
        CRONQ_EPROTO);
}

static void options_must_be_utf8_each(void **state)
{
    cq_str wire = unhexed("2a016f2a002a01ff");
    cq_str texts[] = { CQ_STR("good"), CQ_STR("bad\xC3") };
    cq_entry_info info = { .options = texts, .option_count = 2 };
    cronq_error err = { 0 };

    (void)state;
    assert_int_equal(
        cq_entry_info_decode((cronq_bytes){ wire.data, wire.len }, &arena, &info, &err),
        CRONQ_EPROTO);
    assert_non_null(strstr(err.text, "options"));
    assert_int_equal(cq_entry_info_decode((cronq_bytes){ wire.data, wire.len - 3 },
                                          &arena, &info, NULL),
                     CRONQ_OK);
    assert_int_equal(info.option_count, 2);
    info = (cq_entry_info){ .options = texts, .option_count = 2 };
    cq_buf_reset(&out);
    assert_int_equal(cq_entry_info_encode(&info, &out, &err), CRONQ_EINVAL);
    assert_non_null(strstr(err.text, "options"));
    assert_non_null(strstr(err.text, "\"bad\\xc3\""));
}

static void nanoseconds_split_into_a_timestamp(void **state)
{
    (void)state;
    assert_time(cq_timestamp_of_ns(0), (cq_timestamp){ 0, 0 });
    assert_time(cq_timestamp_of_ns(-1), (cq_timestamp){ -1, 999999999 });
    assert_time(cq_timestamp_of_ns(-1000000000), (cq_timestamp){ -1, 0 });
    assert_time(cq_timestamp_of_ns(1999999999), (cq_timestamp){ 1, 999999999 });
    assert_time(cq_timestamp_of_ns(INT64_MIN), (cq_timestamp){ -9223372037, 145224192 });
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_recorded_info_has_the_same_bytes_and_fields),
        cmocka_unit_test(timestamps_merge_and_normalise_as_in_go),
        cmocka_unit_test(weights_follow_the_rules_of_maps),
        cmocka_unit_test(options_must_be_utf8_each),
        cmocka_unit_test(nanoseconds_split_into_a_timestamp),
    };

    return cmocka_run_group_tests(tests, open_memory, close_memory);
}
