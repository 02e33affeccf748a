/* SPDX-License-Identifier: MIT */
/* told.c - history, groups, and what servers and schedulers tell about themselves. */
#include "inspector/internal.h"

#include "base/clock.h"
#include "base/error.h"
#include "codec/info.h"

#include <stdalign.h>
#include <stdlib.h>

#define DAYS_LIMIT   90
#define EVENTS_LIMIT 1000
#define DAY_MS       ((int64_t)86400 * CQ_MS_PER_S)

/* ---- history ---- */

cronq_status cronq_inspector_history(cronq_inspector *inspector, const char *queue,
                                     size_t days, cronq_day_info *out, cronq_error *err)
{
    cq_broker *broker = inspector->broker;
    cronq_status status = cq_inspect_check_queue(queue, err);
    cq_day found[DAYS_LIMIT];
    int64_t now_ns, today_ms;

    if (!status && (days < 1 || days > DAYS_LIMIT))
        status = cq_fail(err, CRONQ_EINVAL, "days is %zu: not between 1 and %d", days,
                         DAYS_LIMIT);
    if (!status)
        status = cq_inspect_now(inspector, &now_ns, err);
    if (!status)
        status =
            broker->inspect->history(broker, cq_str_of(queue), days, now_ns, found, err);
    if (status)
        return status;
    today_ms = now_ns / CQ_NS_PER_MS / DAY_MS * DAY_MS;
    for (size_t i = 0; i < days; i++)
        out[i] = (cronq_day_info){ today_ms - (int64_t)i * DAY_MS, found[i].processed,
                                   found[i].failed };
    return CRONQ_OK;
}

/* ---- lists: a head that the caller does not see, then the structs ---- */

typedef struct list_head {
    alignas(max_align_t) cq_arena arena; /* of the texts */
} list_head;

static void *list_new(size_t count, size_t size, cronq_error *err)
{
    list_head *head = calloc(1, sizeof *head + (count + 1) * size);

    if (!head) {
        cq_fail_nomem(err);
        return NULL;
    }
    cq_arena_init(&head->arena, CQ_INSPECT_LIMIT_BYTES);
    return head + 1;
}

static cq_arena *arena_of(void *list)
{
    return &((list_head *)list - 1)->arena;
}

void cronq_list_free(void *list)
{
    if (!list)
        return;
    cq_arena_release(arena_of(list));
    free((list_head *)list - 1);
}

/* "" stands in for a text when memory ends; the list is then short of it, not wrong. */
static const char *text_in(void *list, cq_str text)
{
    const char *copy = cq_arena_dup(arena_of(list), text.data ? text.data : "", text.len);

    return copy ? copy : "";
}

static cronq_bytes bytes_in(void *list, cronq_bytes bytes)
{
    const void *copy =
        bytes.data ? cq_arena_dup(arena_of(list), bytes.data, bytes.len) : NULL;

    return (cronq_bytes){ copy, copy ? bytes.len : 0 };
}

static int64_t ms_of(cq_timestamp t)
{
    if (t.seconds < 0)
        return 0;
    return t.seconds * CQ_MS_PER_S + t.nanos / CQ_NS_PER_MS;
}

/* ---- groups ---- */

cronq_status cronq_inspector_groups(cronq_inspector *inspector, const char *queue,
                                    cronq_group_info **out, size_t *count,
                                    cronq_error *err)
{
    cronq_status status = cq_inspect_check_queue(queue, err);
    cq_broker *broker = inspector->broker;
    cronq_group_info *list = NULL;
    cq_queue_counts counts = { .brief = true };
    cq_group_count *found;
    size_t n = 0;
    cq_arena arena;

    if (status)
        return status;
    cq_arena_init(&arena, CQ_INSPECT_LIMIT_BYTES);
    status = broker->inspect->counts(broker, cq_str_of(queue),
                                     broker->ops->now_ns(broker), &counts, err);
    if (!status)
        status = cq_inspect_groups(inspector, cq_str_of(queue), CRONQ_STATE_AGGREGATING,
                                   NULL, &arena, &found, &n, err);
    if (!status && !(list = list_new(n, sizeof *list, err)))
        status = CRONQ_ENOMEM;
    for (size_t i = 0; i < n && !status; i++)
        list[i] = (cronq_group_info){ text_in(list, found[i].name), found[i].count };
    cq_arena_release(&arena);
    if (status)
        return status;
    *out = list;
    *count = n;
    return CRONQ_OK;
}

