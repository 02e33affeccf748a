/* SPDX-License-Identifier: MIT */
/* sweep/failing_alloc.h - make the n-th allocation of our own code fail.
 *
 * For programs that are linked with failing_alloc_args (tests/sweep/meson.build): malloc,
 * calloc, realloc, strdup and strndup of everything that is linked statically, and of
 * jansson. Allocations of all threads count. */
#ifndef CQ_TEST_FAILING_ALLOC_H
#define CQ_TEST_FAILING_ALLOC_H

#include <stdbool.h>
#include <stddef.h>

/* Count from now; the n-th (from 1) returns NULL, and with for_good all after it. */
void failing_alloc_begin(size_t n, bool for_good);

/* Succeed again. Has any failed? */
bool failing_alloc_end(void);

/* For json_set_alloc_funcs. */
void *failing_malloc(size_t size);

#endif
