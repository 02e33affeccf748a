/* SPDX-License-Identifier: MIT */
/* cronq/inspector.h - look at queues. */
#ifndef CRONQ_INSPECTOR_H
#define CRONQ_INSPECTOR_H

#include "store.h"
#include "task.h"

CRONQ_BEGIN

/* A way to look, safe to share between threads. */
typedef struct cronq_inspector cronq_inspector;

typedef struct cronq_queue_info {
    size_t struct_size; /* set by the caller */
    char name[201];
    bool paused;
    int64_t paused_at_ms; /* 0: unknown */
    uint64_t pending_count, active_count, scheduled_count, retry_count, archived_count,
        completed_count, aggregating_count, group_count;
    uint64_t processed_today_count, failed_today_count; /* UTC day */
    uint64_t processed_count, failed_count;             /* ever */
    int64_t latency_ms; /* how long the oldest pending task has waited */
} cronq_queue_info;

cronq_status cronq_inspector_new(const char *uri, const cronq_store_options *store,
                                 cronq_inspector **out, cronq_error *err) CRONQ_CHECKED;
void cronq_inspector_free(cronq_inspector *inspector);

/* The names of all queues, sorted: *names is one block with *count pointers, freed with
 * free(). */
cronq_status cronq_inspector_queues(cronq_inspector *inspector, char ***names,
                                    size_t *count, cronq_error *err) CRONQ_CHECKED;
/* ENOENT when there is no such queue. The cost does not depend on the number of tasks. */
cronq_status cronq_inspector_queue_info(cronq_inspector *inspector, const char *queue,
                                        cronq_queue_info *info, cronq_error *err)
    CRONQ_CHECKED;
/* ESTATE when it is so already. */
cronq_status cronq_inspector_pause(cronq_inspector *inspector, const char *queue,
                                   cronq_error *err) CRONQ_CHECKED;
cronq_status cronq_inspector_resume(cronq_inspector *inspector, const char *queue,
                                    cronq_error *err) CRONQ_CHECKED;

CRONQ_END
#endif /* CRONQ_INSPECTOR_H */
