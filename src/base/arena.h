/* SPDX-License-Identifier: MIT */
/* base/arena.h - memory with one lifetime: allocated piece by piece, freed whole.
 *
 * One arena a batch, an attempt or a reply. Not thread-safe. */
#ifndef CQ_BASE_ARENA_H
#define CQ_BASE_ARENA_H

#include "base/str.h"

typedef struct cq_arena_block cq_arena_block;

typedef struct cq_arena {
    cq_arena_block *block; /* newest first */
    size_t used, limit;    /* bytes handed out, and how many may be */
} cq_arena;

void cq_arena_init(cq_arena *arena, size_t limit_bytes);
void cq_arena_release(cq_arena *arena);

/* Free everything at once but keep one block for the next round. */
void cq_arena_reset(cq_arena *arena);

/* Aligned for any type, not zeroed. NULL when out of memory or over the limit. */
void *cq_arena_alloc(cq_arena *arena, size_t size);
void *cq_arena_calloc(cq_arena *arena, size_t count, size_t size);

/* A NUL-terminated copy. */
char *cq_arena_dup(cq_arena *arena, const void *data, size_t len);

#endif