/* ---- nodes ---- */

cronq_status cronq_inspector_nodes(cronq_inspector *inspector, const char *queue,
                                   uint16_t *slot, cronq_node_info **out, size_t *count,
                                   cronq_error *err)
{
    cronq_status status = cq_inspect_check_queue(queue, err);
    cq_broker *broker = inspector->broker;
    cronq_node_info *list = NULL;
    cq_node *found;
    size_t n = 0;
    cq_arena arena;

    if (!status && !broker->inspect->nodes)
        status = cq_fail(err, CRONQ_ESTATE, "the store is no cluster");
    if (status)
        return status;
    cq_arena_init(&arena, CQ_INSPECT_LIMIT_BYTES);
    status =
        broker->inspect->nodes(broker, cq_str_of(queue), &arena, slot, &found, &n, err);
    if (!status && !(list = list_new(n, sizeof *list, err)))
        status = CRONQ_ENOMEM;
    for (size_t i = 0; i < n && !status; i++)
        list[i] = (cronq_node_info){ text_in(list, found[i].id),
                                     text_in(list, found[i].address) };
    cq_arena_release(&arena);
    if (status)
        return status;
    *out = list;
    *count = n;
    return CRONQ_OK;
}

/* ---- what was told ---- */

typedef cronq_status tell_fn(cq_broker *, int64_t now_ns, cq_arena *arena,
                             cronq_bytes **out, size_t *count, cronq_error *err);
/* Fill the struct at place from an encoding; false when it can not be read. */
typedef bool fill_fn(void *list, void *place, cronq_bytes encoded, cq_arena *arena);

/* What can not be read is passed over. */
static cronq_status fill_list(const cronq_bytes *found, size_t count, fill_fn *fill,
                              size_t size, cq_arena *arena, void **out, size_t *filled,
                              cronq_error *err)
{
    char *list = list_new(count, size, err);
    size_t n = 0;

    if (!list)
        return CRONQ_ENOMEM;
    for (size_t i = 0; i < count; i++)
        n += fill(list, list + n * size, found[i], arena);
    *out = list;
    *filled = n;
    return CRONQ_OK;
}

static cronq_status told(cronq_inspector *inspector, tell_fn *tell, fill_fn *fill,
                         size_t size, void **out, size_t *count, cronq_error *err)
{
    cronq_bytes *found;
    cronq_status status;
    int64_t now_ns;
    size_t n;
    cq_arena arena;

    status = cq_inspect_now(inspector, &now_ns, err);
    if (status)
        return status;
    cq_arena_init(&arena, CQ_INSPECT_LIMIT_BYTES);
    status = tell(inspector->broker, now_ns, &arena, &found, &n, err);
    if (!status)
        status = fill_list(found, n, fill, size, &arena, out, count, err);
    cq_arena_release(&arena);
    return status;
}

static bool fill_server(void *list, void *place, cronq_bytes encoded, cq_arena *arena)
{
    cronq_server_info *out = place;
    cq_server_info info;
    const char **queues;
    int32_t *weights;

    if (cq_server_info_decode(encoded, arena, &info, NULL))
        return false;
    queues = cq_arena_calloc(arena_of(list), info.queue_count + 1, sizeof *queues);
    weights = cq_arena_calloc(arena_of(list), info.queue_count + 1, sizeof *weights);
    if (!queues || !weights)
        return false;
    for (size_t i = 0; i < info.queue_count; i++) {
        queues[i] = text_in(list, info.queues[i].name);
        weights[i] = info.queues[i].weight;
    }
    *out = (cronq_server_info){ .host = text_in(list, info.host),
                                .id = text_in(list, info.server_id),
                                .status = text_in(list, info.status),
                                .pid = info.pid,
                                .concurrency = info.concurrency,
                                .active_count = info.active_worker_count,
                                .started_at_ms = ms_of(info.start_time),
                                .strict_priority = info.strict_priority,
                                .queues = queues,
                                .weights = weights,
                                .queue_count = info.queue_count };
    return true;
}

