/* SPDX-License-Identifier: MIT */
/* support/scratch.c - directories of tests. */
#include "support/scratch.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

const char *scratch_new(char room[SCRATCH_ROOM])
{
    snprintf(room, SCRATCH_ROOM, "/tmp/cronq-test-XXXXXX");
    if (!mkdtemp(room))
        fail_msg("mkdtemp failed");
    return room;
}

void scratch_empty(const char *path)
{
    DIR *dir = opendir(path);
    struct dirent *entry;

    if (!dir)
        fail_msg("%s can not be read", path);
    while ((entry = readdir(dir)))
        if (entry->d_name[0] != '.')
            unlinkat(dirfd(dir), entry->d_name, 0);
    closedir(dir);
}

void scratch_remove(const char *path)
{
    scratch_empty(path);
    if (rmdir(path) < 0)
        fail_msg("%s can not be removed", path);
}
