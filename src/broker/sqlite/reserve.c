/* SPDX-License-Identifier: MIT */
/* broker/sqlite/reserve.c - space set aside for the day when the disk is full.
 *
 * PATH-reserve holds RESERVE_BYTES that nothing uses. When a transaction that finishes
 * tasks finds the disk full, the file is emptied and the transaction run again; nothing
 * is pushed until the space could be set aside again. So pushes can not use what is kept
 * for finishing, whichever process they are in. */
#include "broker/sqlite/sqlite.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define RESERVE_BYTES ((off_t)1 << 20)

bool cq_sqlite_reserve_hold(cq_sqlite *store)
{
    struct stat st;

    if (store->reserve_fd < 0)
        return true;
    if (fstat(store->reserve_fd, &st) == 0 && st.st_size >= RESERVE_BYTES)
        return true;
    if (posix_fallocate(store->reserve_fd, 0, RESERVE_BYTES) == 0)
        return true;
    cq_sqlite_reserve_release(store); /* what was got of it would be missing elsewhere */
    return false;
}

bool cq_sqlite_reserve_release(cq_sqlite *store)
{
    struct stat st;

    if (store->reserve_fd < 0 || fstat(store->reserve_fd, &st) < 0 || st.st_size == 0)
        return false;
    return ftruncate(store->reserve_fd, 0) == 0;
}

bool cq_sqlite_log_is_large(const cq_sqlite *store)
{
    char name[4096 + 8];
    struct stat st;

    snprintf(name, sizeof name, "%s-wal", store->path);
    return stat(name, &st) == 0 && st.st_size >= 2 * RESERVE_BYTES;
}
