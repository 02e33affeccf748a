/* SPDX-License-Identifier: MIT */
/* connected.c - the count of connections. */
#include "base/connected.h"

#include <stdatomic.h>

static atomic_int count;

void cq_connected_add(int change)
{
    atomic_fetch_add(&count, change);
}

int cq_connected_count(void)
{
    return atomic_load(&count);
}
