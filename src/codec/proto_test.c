/* SPDX-License-Identifier: MIT */
/* proto_test.c - the rules of protobuf that the recorded vectors only touch: groups,
 * field numbers, maps, arrays, and writing by hand. */
#include "codec/info.h"
#include "codec/message.h"
#include "codec/proto.h"
#include "support/golden.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define GO_GROUP_DEPTH 10001

static cq_arena arena;
static cq_buf wire;

static int open_memory(void **state)
{
    (void)state;
    cq_arena_init(&arena, 1 << 26);
    cq_buf_init(&wire, 1 << 24);
    return 0;
}

static int close_memory(void **state)
{
    (void)state;
    cq_arena_release(&arena);
    cq_buf_release(&wire);
    return 0;
}

static cronq_status decode_wire(cq_message *out)
{
    return cq_message_decode((cronq_bytes){ wire.data, wire.len }, &arena, out, NULL);
}

static cronq_status decode_hex(const char *hex, cq_message *out)
{
    size_t len;
    unsigned char *bytes = golden_unhex(hex, &len);

    cq_buf_reset(&wire);
    cq_buf_append(&wire, bytes, len);
    free(bytes);
    return decode_wire(out);
}

static void fields_are_skipped_or_refused_as_in_go(void **state)
{
    static const struct {
        const char *hex;
        bool good;
    } rows[] = {
        /* groups: of a field unknown and of one known, empty, nested, mismatched */
        { "9b069c062801", true },
        { "0b0c2801", true },
        { "9b06a306a4069c062801", true },
        { "9b06a3069c06a4062801", false },
        { "9b06a3069c062801", false },
        { "0b142801", false },
        /* within a group: every wire type, numbers up to 2^31 - 1, none above, not 0 */
        { "9b0608011101020304050607081a016125010203049c062801", true },
        { "9b06f8ffffff3f019c062801", true },
        { "9b068080808040019c062801", false },
        { "9b0600019c062801", false },
        { "9b060e9c062801", false },
        { "9b0608019c06", true },
        { "9b06", false },
        { "9b061a05612801", false },
        /* tags of ten bytes, and of too many */
        { "a880808080808080800001", true },
        { "a88080808080808080800001", false },
        { "a880808080808080800201", false },
        /* fixed fields cut short */
        { "9d06010203", false },
        { "990601020304050607", false },
        /* lengths */
        { "0a808080808080808080002801", true },
        { "0affffffff0f", false },
        { "0affffffffffffffffff01", false },
        /* an end of group by itself, of a number known */
        { "28010c", false },
        /* map entries: a group within, an end of a group, field 0, a field too large */
        { "7a0413140a002801", true },
        { "7a020b0c2801", true },
        { "7a010c2801", false },
        { "7a0200002801", false },
        { "7a068080808010012801", false },
        { "7a020a052801", false },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        cq_message message;
        cronq_status status = decode_hex(rows[i].hex, &message);

        if (status != (rows[i].good ? CRONQ_OK : CRONQ_EPROTO))
            fail_msg("%s: %d", rows[i].hex, status);
    }
}

static cronq_status decode_nested_groups(size_t depth)
{
    cq_message message;

    cq_buf_reset(&wire);
    for (size_t i = 0; i < depth; i++)
        cq_proto_put_tag(&wire, (uint32_t)(20 + i % 3), CQ_WIRE_GROUP);
    for (size_t i = depth; i > 0; i--)
        cq_proto_put_tag(&wire, (uint32_t)(20 + (i - 1) % 3), CQ_WIRE_END_GROUP);
    return decode_wire(&message);
}

static void groups_nest_as_deep_as_in_go(void **state)
{
    (void)state;
    assert_int_equal(decode_nested_groups(1), CRONQ_OK);
    assert_int_equal(decode_nested_groups(GO_GROUP_DEPTH), CRONQ_OK);
    assert_int_equal(decode_nested_groups(GO_GROUP_DEPTH + 1), CRONQ_EPROTO);
    assert_int_equal(decode_nested_groups(1000000), CRONQ_EPROTO);
}

static void put_header(const char *key, const char *value)
{
    char entry[256];
    cq_buf body;

    cq_buf_init(&body, sizeof entry);
    cq_proto_put_bytes(&body, 1, key, strlen(key));
    cq_proto_put_bytes(&body, 2, value, strlen(value));
    cq_proto_put_bytes(&wire, 15, body.data, body.len);
    cq_buf_release(&body);
}

/* count keys, each written twice in rounds: the second round must win. */
static void check_headers(size_t count)
{
    cq_message message;
    char key[32];

    cq_buf_reset(&wire);
    for (int round = 0; round < 2; round++)
        for (size_t i = 0; i < count; i++) {
            snprintf(key, sizeof key, "key-%zu", i * 7919 % count);
            put_header(key, round ? "new" : "old");
        }
    assert_int_equal(decode_wire(&message), CRONQ_OK);
    assert_int_equal(message.header_count, count);
    for (size_t i = 0; i < count; i++) {
        snprintf(key, sizeof key, "key-%zu", i * 7919 % count);
        assert_true(cq_str_eq(message.headers[i].key, cq_str_of(key)));
        assert_true(cq_str_eq(message.headers[i].value, CQ_STR("new")));
    }
}

