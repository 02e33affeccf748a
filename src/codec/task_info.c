/* SPDX-License-Identifier: MIT */
/* task_info.c - names of states, and what is told about a stored task. */
#include "codec/task_info.h"

#include "base/error.h"
#include "codec/failures.h"

#include <stdlib.h>

#define MS_PER_S 1000

/* One block: the struct, then the headers, then payload, result, and the texts with their
 * NULs. */
struct cronq_task_info {
    const char *id, *type, *queue, *group, *error;
    cronq_bytes payload;
    cq_task_facts facts;
    int32_t max_retry, retried;
    int64_t timeout_ms, deadline_at_ms, retain_for_ms, last_failed_at_ms, completed_at_ms;
    bool unique;
    cronq_failure failures[CQ_FAILURES_LIMIT];
    size_t failure_count;
    size_t header_count;
    cronq_header headers[];
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

static size_t room_for(const cq_message *message, const cq_task_facts *facts)
{
    size_t room = sizeof(cronq_task_info) + message->header_count * sizeof(cronq_header) +
                  message->payload.len + facts->result.len + message->id.len +
                  message->type.len + message->queue.len + message->group.len +
                  message->error_msg.len + 5 + facts->failures.len + 1;

    for (size_t i = 0; i < message->header_count; i++)
        room += message->headers[i].key.len + message->headers[i].value.len + 2;
    return room;
}

static const char *keep_text(char **to, cq_str text)
{
    char *kept = *to;

    if (text.len)
        memcpy(kept, text.data, text.len);
    kept[text.len] = '\0';
    *to += text.len + 1;
    return kept;
}

static cronq_bytes keep_bytes(char **to, cronq_bytes bytes)
{
    char *kept = *to;

    if (bytes.len)
        memcpy(kept, bytes.data, bytes.len);
    *to += bytes.len;
    return (cronq_bytes){ bytes.data ? kept : NULL, bytes.len };
}

static void keep_failures(cronq_task_info *info, char **to, cronq_bytes lines)
{
    char *kept = *to;

    if (lines.len)
        memcpy(kept, lines.data, lines.len);
    info->failure_count = cq_failures_read(kept, lines.len, info->failures);
    info->facts.failures = (cronq_bytes){ NULL, 0 };
    *to += lines.len + 1;
}

cronq_status cq_task_info_make(const cq_message *message, const cq_task_facts *facts,
                               cronq_task_info **out, cronq_error *err)
{
    cronq_task_info *info = calloc(1, room_for(message, facts));
    char *to;

    if (!info)
        return cq_fail_nomem(err);
    to = (char *)(info->headers + message->header_count);
    info->facts = *facts;
    info->payload = keep_bytes(&to, message->payload);
    info->facts.result = keep_bytes(&to, facts->result);
    info->id = keep_text(&to, message->id);
    info->type = keep_text(&to, message->type);
    info->queue = keep_text(&to, message->queue);
    info->group = keep_text(&to, message->group);
    info->error = keep_text(&to, message->error_msg);
    keep_failures(info, &to, facts->failures);
    info->header_count = message->header_count;
    for (size_t i = 0; i < message->header_count; i++) {
        info->headers[i].key = keep_text(&to, message->headers[i].key);
        info->headers[i].value = keep_text(&to, message->headers[i].value);
    }
    info->max_retry = message->max_retry;
    info->retried = message->retried;
    info->timeout_ms = message->timeout_s * MS_PER_S;
    info->deadline_at_ms = message->deadline_at_s * MS_PER_S;
    info->retain_for_ms = message->retention_s * MS_PER_S;
    info->last_failed_at_ms = message->last_failed_at_s * MS_PER_S;
    info->completed_at_ms = message->completed_at_s * MS_PER_S;
    info->unique = message->unique_key.len > 0;
    *out = info;
    return CRONQ_OK;
}

void cq_task_info_move(cronq_task_info *info, cronq_state state, int64_t next_at_ms)
{
    info->facts.state = state;
    info->facts.next_at_ms = next_at_ms;
}

void cronq_task_info_free(cronq_task_info *info)
{
    free(info);
}

/* ---- getters ---- */

#define GETTER(type, name, field)                            \
    type cronq_task_info_##name(const cronq_task_info *info) \
    {                                                        \
        return info->field;                                  \
    }

GETTER(const char *, id, id)
GETTER(const char *, type, type)
GETTER(const char *, queue, queue)
GETTER(const char *, group, group)
GETTER(const char *, error, error)
GETTER(cronq_state, state, facts.state)
GETTER(cronq_bytes, payload, payload)
GETTER(cronq_bytes, result, facts.result)
GETTER(int32_t, max_retry, max_retry)
GETTER(int32_t, retry_count, retried)
GETTER(int64_t, timeout_ms, timeout_ms)
GETTER(int64_t, deadline_at_ms, deadline_at_ms)
GETTER(int64_t, retain_for_ms, retain_for_ms)
GETTER(int64_t, next_at_ms, facts.next_at_ms)
GETTER(int64_t, pending_since_ms, facts.pending_since_ms)
GETTER(int64_t, last_failed_at_ms, last_failed_at_ms)
GETTER(int64_t, archived_at_ms, facts.archived_at_ms)
GETTER(int64_t, completed_at_ms, completed_at_ms)
GETTER(int64_t, kept_until_ms, facts.kept_until_ms)
GETTER(bool, is_unique, unique)
GETTER(bool, is_orphaned, facts.orphaned)
GETTER(bool, is_cancelled, facts.cancelled)
GETTER(bool, is_merging, facts.merging)
GETTER(size_t, header_count, header_count)

cronq_header cronq_task_info_header_at(const cronq_task_info *info, size_t index)
{
    if (index >= info->header_count)
        return (cronq_header){ NULL, NULL };
    return info->headers[index];
}

size_t cronq_task_info_failure_count(const cronq_task_info *info)
{
    return info->failure_count;
}

cronq_failure cronq_task_info_failure_at(const cronq_task_info *info, size_t index)
{
    if (index >= info->failure_count)
        return (cronq_failure){ .text = NULL };
    return info->failures[index];
}
