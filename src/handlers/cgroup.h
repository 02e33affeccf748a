/* SPDX-License-Identifier: MIT */
/* handlers/cgroup.h - a control group (version 2) for each run of a command. */
#ifndef CQ_HANDLERS_CGROUP_H
#define CQ_HANDLERS_CGROUP_H

#include <cronq/base.h>

#include <stddef.h>

#define CQ_CGROUP_PATH_BYTES 4096

/* Where the groups of commands are made, and what can be limited there. */
typedef struct cq_cgroup {
    const char *base;
    bool has_memory, has_pids;
} cq_cgroup;

/* EINVAL: it is no directory of cgroup2 in which this process may make others. */
cronq_status cq_cgroup_check(const char *base, cq_cgroup *out, cronq_error *err);

/* A group with these limits (0: none), by path. EIO. */
cronq_status cq_cgroup_make(const cq_cgroup *cgroup, int64_t memory_bytes,
                            int64_t processes, char path[CQ_CGROUP_PATH_BYTES],
                            cronq_error *err);

/* Nobody is in it any more; false: it could not be removed. */
bool cq_cgroup_remove(const char *path);

#endif
