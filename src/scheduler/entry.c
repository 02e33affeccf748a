/* SPDX-License-Identifier: MIT */
/* entry.c - one entry: what it pushes, and when. */
#include "base/clock.h"
#include "base/error.h"
#include "base/options.h"
#include "codec/digest.h"
#include "codec/info.h"
#include "codec/key.h"
#include "codec/option.h"
#include "scheduler/internal.h"

#include <stdlib.h>

#define OPTION_TEXTS_BYTES ((size_t)16 << 20)

/* ---- copying what the caller lent ---- */

static const char *keep_text(cq_arena *arena, const char *text)
{
    return text ? cq_arena_dup(arena, text, strlen(text)) : NULL;
}

static bool keep_headers(cq_arena *arena, cronq_task *task)
{
    cronq_header *headers;

    if (!task->header_count)
        return true;
    headers = cq_arena_calloc(arena, task->header_count, sizeof *headers);
    for (size_t i = 0; headers && i < task->header_count; i++) {
        headers[i].key = keep_text(arena, task->headers[i].key);
        headers[i].value = keep_text(arena, task->headers[i].value);
        if ((task->headers[i].key && !headers[i].key) ||
            (task->headers[i].value && !headers[i].value))
            return false;
    }
    task->headers = headers;
    return headers;
}

static cronq_status keep_task(cq_entry *entry, cronq_error *err)
{
    cronq_task *task = &entry->task;
    const char *queue = task->queue, *id = task->id;
    bool kept;

    task->type = keep_text(&entry->arena, task->type);
    task->queue = keep_text(&entry->arena, queue);
    task->id = keep_text(&entry->arena, id);
    kept = task->type && (!queue || task->queue) && (!id || task->id);
    if (kept && task->payload.data) {
        task->payload.data =
            cq_arena_dup(&entry->arena, task->payload.data, task->payload.len);
        kept = task->payload.data;
    }
    if (!kept || !keep_headers(&entry->arena, task))
        return cq_fail_nomem(err);
    return CRONQ_OK;
}

/* ---- checking ---- */

static cronq_status check_task(const cronq_task *task, cronq_error *err)
{
    if (task->process_at_ms || task->process_in_ms)
        return cq_fail(
            err, CRONQ_EINVAL,
            "%s is %lld; the time of an entry's task comes from its spec",
            task->process_at_ms ? "process_at_ms" : "process_in_ms",
            (long long)(task->process_at_ms ? task->process_at_ms : task->process_in_ms));
    if (task->group)
        return cq_fail(err, CRONQ_EINVAL,
                       "group is \"%.80s\"; an entry's task cannot have one",
                       task->group);
    if (task->traceparent)
        return cq_fail(err, CRONQ_EINVAL,
                       "traceparent is \"%.80s\"; each run of an entry begins a trace",
                       task->traceparent);
    if (!task->payload.data && task->payload.len)
        return cq_fail(err, CRONQ_EINVAL, "payload.data is NULL but payload.len is %zu",
                       task->payload.len);
    if (!task->headers && task->header_count)
        return cq_fail(err, CRONQ_EINVAL, "headers is NULL but header_count is %zu",
                       task->header_count);
    return task->id ? cq_check_task_id(cq_str_of(task->id), err) : CRONQ_OK;
}

static cronq_status take_options(cq_entry *entry, const char *task_type,
                                 const cronq_entry_options *options, bool seed_compat,
                                 cronq_error *err)
{
    cronq_status status;

    if (options->overlap != CRONQ_OVERLAP_ALLOW && options->overlap != CRONQ_OVERLAP_SKIP)
        return cq_fail(err, CRONQ_EINVAL, "overlap is %d; it is 0 (allow) or 1 (skip)",
                       (int)options->overlap);
    status = cq_options_copy(&entry->task, sizeof entry->task, options->task,
                             "cronq_task", err);
    if (status)
        return status;
    entry->task.type = task_type;
    if (seed_compat && entry->task.max_retry == 0)
        entry->task.max_retry = CRONQ_NO_RETRY;
    entry->skip_overlap = options->overlap == CRONQ_OVERLAP_SKIP;
    return check_task(&entry->task, err);
}

