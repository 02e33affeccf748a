/* SPDX-License-Identifier: MIT */
/* fuzz_resp.c - replies are the same, or refused the same, in pieces as in one. The first
 * byte is the size of the pieces. */
#include "base/buf.h"
#include "net/reader.h"

#include <stdlib.h>

#define ARENA_BYTES ((size_t)4 << 20)
#define TEXT_BYTES  ((size_t)16 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void describe(cq_buf *out, const cq_reply *reply)
{
    cq_buf_append_char(out, (char)('a' + (int)reply->type));
    cq_buf_append_int(out, reply->integer);
    cq_buf_append_int(out, (int64_t)reply->text.len);
    cq_buf_append_str(out, reply->text);
    if (reply->text.data && reply->text.data[reply->text.len] != '\0')
        abort();
    for (size_t i = 0; i < reply->count; i++)
        describe(out, &reply->elements[i]);
}

static cronq_status read_in_pieces(const uint8_t *data, size_t size, size_t piece,
                                   cq_buf *out)
{
    cronq_error err = { .code = CRONQ_OK };
    cronq_status status = CRONQ_OK;
    cq_reader reader;
    cq_arena arena;

    if (cq_reader_init(&reader, NULL))
        return CRONQ_ENOMEM;
    cq_arena_init(&arena, ARENA_BYTES);
    for (size_t at = 0; at < size && !status; at += piece) {
        cq_reply *reply;

        status = cq_reader_feed(&reader, data + at, size - at < piece ? size - at : piece,
                                &err);
        while (!status && !(status = cq_reader_next(&reader, &arena, &reply, &err)) &&
               reply)
            describe(out, reply);
    }
    if (status && (err.code != status || !err.text[0] ||
                   (status != CRONQ_EPROTO && status != CRONQ_ENOMEM)))
        abort();
    cq_reader_release(&reader);
    cq_arena_release(&arena);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cronq_status whole_status, pieces_status;
    cq_buf whole, pieces;

    if (size < 2)
        return 0;
    cq_buf_init(&whole, TEXT_BYTES);
    cq_buf_init(&pieces, TEXT_BYTES);
    whole_status = read_in_pieces(data + 1, size - 1, size, &whole);
    pieces_status = read_in_pieces(data + 1, size - 1, (size_t)data[0] + 1, &pieces);
    if (whole_status != pieces_status ||
        !cq_str_eq(cq_buf_str(&whole), cq_buf_str(&pieces)))
        abort();
    cq_buf_release(&whole);
    cq_buf_release(&pieces);
    return 0;
}
