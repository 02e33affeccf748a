/* SPDX-License-Identifier: MIT */
/* task.c - what a push tells about the task it stored. */
#include "client/internal.h"

#include "base/clock.h"
#include "codec/task_info.h"

cronq_status cq_task_info_new(const cq_prepared *prepared, cronq_task_info **out,
                              cronq_error *err)
{
    const cq_push *push = &prepared->push;
    const cq_task_facts facts = { .state = CRONQ_STATE_PENDING };
    cq_message message = {
        .type = cq_str_of(prepared->task.type),
        .payload = prepared->task.payload,
        .id = push->id,
        .queue = push->queue,
        .max_retry = prepared->max_retry,
        .timeout_s = prepared->timeout_s,
        .deadline_at_s = prepared->deadline_at_s,
        .unique_key = push->unique_key,
        .retention_s = cq_seconds_up(prepared->task.retain_for_ms),
        .group = push->group,
    };

    return cq_task_info_make(&message, &facts, out, err);
}

void cq_task_info_set_place(cronq_task_info *info, const cq_push *push)
{
    static const cronq_state states[] = {
        [CQ_PUSH_NOW] = CRONQ_STATE_PENDING,
        [CQ_PUSH_LATER] = CRONQ_STATE_SCHEDULED,
        [CQ_PUSH_GROUP] = CRONQ_STATE_AGGREGATING,
    };

    cq_task_info_move(info, states[push->kind],
                      push->kind == CQ_PUSH_LATER ? push->run_at_ms : 0);
}
