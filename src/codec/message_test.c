/* SPDX-License-Identifier: MIT */
/* message_test.c - tasks on the wire: every recorded encoding and decoding, and what
 * damaged input may not do. */
#include "base/random.h"
#include "codec/message.h"
#include "support/golden.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ARENA_LIMIT_BYTES (1u << 24)
#define BUFFER_LIMIT      (1u << 26)
#define HEADERS_MAX       1024

/* A message of the vectors, with the memory that its strings are in. */
typedef struct sample {
    cq_message message;
    cq_header headers[HEADERS_MAX];
    unsigned char *owned[16 + 2 * HEADERS_MAX];
    size_t owned_count;
} sample;

static cq_str text_of(sample *s, json_t *hex)
{
    size_t len;
    unsigned char *bytes;

    assert_true(json_is_string(hex));
    bytes = golden_unhex(json_string_value(hex), &len);
    s->owned[s->owned_count++] = bytes;
    return (cq_str){ (char *)bytes, len };
}

static int64_t number_of(json_t *value)
{
    if (json_is_integer(value))
        return json_integer_value(value);
    assert_true(json_is_string(value));
    return strtoll(json_string_value(value), NULL, 10);
}

static void sample_release(sample *s)
{
    for (size_t i = 0; i < s->owned_count; i++)
        free(s->owned[i]);
}

static void sample_init(sample *s, json_t *msg)
{
    cq_message *m = &s->message;
    cq_str payload;
    json_t *pair;
    size_t i;

    memset(s, 0, sizeof *s);
    m->type = text_of(s, json_object_get(msg, "type"));
    payload = text_of(s, json_object_get(msg, "payload"));
    if (json_is_false(json_object_get(msg, "payload_nil")))
        m->payload = (cronq_bytes){ payload.data, payload.len };
    m->id = text_of(s, json_object_get(msg, "id"));
    m->queue = text_of(s, json_object_get(msg, "queue"));
    /* The reference cuts them to 32 bits when it encodes. */
    m->max_retry = (int32_t)number_of(json_object_get(msg, "retry"));
    m->retried = (int32_t)number_of(json_object_get(msg, "retried"));
    m->error_msg = text_of(s, json_object_get(msg, "error_msg"));
    m->timeout_s = number_of(json_object_get(msg, "timeout"));
    m->deadline_at_s = number_of(json_object_get(msg, "deadline"));
    m->unique_key = text_of(s, json_object_get(msg, "unique_key"));
    m->last_failed_at_s = number_of(json_object_get(msg, "last_failed_at"));
    m->retention_s = number_of(json_object_get(msg, "retention"));
    m->completed_at_s = number_of(json_object_get(msg, "completed_at"));
    m->group = text_of(s, json_object_get(msg, "group_key"));
    json_array_foreach(json_object_get(msg, "headers"), i, pair)
    {
        assert_true(i < HEADERS_MAX);
        s->headers[i].key = text_of(s, json_array_get(pair, 0));
        s->headers[i].value = text_of(s, json_array_get(pair, 1));
    }
    m->headers = s->headers;
    m->header_count = i;
}

static void assert_text(cq_str actual, cq_str expected)
{
    assert_int_equal(actual.len, expected.len);
    if (expected.len)
        assert_memory_equal(actual.data, expected.data, expected.len);
}

static cq_str header_of(const cq_message *message, cq_str key)
{
    for (size_t i = 0; i < message->header_count; i++)
        if (cq_str_eq(message->headers[i].key, key))
            return message->headers[i].value;
    fail_msg("no header \"%.*s\"", CQ_FMT(key));
    return (cq_str){ NULL, 0 };
}

static void assert_message(const cq_message *actual, const cq_message *expected)
{
    assert_text(actual->type, expected->type);
    assert_int_equal(actual->payload.len, expected->payload.len);
    assert_int_equal(actual->payload.data != NULL, expected->payload.data != NULL);
    if (expected->payload.len)
        assert_memory_equal(actual->payload.data, expected->payload.data,
                            expected->payload.len);
    assert_text(actual->id, expected->id);
    assert_text(actual->queue, expected->queue);
    assert_int_equal(actual->max_retry, expected->max_retry);
    assert_int_equal(actual->retried, expected->retried);
    assert_text(actual->error_msg, expected->error_msg);
    assert_true(actual->timeout_s == expected->timeout_s);
    assert_true(actual->deadline_at_s == expected->deadline_at_s);
    assert_text(actual->unique_key, expected->unique_key);
    assert_true(actual->last_failed_at_s == expected->last_failed_at_s);
    assert_true(actual->retention_s == expected->retention_s);
    assert_true(actual->completed_at_s == expected->completed_at_s);
    assert_text(actual->group, expected->group);
    assert_int_equal(actual->header_count, expected->header_count);
    for (size_t i = 0; i < expected->header_count; i++)
        assert_text(header_of(actual, expected->headers[i].key),
                    expected->headers[i].value);
}