static cronq_status take_spec(cq_entry *entry, const char *spec, const char *zone_name,
                              cronq_error *err)
{
    cronq_status status;

    entry->spec = keep_text(&entry->arena, spec);
    entry->zone_name = keep_text(&entry->arena, zone_name);
    if (!entry->spec || !entry->zone_name)
        return cq_fail_nomem(err);
    status = cq_zone_open(cq_str_of(zone_name), &entry->zone, err);
    if (status)
        return status;
    status = cq_cron_parse(cq_str_of(spec), entry->zone, CQ_CRON_OPTIONAL_SECONDS,
                           &entry->cron, err);
    if (status)
        return status;
    entry->every_s = cq_cron_every_s(entry->cron);
    return CRONQ_OK;
}

/* ---- its id ---- */

static cronq_bytes bytes_of(const char *text)
{
    return (cronq_bytes){ text, strlen(text) };
}

static const char *digest(cq_entry *entry, const cronq_bytes *parts, size_t count)
{
    const char *text = NULL;
    cq_buf hex;

    cq_buf_init(&hex, 64);
    cq_digest(&hex, parts, count);
    if (!hex.status)
        text = cq_arena_dup(&entry->arena, hex.data, hex.len);
    cq_buf_release(&hex);
    return text;
}

/* The task is the last three parts of what an entry is made of: its likeness. */
static cronq_status take_id(cq_entry *entry, const char *name, cronq_error *err)
{
    const cronq_task *task = &entry->task;
    const cronq_bytes parts[] = { bytes_of(entry->spec), bytes_of(entry->zone_name),
                                  bytes_of(task->queue ? task->queue : "default"),
                                  bytes_of(task->type), task->payload };

    entry->named = name;
    if (name && cq_check_task_id(cq_str_of(name), err))
        return CRONQ_EINVAL;
    entry->id = name ? keep_text(&entry->arena, name) : digest(entry, parts, 5);
    entry->likeness = digest(entry, parts + 2, 3);
    if (!entry->id || !entry->likeness)
        return cq_fail_nomem(err);
    return CRONQ_OK;
}

/* ---- its options as text ---- */

typedef struct option_texts {
    cq_buf all;
    size_t *ends;
    size_t count;
} option_texts;

static void end_text(option_texts *texts)
{
    texts->ends[texts->count++] = texts->all.len;
}

static int64_t ms_to_ns(int64_t ms)
{
    return ms > INT64_MAX / CQ_NS_PER_MS ? INT64_MAX : ms * CQ_NS_PER_MS;
}

/* What the user chose, as the reference's scheduler writes it. */
static void write_texts(const cronq_task *task, option_texts *texts)
{
    cq_buf *out = &texts->all;

    if (task->max_retry)
        cq_option_max_retry(out, task->max_retry), end_text(texts);
    if (task->queue)
        cq_option_queue(out, cq_str_of(task->queue)), end_text(texts);
    if (task->id)
        cq_option_task_id(out, cq_str_of(task->id)), end_text(texts);
    if (task->timeout_ms)
        cq_option_timeout(out, ms_to_ns(task->timeout_ms)), end_text(texts);
    if (task->deadline_at_ms)
        cq_option_deadline(out, cq_seconds_up(task->deadline_at_ms)), end_text(texts);
    if (task->unique_for_ms)
        cq_option_unique(out, ms_to_ns(task->unique_for_ms)), end_text(texts);
    if (task->retain_for_ms)
        cq_option_retention(out, ms_to_ns(task->retain_for_ms)), end_text(texts);
    for (size_t i = 0; i < task->header_count; i++)
        cq_option_header(out, cq_str_of(task->headers[i].key),
                         cq_str_of(task->headers[i].value)),
            end_text(texts);
}

static cronq_status keep_texts(cq_entry *entry, const option_texts *texts,
                               cronq_error *err)
{
    cq_str *options = cq_arena_calloc(&entry->arena, texts->count + 1, sizeof *options);
    const char *all;
    size_t start = 0;

    all = cq_arena_dup(&entry->arena, texts->all.data ? texts->all.data : "",
                       texts->all.len);
    if (!options || !all)
        return cq_fail_nomem(err);
    for (size_t i = 0; i < texts->count; i++) {
        options[i] = (cq_str){ all + start, texts->ends[i] - start };
        start = texts->ends[i];
    }
    entry->options = options;
    entry->option_count = texts->count;
    return CRONQ_OK;
}

