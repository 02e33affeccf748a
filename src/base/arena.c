/* SPDX-License-Identifier: MIT */
/* arena.c - memory with one lifetime. */
#include "base/arena.h"

#include <stdalign.h>
#include <stdlib.h>

#define BLOCK_BYTES 4096

struct cq_arena_block {
    cq_arena_block *older;
    size_t used, size;
    alignas(max_align_t) char bytes[];
};

void cq_arena_init(cq_arena *arena, size_t limit_bytes)
{
    *arena = (cq_arena){ .limit = limit_bytes };
}

void cq_arena_release(cq_arena *arena)
{
    for (cq_arena_block *block = arena->block, *older; block; block = older) {
        older = block->older;
        free(block);
    }
    *arena = (cq_arena){ .limit = arena->limit };
}

void cq_arena_reset(cq_arena *arena)
{
    cq_arena_block *keep = arena->block;

    arena->used = 0;
    if (!keep)
        return;
    for (cq_arena_block *block = keep->older, *older; block; block = older) {
        older = block->older;
        free(block);
    }
    keep->older = NULL;
    keep->used = 0;
}

static cq_arena_block *add_block(cq_arena *arena, size_t need)
{
    size_t size = arena->block ? arena->block->size * 2 : BLOCK_BYTES;
    cq_arena_block *block;

    if (size > BLOCK_BYTES * 256)
        size = BLOCK_BYTES * 256;
    if (size < need)
        size = need;
    block = malloc(sizeof *block + size);
    if (!block)
        return NULL;
    *block = (cq_arena_block){ .older = arena->block, .size = size };
    arena->block = block;
    return block;
}

void *cq_arena_alloc(cq_arena *arena, size_t size)
{
    const size_t align = alignof(max_align_t);
    cq_arena_block *block = arena->block;
    void *out;

    if (size > arena->limit - arena->used)
        return NULL;
    size = size ? (size + align - 1) & ~(align - 1) : align;
    if (!block || size > block->size - block->used)
        block = add_block(arena, size);
    if (!block)
        return NULL;
    out = block->bytes + block->used;
    block->used += size;
    arena->used += size > arena->limit - arena->used ? arena->limit - arena->used : size;
    return out;
}

void *cq_arena_calloc(cq_arena *arena, size_t count, size_t size)
{
    void *out;

    if (size && count > SIZE_MAX / size)
        return NULL;
    out = cq_arena_alloc(arena, count * size);
    if (out)
        memset(out, 0, count * size);
    return out;
}

char *cq_arena_dup(cq_arena *arena, const void *data, size_t len)
{
    char *out = len < SIZE_MAX ? cq_arena_alloc(arena, len + 1) : NULL;

    if (!out)
        return NULL;
    if (len)
        memcpy(out, data, len);
    out[len] = '\0';
    return out;
}