/* The bytes of a copy that ends where its memory ends, so that a sanitizer sees any read
 * beyond. */
static cronq_status decode_exact(const void *data, size_t len, cq_arena *arena,
                                 unsigned char **copy, cq_message *out, cronq_error *err)
{
    *copy = malloc(len ? len : 1);
    assert_non_null(*copy);
    if (len)
        memcpy(*copy, data, len);
    return cq_message_decode((cronq_bytes){ len ? *copy : NULL, len }, arena, out, err);
}

static void check_decoding(const char *hex, json_t *expected_msg)
{
    cq_message message = { .max_retry = 4711 };
    unsigned char *bytes, *copy;
    cronq_error err = { 0 };
    cronq_status status;
    sample expected;
    cq_arena arena;
    size_t len;

    cq_arena_init(&arena, ARENA_LIMIT_BYTES);
    bytes = golden_unhex(hex, &len);
    status = decode_exact(bytes, len, &arena, &copy, &message, &err);
    if (expected_msg) {
        assert_int_equal(status, CRONQ_OK);
        sample_init(&expected, expected_msg);
        assert_message(&message, &expected.message);
        sample_release(&expected);
    } else {
        assert_int_equal(status, CRONQ_EPROTO);
        assert_int_equal(err.code, CRONQ_EPROTO);
        assert_true(strlen(err.text) > 0);
        assert_int_equal(message.max_retry, 4711); /* untouched */
    }
    free(copy);
    free(bytes);
    cq_arena_release(&arena);
}

static void check_decode_line(json_t *line, size_t number)
{
    (void)number;
    check_decoding(json_string_value(json_object_get(line, "hex")),
                   json_object_get(line, "msg"));
}

static void check_message_line(json_t *line, size_t number)
{
    json_t *sorted = json_object_get(line, "hex_sorted_headers");
    json_t *hex = sorted ? sorted : json_object_get(line, "hex");
    cronq_error err = { 0 };
    cronq_status status;
    sample given;
    cq_buf out;

    (void)number;
    sample_init(&given, json_object_get(line, "msg"));
    cq_buf_init(&out, BUFFER_LIMIT);
    cq_buf_append_text(&out, "before");
    status = cq_message_encode(&given.message, &out, &err);
    if (json_object_get(line, "encode_error")) {
        assert_int_equal(status, CRONQ_EINVAL);
        assert_non_null(strstr(err.text, "UTF-8"));
        assert_int_equal(out.len, 6);
    } else {
        size_t len;
        unsigned char *bytes = golden_unhex(json_string_value(hex), &len);

        assert_int_equal(status, CRONQ_OK);
        assert_int_equal(out.len, 6 + len);
        assert_memory_equal(out.data, "before", 6);
        if (len)
            assert_memory_equal(out.data + 6, bytes, len);
        free(bytes);
        check_decoding(json_string_value(json_object_get(line, "hex")),
                       json_object_get(line, "decoded"));
    }
    cq_buf_release(&out);
    sample_release(&given);
}

static void every_recorded_message_has_the_same_bytes_and_fields(void **state)
{
    (void)state;
    golden_each("messages.jsonl", check_message_line);
}

static void every_recorded_input_is_read_or_rejected_alike(void **state)
{
    (void)state;
    golden_each("decode.jsonl", check_decode_line);
}

/* Decode from memory of exactly this size; what is read must also be written again. */
static void survive(const unsigned char *data, size_t len, cq_arena *arena)
{
    cronq_error err = { 0 };
    cq_message message;
    unsigned char *copy;
    cronq_status status;
    cq_buf out;

    cq_arena_reset(arena);
    status = decode_exact(data, len, arena, &copy, &message, &err);
    if (status == CRONQ_OK) {
        cq_buf_init(&out, BUFFER_LIMIT);
        assert_int_equal(cq_message_encode(&message, &out, NULL), CRONQ_OK);
        cq_buf_release(&out);
    } else {
        assert_int_equal(status, CRONQ_EPROTO);
        assert_true(err.text[0] != '\0');
    }
    free(copy);
}

/* The recorded encodings, short ones, for tests that damage them. */
static struct {
    unsigned char *data;
    size_t len;
} recorded[256];
static size_t recorded_count;

static void collect_line(json_t *line, size_t number)
{
    const char *hex = json_string_value(json_object_get(line, "hex"));

    (void)number;
    if (!hex || strlen(hex) > 1024 || recorded_count == 256)
        return;
    recorded[recorded_count].data = golden_unhex(hex, &recorded[recorded_count].len);
    recorded_count++;
}

static int collect(void **state)
{
    (void)state;
    golden_each("messages.jsonl", collect_line);
    golden_each("decode.jsonl", collect_line);
    return 0;
}

