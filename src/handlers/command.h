/* SPDX-License-Identifier: MIT */
/* handlers/command.h - a command that was checked, ready to run.
 *
 * Invariants: a cronq_command does not change after its creation; everything in it is in
 * its arena. env is complete but for what an attempt adds. */
#ifndef CQ_HANDLERS_COMMAND_H
#define CQ_HANDLERS_COMMAND_H

#include "base/arena.h"
#include "handlers/cgroup.h"
#include "handlers/process.h"

#include <cronq/handlers.h>

struct cronq_command {
    cq_arena arena;
    const char *const *argv;
    const char *const *env;
    size_t env_count;
    const char *search_path; /* PATH of env */
    const char *dir;
    int64_t timeout_ms, grace_ms;
    bool has_placeholders, is_shell;
    cq_process_user user;
    cq_process_limits limits; /* that are each process's own */
    cq_cgroup cgroup;         /* base NULL: none */
    int64_t cgroup_memory_bytes, cgroup_processes;
    size_t output_bytes;
};

/* "NAME=value" in the arena; NULL when out of memory. */
const char *cq_command_variable(cq_arena *arena, const char *name, const char *value);

#endif
