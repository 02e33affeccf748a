/* SPDX-License-Identifier: MIT */
/* net/reader.h - bytes in, replies out: hiredis' reader with objects in an arena.
 *
 * Invariants: a reply is built in one arena, the one given when it began; array elements
 * are allocated as they arrive, so that a length alone costs nothing; after a failure
 * the reader is of no more use. */
#ifndef CQ_NET_READER_H
#define CQ_NET_READER_H

#include "net/reply.h"

#define CQ_REPLY_LINE_LIMIT ((size_t)1 << 20) /* of a status, error or integer */

typedef struct cq_reader {
    struct redisReader *redis;
    cq_arena *arena;      /* of the reply being read */
    cronq_status failure; /* why an object function returned NULL, or OK */
} cq_reader;

cronq_status cq_reader_init(cq_reader *reader, cronq_error *err);
void cq_reader_release(cq_reader *reader);

/* Append bytes that arrived; copied. Small portions are cheaper: 16 KiB is good. */
cronq_status cq_reader_feed(cq_reader *reader, const void *data, size_t len,
                            cronq_error *err);

/* The next whole reply, or NULL when it needs more bytes. EPROTO, ENOMEM. */
cronq_status cq_reader_next(cq_reader *reader, cq_arena *arena, cq_reply **out,
                            cronq_error *err);

/* Has a reply begun that is not complete? */
bool cq_reader_amid(const cq_reader *reader);

#endif
