/* SPDX-License-Identifier: MIT */
/* codec/task_info.h - making what the public API tells about a stored task. */
#ifndef CQ_CODEC_TASK_INFO_H
#define CQ_CODEC_TASK_INFO_H

#include "codec/message.h"

#include <cronq/task.h>

/* What the message does not say. Times are 0 where there is none. */
typedef struct cq_task_facts {
    cronq_state state;
    int64_t next_at_ms, pending_since_ms, archived_at_ms, kept_until_ms;
    cronq_bytes result;   /* data == NULL: none */
    cronq_bytes failures; /* codec/failures.h */
    bool orphaned, cancelled, merging;
} cq_task_facts;

/* Copies everything. */
cronq_status cq_task_info_make(const cq_message *message, const cq_task_facts *facts,
                               cronq_task_info **out, cronq_error *err);
void cq_task_info_move(cronq_task_info *info, cronq_state state, int64_t next_at_ms);

#endif