cronq_status cronq_inspector_servers(cronq_inspector *inspector, cronq_server_info **out,
                                     size_t *count, cronq_error *err)
{
    void *list;
    cronq_status status = told(inspector, inspector->broker->inspect->servers,
                               fill_server, sizeof **out, &list, count, err);

    if (!status)
        *out = list;
    return status;
}

static bool fill_worker(void *list, void *place, cronq_bytes encoded, cq_arena *arena)
{
    cronq_worker_info *out = place;
    cq_worker_info info;

    if (cq_worker_info_decode(encoded, arena, &info, NULL))
        return false;
    *out = (cronq_worker_info){ .host = text_in(list, info.host),
                                .server_id = text_in(list, info.server_id),
                                .task_id = text_in(list, info.task_id),
                                .task_type = text_in(list, info.task_type),
                                .queue = text_in(list, info.queue),
                                .pid = info.pid,
                                .payload = bytes_in(list, info.task_payload),
                                .started_at_ms = ms_of(info.start_time),
                                .deadline_at_ms = ms_of(info.deadline) };
    return true;
}

cronq_status cronq_inspector_workers(cronq_inspector *inspector, cronq_worker_info **out,
                                     size_t *count, cronq_error *err)
{
    void *list;
    cronq_status status = told(inspector, inspector->broker->inspect->workers,
                               fill_worker, sizeof **out, &list, count, err);

    if (!status)
        *out = list;
    return status;
}

/* ---- entries ---- */

static bool fill_entry(void *list, void *place, cronq_bytes encoded, cq_arena *arena)
{
    cronq_entry_info *out = place;
    cq_entry_info info;
    const char **options;

    if (cq_entry_info_decode(encoded, arena, &info, NULL))
        return false;
    for (cronq_entry_info *seen = list; seen < out; seen++)
        if (cq_str_eq(cq_str_of(seen->id), info.id))
            return false;
    options = cq_arena_calloc(arena_of(list), info.option_count + 1, sizeof *options);
    if (!options)
        return false;
    for (size_t i = 0; i < info.option_count; i++)
        options[i] = text_in(list, info.options[i]);
    *out = (cronq_entry_info){ .id = text_in(list, info.id),
                               .spec = text_in(list, info.spec),
                               .task_type = text_in(list, info.task_type),
                               .payload = bytes_in(list, info.task_payload),
                               .next_at_ms = ms_of(info.next),
                               .previous_at_ms = ms_of(info.previous),
                               .options = options,
                               .option_count = info.option_count };
    return true;
}

cronq_status cronq_inspector_entries(cronq_inspector *inspector, cronq_entry_info **out,
                                     size_t *count, cronq_error *err)
{
    void *list;
    cronq_status status = told(inspector, inspector->broker->inspect->entries, fill_entry,
                               sizeof **out, &list, count, err);

    if (!status)
        *out = list;
    return status;
}

static bool fill_event(void *list, void *place, cronq_bytes encoded, cq_arena *arena)
{
    cronq_event_info *out = place;
    cq_enqueue_event event;

    if (cq_enqueue_event_decode(encoded, arena, &event, NULL))
        return false;
    *out = (cronq_event_info){ text_in(list, event.task_id), ms_of(event.enqueued_at) };
    return true;
}

cronq_status cronq_inspector_events(cronq_inspector *inspector, const char *entry_id,
                                    size_t offset, size_t limit, cronq_event_info **out,
                                    size_t *count, cronq_error *err)
{
    cq_broker *broker = inspector->broker;
    cronq_bytes *found;
    cronq_status status;
    void *list;
    size_t n;
    cq_arena arena;

    if (!entry_id || !*entry_id)
        return cq_fail(err, CRONQ_EINVAL, "the entry's id is NULL or empty");
    if (limit < 1 || limit > EVENTS_LIMIT)
        return cq_fail(err, CRONQ_EINVAL, "limit is %zu: not between 1 and %d", limit,
                       EVENTS_LIMIT);
    cq_arena_init(&arena, CQ_INSPECT_LIMIT_BYTES);
    status = broker->inspect->events(broker, cq_str_of(entry_id), offset, limit, &arena,
                                     &found, &n, err);
    if (!status)
        status = fill_list(found, n, fill_event, sizeof **out, &arena, &list, count, err);
    cq_arena_release(&arena);
    if (!status)
        *out = list;
    return status;
}
