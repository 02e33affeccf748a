/* SPDX-License-Identifier: MIT */
/* allocations.c - counts allocations: put before the allocator with LD_PRELOAD, it is
 * asked by `cronq bench` (cronq_bench_allocations). */
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);

static atomic_uint_fast64_t allocations;

uint64_t cronq_bench_allocations(void);

uint64_t cronq_bench_allocations(void)
{
    return atomic_load_explicit(&allocations, memory_order_relaxed);
}

static void count(void)
{
    atomic_fetch_add_explicit(&allocations, 1, memory_order_relaxed);
}

void *malloc(size_t size)
{
    count();
    return __libc_malloc(size);
}

void *calloc(size_t number, size_t size)
{
    count();
    return __libc_calloc(number, size);
}

void *realloc(void *old, size_t size)
{
    count();
    return __libc_realloc(old, size);
}
