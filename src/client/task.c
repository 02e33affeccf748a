/* SPDX-License-Identifier: MIT */
/* task.c - names of states, and what a push tells about the task it stored. */
#include "client/internal.h"

#include "base/clock.h"
#include "base/error.h"

#include <stdlib.h>

/* One block: the struct, then the payload and the three texts with their NULs. */
struct cronq_task_info {
    const char *id, *type, *queue;
    cronq_bytes payload;
    cronq_state state;
    int32_t max_retry;
    int64_t timeout_ms, deadline_at_ms, next_at_ms;
    char bytes[];
};

const char *cronq_state_name(cronq_state state)
{
    static const char *const names[] = {
        [CRONQ_STATE_ACTIVE] = "active",           [CRONQ_STATE_PENDING] = "pending",
        [CRONQ_STATE_SCHEDULED] = "scheduled",     [CRONQ_STATE_RETRY] = "retry",
        [CRONQ_STATE_ARCHIVED] = "archived",       [CRONQ_STATE_COMPLETED] = "completed",
        [CRONQ_STATE_AGGREGATING] = "aggregating",
    };

    if ((size_t)state >= sizeof names / sizeof names[0])
        return NULL;
    return names[state];
}

static const char *keep_text(char **to, cq_str text)
{
    const char *kept = *to;

    memcpy(*to, text.data, text.len);
    (*to)[text.len] = '\0';
    *to += text.len + 1;
    return kept;
}

cronq_status cq_task_info_new(const cq_prepared *prepared, cronq_task_info **out,
                              cronq_error *err)
{
    const cq_push *push = &prepared->push;
    cq_str type = cq_str_of(prepared->task.type);
    cronq_bytes payload = prepared->task.payload;
    cronq_task_info *info = malloc(sizeof *info + payload.len + push->id.len + type.len +
                                   push->queue.len + 3);
    char *to;

    if (!info)
        return cq_fail_nomem(err);
    to = info->bytes;
    if (payload.len)
        memcpy(to, payload.data, payload.len);
    info->payload = (cronq_bytes){ payload.data ? to : NULL, payload.len };
    to += payload.len;
    info->id = keep_text(&to, push->id);
    info->type = keep_text(&to, type);
    info->queue = keep_text(&to, push->queue);
    info->state = CRONQ_STATE_PENDING;
    info->max_retry = prepared->max_retry;
    info->timeout_ms = prepared->timeout_s * CQ_MS_PER_S;
    info->deadline_at_ms = prepared->deadline_at_s * CQ_MS_PER_S;
    info->next_at_ms = 0;
    *out = info;
    return CRONQ_OK;
}

void cq_task_info_set_place(cronq_task_info *info, const cq_push *push)
{
    static const cronq_state states[] = {
        [CQ_PUSH_NOW] = CRONQ_STATE_PENDING,
        [CQ_PUSH_LATER] = CRONQ_STATE_SCHEDULED,
        [CQ_PUSH_GROUP] = CRONQ_STATE_AGGREGATING,
    };

    info->state = states[push->kind];
    if (push->kind == CQ_PUSH_LATER)
        info->next_at_ms = push->run_at_s * CQ_MS_PER_S;
}

const char *cronq_task_info_id(const cronq_task_info *info)
{
    return info->id;
}

const char *cronq_task_info_type(const cronq_task_info *info)
{
    return info->type;
}

const char *cronq_task_info_queue(const cronq_task_info *info)
{
    return info->queue;
}

cronq_state cronq_task_info_state(const cronq_task_info *info)
{
    return info->state;
}

cronq_bytes cronq_task_info_payload(const cronq_task_info *info)
{
    return info->payload;
}

int32_t cronq_task_info_max_retry(const cronq_task_info *info)
{
    return info->max_retry;
}

int64_t cronq_task_info_timeout_ms(const cronq_task_info *info)
{
    return info->timeout_ms;
}

int64_t cronq_task_info_deadline_at_ms(const cronq_task_info *info)
{
    return info->deadline_at_ms;
}

int64_t cronq_task_info_next_at_ms(const cronq_task_info *info)
{
    return info->next_at_ms;
}

void cronq_task_info_free(cronq_task_info *info)
{
    free(info);
}