static cronq_status take_texts(cq_entry *entry, cronq_error *err)
{
    cronq_status status;
    option_texts texts = { .count = 0 };

    texts.ends = calloc(entry->task.header_count + 8, sizeof *texts.ends);
    if (!texts.ends)
        return cq_fail_nomem(err);
    cq_buf_init(&texts.all, OPTION_TEXTS_BYTES);
    write_texts(&entry->task, &texts);
    if (texts.all.status == CRONQ_ENOMEM)
        status = cq_fail_nomem(err);
    else if (texts.all.status)
        status = cq_fail(err, texts.all.status,
                         "the options of an entry have more than %zu bytes as text",
                         OPTION_TEXTS_BYTES);
    else
        status = keep_texts(entry, &texts, err);
    cq_buf_release(&texts.all);
    free(texts.ends);
    return status;
}

/* ---- its life ---- */

static cronq_status fill(cq_entry *entry, const char *spec, const char *task_type,
                         const cronq_entry_options *options, bool seed_compat,
                         cronq_error *err)
{
    const char *zone = options->time_zone;
    cronq_status status;

    status = take_options(entry, task_type, options, seed_compat, err);
    if (!status)
        status = take_spec(entry, spec, zone && *zone ? zone : "Local", err);
    if (!status)
        status = keep_task(entry, err);
    if (!status)
        status = take_id(entry, options->name, err);
    if (!status)
        status = take_texts(entry, err);
    return status;
}

cronq_status cq_entry_new(const char *spec, const char *task_type,
                          const cronq_entry_options *options, bool seed_compat,
                          cq_entry **out, cronq_error *err)
{
    cronq_entry_options copy;
    cq_entry *entry;
    cronq_status status;

    if (!spec || !task_type)
        return cq_fail(err, CRONQ_EINVAL, "%s of the entry is NULL",
                       spec ? "the task type" : "the spec");
    status = cq_options_copy(&copy, sizeof copy, options, "cronq_entry_options", err);
    if (status)
        return status;
    entry = calloc(1, sizeof *entry);
    if (!entry)
        return cq_fail_nomem(err);
    cq_arena_init(&entry->arena, CQ_ENTRY_LIMIT_BYTES);
    entry->next_s = entry->previous_s = CQ_TICK_UNKNOWN;
    status = fill(entry, spec, task_type, &copy, seed_compat, err);
    if (status) {
        cq_entry_free(entry);
        return status;
    }
    *out = entry;
    return CRONQ_OK;
}

void cq_entry_free(cq_entry *entry)
{
    if (!entry)
        return;
    cq_cron_free(entry->cron);
    cq_zone_free(entry->zone);
    cq_arena_release(&entry->arena);
    free(entry);
}

/* ---- when ---- */

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

int64_t cq_entry_after(const cq_entry *entry, int64_t unix_s)
{
    int64_t every_s = entry->every_s;

    if (!every_s)
        return cq_cron_next(entry->cron, unix_s);
    return entry->phase_s + (floor_div(unix_s - entry->phase_s, every_s) + 1) * every_s;
}

int64_t cq_entry_newest(const cq_entry *entry, int64_t now_s)
{
    int64_t oldest_s = now_s - CQ_TICK_LATE_LIMIT_S;
    int64_t tick_s = entry->next_s;

    if (tick_s < oldest_s)
        tick_s = cq_entry_after(entry, oldest_s - 1);
    if (tick_s > now_s)
        return entry->next_s > now_s ? tick_s : CQ_TICK_UNKNOWN;
    for (int64_t next_s = tick_s; next_s <= now_s; next_s = cq_entry_after(entry, next_s))
        tick_s = next_s;
    return tick_s;
}

/* ---- as the store keeps it ---- */

static cq_timestamp timestamp_of(int64_t tick_s)
{
    if (tick_s == CQ_TICK_UNKNOWN || tick_s == CQ_TICK_NEVER)
        return CQ_TIMESTAMP_NEVER;
    return (cq_timestamp){ tick_s, 0 };
}

cronq_status cq_entry_encode(const cq_entry *entry, cq_buf *out, cronq_error *err)
{
    cq_entry_info info = {
        .id = cq_str_of(entry->id),
        .spec = cq_str_of(entry->spec),
        .task_type = cq_str_of(entry->task.type),
        .task_payload = entry->task.payload,
        .options = entry->options,
        .option_count = entry->option_count,
        .next = timestamp_of(entry->next_s),
        .previous = timestamp_of(entry->previous_s),
    };

    return cq_entry_info_encode(&info, out, err);
}
