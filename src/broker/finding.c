/* SPDX-License-Identifier: MIT */
/* finding.c - the names and sentences of what a check may find. */
#include "broker/finding.h"

static const struct {
    const char *name, *sentence;
} kinds[] = {
    [CRONQ_FINDING_NO_TASK] = { "no-task", "the id is listed, but has no task" },
    [CRONQ_FINDING_NO_MESSAGE] = { "no-message",
                                   "what is left of a task has no message" },
    [CRONQ_FINDING_CORRUPT] = { "corrupt", "the task cannot be read" },
    [CRONQ_FINDING_LOST] = { "lost", "the task is in no list" },
    [CRONQ_FINDING_MISPLACED] = { "misplaced", "the task is not where its state says" },
    [CRONQ_FINDING_TWICE] = { "twice", "the task is listed more than once" },
    [CRONQ_FINDING_NO_LEASE] = { "no-lease", "the task is active and has no lease" },
    [CRONQ_FINDING_STRAY_LEASE] = { "stray-lease", "the lease is of no active task" },
    [CRONQ_FINDING_TIME] = { "time", "the task waits for a time that never comes" },
    [CRONQ_FINDING_GROUP] = { "group", "the group holds tasks and is not listed" },
    [CRONQ_FINDING_SET] = { "set", "the aggregation set is listed and does not exist" },
    [CRONQ_FINDING_LOCK] = { "lock", "the uniqueness lock is of no task" },
    [CRONQ_FINDING_TYPE] = { "type", "the key is of another type" },
    [CRONQ_FINDING_QUEUE] = { "queue", "the queue holds keys and is not listed" },
    [CRONQ_FINDING_STORE] = { "store", "the database is damaged" },
};
#define KIND_COUNT (sizeof kinds / sizeof *kinds)

bool cq_finding_kind_of(cq_str name, cronq_finding_kind *out)
{
    for (size_t i = 0; i < KIND_COUNT; i++) {
        if (!cq_str_eq(name, cq_str_of(kinds[i].name)))
            continue;
        *out = (cronq_finding_kind)i;
        return true;
    }
    return false;
}

const char *cq_finding_sentence(cronq_finding_kind kind)
{
    return (size_t)kind < KIND_COUNT ? kinds[kind].sentence : "";
}

const char *cronq_finding_kind_name(cronq_finding_kind kind)
{
    return (size_t)kind < KIND_COUNT ? kinds[kind].name : "";
}