static int forget(void **state)
{
    (void)state;
    while (recorded_count)
        free(recorded[--recorded_count].data);
    return 0;
}

static void every_truncation_is_read_or_refused(void **state)
{
    cq_arena arena;

    (void)state;
    cq_arena_init(&arena, ARENA_LIMIT_BYTES);
    for (size_t i = 0; i < recorded_count; i++)
        for (size_t len = 0; len <= recorded[i].len; len++)
            survive(recorded[i].data, len, &arena);
    cq_arena_release(&arena);
}

static void mutate(cq_random *random, unsigned char *data, size_t *len, size_t room)
{
    size_t at = (size_t)cq_random_below(random, *len + 1);
    unsigned char byte = (unsigned char)cq_random_next(random);

    switch (cq_random_below(random, 4)) {
    case 0:
        if (at < *len)
            data[at] = byte;
        break;
    case 1:
        if (at < *len)
            data[at] ^= (unsigned char)(1u << (byte & 7));
        break;
    case 2:
        if (*len == room)
            break;
        memmove(data + at + 1, data + at, *len - at);
        data[at] = byte;
        (*len)++;
        break;
    default:
        if (at == *len)
            break;
        memmove(data + at, data + at + 1, *len - at - 1);
        (*len)--;
    }
}

static void random_damage_never_does_harm(void **state)
{
    unsigned char data[600];
    cq_random random;
    cq_arena arena;

    (void)state;
    cq_random_seed(&random, 20260101);
    cq_arena_init(&arena, ARENA_LIMIT_BYTES);
    for (int i = 0; i < 100000; i++) {
        size_t which = (size_t)cq_random_below(&random, recorded_count);
        size_t len = recorded[which].len;

        memcpy(data, recorded[which].data, len);
        for (uint64_t edits = 1 + cq_random_below(&random, 4); edits; edits--)
            mutate(&random, data, &len, sizeof data);
        survive(data, len, &arena);
    }
    cq_arena_release(&arena);
}

static void a_string_that_is_not_utf8_is_named(void **state)
{
    cq_header header = { CQ_STR("k\xFF"), CQ_STR("v") };
    cq_message message = { .type = CQ_STR("t"), .headers = &header, .header_count = 1 };
    cronq_error err = { 0 };
    cq_buf out;

    (void)state;
    cq_buf_init(&out, 100);
    assert_int_equal(cq_message_encode(&message, &out, &err), CRONQ_EINVAL);
    assert_string_equal(err.text, "headers of the task is not valid UTF-8: \"k\\xff\"");
    message = (cq_message){ .error_msg = CQ_STR("\xC3") };
    assert_int_equal(cq_message_encode(&message, &out, &err), CRONQ_EINVAL);
    assert_string_equal(err.text, "error_msg of the task is not valid UTF-8: \"\\xc3\"");
    assert_int_equal(out.len, 0);
    assert_int_equal(out.status, CRONQ_OK); /* the buffer is still good */
    cq_buf_release(&out);
}

static void a_message_over_the_limit_leaves_the_buffer_as_it_was(void **state)
{
    cq_message message = { .type = CQ_STR("t"), .id = CQ_STR("1234567890") };
    cronq_error err = { 0 };
    cq_buf out;

    (void)state;
    cq_buf_init(&out, 20);
    cq_buf_append_text(&out, "12345");
    assert_int_equal(cq_message_encode(&message, &out, &err), CRONQ_OK); /* 15: fits */
    assert_int_equal(out.len, 20);
    cq_buf_reset(&out);
    cq_buf_append_text(&out, "123456");
    assert_int_equal(cq_message_encode(&message, &out, &err), CRONQ_ETOOBIG);
    assert_int_equal(err.code, CRONQ_ETOOBIG);
    assert_int_equal(out.len, 6);
    cq_buf_release(&out);
}

static void headers_that_fit_no_arena_are_an_error(void **state)
{
    cronq_error err = { 0 };
    cq_message message;
    cq_arena arena;

    (void)state;
    cq_arena_init(&arena, 16);
    assert_int_equal(
        cq_message_decode((cronq_bytes)CRONQ_LIT("\x7A\x00"), &arena, &message, &err),
        CRONQ_ENOMEM);
    assert_int_equal(err.code, CRONQ_ENOMEM);
    cq_arena_release(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_recorded_message_has_the_same_bytes_and_fields),
        cmocka_unit_test(every_recorded_input_is_read_or_rejected_alike),
        cmocka_unit_test(every_truncation_is_read_or_refused),
        cmocka_unit_test(random_damage_never_does_harm),
        cmocka_unit_test(a_string_that_is_not_utf8_is_named),
        cmocka_unit_test(a_message_over_the_limit_leaves_the_buffer_as_it_was),
        cmocka_unit_test(headers_that_fit_no_arena_are_an_error),
    };

    return cmocka_run_group_tests(tests, collect, forget);
}
