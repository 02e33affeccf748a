/* SPDX-License-Identifier: MIT */
/* fuzz_protobuf.c - what decodes must encode, to bytes that decode and encode the same.
 * The first byte chooses the message. */
#include "codec/info.h"
#include "codec/message.h"

#include <stdlib.h>

#define LIMIT_BYTES (1u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef union any_message {
    cq_message task;
    cq_server_info server;
    cq_worker_info worker;
    cq_entry_info entry;
    cq_enqueue_event event;
} any_message;

static cronq_status decode(unsigned kind, cronq_bytes in, cq_arena *arena,
                           any_message *out)
{
    switch (kind % 5) {
    case 0:
        return cq_message_decode(in, arena, &out->task, NULL);
    case 1:
        return cq_server_info_decode(in, arena, &out->server, NULL);
    case 2:
        return cq_worker_info_decode(in, arena, &out->worker, NULL);
    case 3:
        return cq_entry_info_decode(in, arena, &out->entry, NULL);
    default:
        return cq_enqueue_event_decode(in, arena, &out->event, NULL);
    }
}

static cronq_status encode(unsigned kind, const any_message *in, cq_buf *out)
{
    switch (kind % 5) {
    case 0:
        return cq_message_encode(&in->task, out, NULL);
    case 1:
        return cq_server_info_encode(&in->server, out, NULL);
    case 2:
        return cq_worker_info_encode(&in->worker, out, NULL);
    case 3:
        return cq_entry_info_encode(&in->entry, out, NULL);
    default:
        return cq_enqueue_event_encode(&in->event, out, NULL);
    }
}

static void check(unsigned kind, const any_message *first, cq_arena *arena)
{
    cq_buf once, twice;
    any_message second;

    cq_buf_init(&once, 2 * LIMIT_BYTES);
    cq_buf_init(&twice, 2 * LIMIT_BYTES);
    if (encode(kind, first, &once))
        abort();
    if (decode(kind, (cronq_bytes){ once.data, once.len }, arena, &second))
        abort();
    if (encode(kind, &second, &twice))
        abort();
    if (!cq_str_eq(cq_buf_str(&once), cq_buf_str(&twice)))
        abort();
    cq_buf_release(&once);
    cq_buf_release(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    any_message message;
    cq_arena arena;

    if (size == 0 || size > LIMIT_BYTES / 64)
        return 0;
    cq_arena_init(&arena, 2 * LIMIT_BYTES);
    if (decode(data[0], (cronq_bytes){ data + 1, size - 1 }, &arena, &message) ==
        CRONQ_OK)
        check(data[0], &message, &arena);
    cq_arena_release(&arena);
    return 0;
}
