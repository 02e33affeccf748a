/* SPDX-License-Identifier: MIT */
/* failing_alloc.c - the linker's --wrap sends our code's allocations through here. */
#include "sweep/failing_alloc.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t size);

static atomic_long countdown; /* 0 and below: off, or has failed */
static atomic_bool armed, failed, sticky;

void failing_alloc_begin(size_t n, bool for_good)
{
    atomic_store(&failed, false);
    atomic_store(&sticky, for_good);
    atomic_store(&countdown, (long)n);
    atomic_store(&armed, true);
}

bool failing_alloc_end(void)
{
    atomic_store(&armed, false);
    return atomic_load(&failed);
}

static bool fails(void)
{
    long left;

    if (!atomic_load(&armed))
        return false;
    left = atomic_fetch_sub(&countdown, 1);
    if (left > 1 || (left < 1 && !atomic_load(&sticky)))
        return false;
    atomic_store(&failed, true);
    errno = ENOMEM;
    return true;
}

void *failing_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_malloc(size_t size)
{
    return failing_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
    return fails() ? NULL : __real_realloc(old, size);
}

char *__wrap_strndup(const char *text, size_t size)
{
    size_t len = strnlen(text, size);
    char *copy = failing_malloc(len + 1);

    if (!copy)
        return NULL;
    memcpy(copy, text, len);
    copy[len] = '\0';
    return copy;
}

char *__wrap_strdup(const char *text)
{
    return __wrap_strndup(text, strlen(text));
}