static void of_repeated_header_keys_the_last_wins(void **state)
{
    static const size_t counts[] = {
        1, 2, 8, 9, 15, 16, 17, 32, 33, 64, 65, 1000, 20000
    };

    (void)state;
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
        check_headers(counts[i]);
}

static void keys_that_begin_alike_are_not_the_same(void **state)
{
    cq_message message;
    char key[64] = "";

    (void)state;
    cq_buf_reset(&wire);
    for (size_t len = 0; len < 50; len++) {
        put_header(key, "v");
        key[len] = 'a';
    }
    assert_int_equal(decode_wire(&message), CRONQ_OK);
    assert_int_equal(message.header_count, 50);
}

static void long_arrays_keep_their_order(void **state)
{
    static cq_str texts[1000];
    static char room[1000][8];
    cq_entry_info entry = { .options = texts, .option_count = 1000 }, back;

    (void)state;
    for (size_t i = 0; i < 1000; i++) {
        snprintf(room[i], sizeof room[i], "%zu", i);
        texts[i] = cq_str_of(room[i]);
    }
    cq_buf_reset(&wire);
    assert_int_equal(cq_entry_info_encode(&entry, &wire, NULL), CRONQ_OK);
    assert_int_equal(
        cq_entry_info_decode((cronq_bytes){ wire.data, wire.len }, &arena, &back, NULL),
        CRONQ_OK);
    assert_int_equal(back.option_count, 1000);
    for (size_t i = 0; i < 1000; i++)
        assert_true(cq_str_eq(back.options[i], texts[i]));
}

static void text_and_payload_point_into_the_input(void **state)
{
    cq_message message;

    (void)state;
    assert_int_equal(decode_hex("0a0274741203010203", &message), CRONQ_OK);
    assert_ptr_equal(message.type.data, wire.data + 2);
    assert_ptr_equal(message.payload.data, wire.data + 6);
    assert_int_equal(decode_hex("1201011200", &message), CRONQ_OK);
    assert_null(message.payload.data); /* the last wins, and empty is absent */
}

static void assert_wire(const char *hex)
{
    size_t len;
    unsigned char *bytes = golden_unhex(hex, &len);

    assert_int_equal(wire.status, CRONQ_OK);
    assert_int_equal(wire.len, len);
    assert_memory_equal(wire.data, bytes, len);
    free(bytes);
    cq_buf_reset(&wire);
}

static void what_is_written_by_hand_is_protobuf(void **state)
{
    (void)state;
    cq_buf_reset(&wire);
    cq_proto_put_varint(&wire, 0);
    assert_wire("00");
    cq_proto_put_varint(&wire, 127);
    cq_proto_put_varint(&wire, 128);
    assert_wire("7f8001");
    cq_proto_put_varint(&wire, UINT64_MAX);
    assert_wire("ffffffffffffffffff01");
    cq_proto_put_tag(&wire, (1u << 29) - 1, CQ_WIRE_FIXED32);
    assert_wire("fdffffff0f");
    cq_proto_put_uint(&wire, 16, 300);
    assert_wire("8001ac02");
    cq_proto_put_bytes(&wire, 2, "abc", 3);
    cq_proto_put_bytes(&wire, 2, NULL, 0);
    assert_wire("12036162631200");
    cq_proto_put_fixed64(&wire, 7, 0x0102030405060708);
    assert_wire("390807060504030201");
}

static void writing_by_hand_stops_at_the_limit(void **state)
{
    cq_buf small;

    (void)state;
    cq_buf_init(&small, 4);
    cq_proto_put_bytes(&small, 1, "ab", 2);
    assert_int_equal(small.status, CRONQ_OK);
    cq_proto_put_varint(&small, 1);
    assert_int_equal(small.status, CRONQ_ETOOBIG);
    assert_int_equal(small.len, 4);
    cq_buf_release(&small);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_are_skipped_or_refused_as_in_go),
        cmocka_unit_test(groups_nest_as_deep_as_in_go),
        cmocka_unit_test(of_repeated_header_keys_the_last_wins),
        cmocka_unit_test(keys_that_begin_alike_are_not_the_same),
        cmocka_unit_test(long_arrays_keep_their_order),
        cmocka_unit_test(text_and_payload_point_into_the_input),
        cmocka_unit_test(what_is_written_by_hand_is_protobuf),
        cmocka_unit_test(writing_by_hand_stops_at_the_limit),
    };

    return cmocka_run_group_tests(tests, open_memory, close_memory);
}
