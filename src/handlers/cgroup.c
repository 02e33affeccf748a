/* SPDX-License-Identifier: MIT */
/* cgroup.c - a control group (version 2) for each run of a command. */
#include "handlers/cgroup.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/thread.h"

#include <cronq/handlers.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define NAME_BYTES     64
#define TEXT_BYTES     4096
#define REMOVE_TRIES   100 /* the last process may still be leaving */
#define REMOVE_WAIT_MS 10
#define MOUNT          "/sys/fs/cgroup"
#define OWN_GROUP      "/worker"

static bool write_text(const char *dir, const char *name, const char *text)
{
    char path[CQ_CGROUP_PATH_BYTES + NAME_BYTES];
    ssize_t written;
    int fd;

    snprintf(path, sizeof path, "%s/%s", dir, name);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    written = write(fd, text, strlen(text));
    close(fd);
    return written == (ssize_t)strlen(text);
}

static bool read_text(const char *dir, const char *name, char text[TEXT_BYTES])
{
    char path[CQ_CGROUP_PATH_BYTES + NAME_BYTES];
    ssize_t got;
    int fd;

    snprintf(path, sizeof path, "%s%s%s", dir, *name ? "/" : "", name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    got = read(fd, text, TEXT_BYTES - 1);
    close(fd);
    text[got > 0 ? got : 0] = '\0';
    return got >= 0;
}

static bool has_word(const char *text, const char *word)
{
    size_t len = strlen(word);

    for (; (text = strstr(text, word)); text += len)
        if (strchr(" \n", text[len]))
            return true;
    return false;
}

cronq_status cq_cgroup_check(const char *base, cq_cgroup *out, cronq_error *err)
{
    char text[TEXT_BYTES], path[CQ_CGROUP_PATH_BYTES + NAME_BYTES];

    if (strlen(base) >= CQ_CGROUP_PATH_BYTES - NAME_BYTES)
        return cq_fail(err, CRONQ_EINVAL, "cgroup: the path is too long");
    snprintf(path, sizeof path, "%s/cgroup.procs", base);
    if (!read_text(base, "cgroup.subtree_control", text) || access(base, W_OK) != 0 ||
        access(path, W_OK) != 0)
        return cq_fail(err, CRONQ_EINVAL,
                       "cgroup: %.200s is not a cgroup2 directory that is ours", base);
    *out = (cq_cgroup){ base, has_word(text, "memory"), has_word(text, "pids") };
    return CRONQ_OK;
}

static bool set_limit(const char *path, const char *name, int64_t value)
{
    char text[32];

    snprintf(text, sizeof text, "%lld", (long long)value);
    return value <= 0 || write_text(path, name, text);
}

static bool set_limits(const cq_cgroup *cgroup, int64_t memory_bytes, int64_t processes,
                       const char *path)
{
    if (cgroup->has_pids && !set_limit(path, "pids.max", processes))
        return false;
    if (!cgroup->has_memory || memory_bytes <= 0)
        return true;
    write_text(path, "memory.swap.max", "0"); /* kernels without swap have none */
    return write_text(path, "memory.oom.group", "1") &&
           set_limit(path, "memory.max", memory_bytes);
}

cronq_status cq_cgroup_make(const cq_cgroup *cgroup, int64_t memory_bytes,
                            int64_t processes, char path[CQ_CGROUP_PATH_BYTES],
                            cronq_error *err)
{
    int code;

    /* A thread runs one command at a time. */
    snprintf(path, CQ_CGROUP_PATH_BYTES, "%s/command-%ld-%ld", cgroup->base,
             (long)getpid(), (long)gettid());
    rmdir(path); /* of one that could not be removed then */
    if (mkdir(path, S_IRWXU) == 0 && set_limits(cgroup, memory_bytes, processes, path))
        return CRONQ_OK;
    code = errno;
    rmdir(path);
    return cq_fail_errno(err, CRONQ_EIO, code, "cannot make the cgroup %.200s", path);
}

bool cq_cgroup_remove(const char *path)
{
    for (int i = 0; i < REMOVE_TRIES; i++) {
        if (rmdir(path) == 0 || errno == ENOENT)
            return true;
        if (errno != EBUSY)
            return false;
        cq_sleep_ms(REMOVE_WAIT_MS);
    }
    return false;
}

/* "0::/system.slice/cronq.service": the line of version 2. */
static bool find_own(char path[CQ_CGROUP_PATH_BYTES])
{
    char text[TEXT_BYTES], *line = text;

    if (!read_text("/proc/self/cgroup", "", text))
        return false;
    if (strncmp(line, "0::", 3) != 0) {
        line = strstr(text, "\n0::");
        line += line != NULL;
    }
    if (!line)
        return false;
    line[strcspn(line, "\n")] = '\0';
    if (strlen(line) > strlen(OWN_GROUP) &&
        strcmp(line + strlen(line) - strlen(OWN_GROUP), OWN_GROUP) == 0)
        line[strlen(line) - strlen(OWN_GROUP)] = '\0'; /* a worker started again */
    return snprintf(path, CQ_CGROUP_PATH_BYTES - NAME_BYTES, MOUNT "%s", line + 3) <
           CQ_CGROUP_PATH_BYTES - NAME_BYTES;
}

/* systemd marks what it delegates. */
static bool is_delegated(const char *path)
{
    char mark[2] = "";

    return getxattr(path, "user.delegate", mark, sizeof mark) == 1 && mark[0] == '1';
}

cronq_status cronq_command_cgroup(char *path, size_t size, cronq_error *err)
{
    char own[CQ_CGROUP_PATH_BYTES], worker[CQ_CGROUP_PATH_BYTES + NAME_BYTES];

    if (!find_own(own) || !is_delegated(own))
        return cq_fail(err, CRONQ_ENOENT, "no cgroup was delegated to this process");
    if (strlen(own) >= size)
        return cq_fail(err, CRONQ_EINVAL, "the path of the cgroup has %zu bytes",
                       strlen(own));
    /* A group that has processes can not give controllers to those below it. */
    snprintf(worker, sizeof worker, "%s" OWN_GROUP, own);
    if ((mkdir(worker, S_IRWXU) != 0 && errno != EEXIST) ||
        !write_text(worker, "cgroup.procs", "0"))
        return cq_fail_errno(err, CRONQ_EIO, errno, "cannot move into the cgroup %.200s",
                             worker);
    write_text(own, "cgroup.subtree_control", "+memory");
    write_text(own, "cgroup.subtree_control", "+pids");
    snprintf(path, size, "%s", own);
    return CRONQ_OK;
}
