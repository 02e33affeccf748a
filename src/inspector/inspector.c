/* SPDX-License-Identifier: MIT */
/* inspector.c - looking at queues, and pausing them. */
#include "inspector/internal.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/quote.h"
#include "base/utf8.h"
#include "codec/key.h"

#include <stdlib.h>

#define NAMES_LIMIT_BYTES ((size_t)256 << 20)

cronq_status cronq_inspector_new(const char *uri, const cronq_store_options *store,
                                 cronq_inspector **out, cronq_error *err)
{
    cq_broker_options options = { .uri = uri, .store = store, .by_hand = true };
    cronq_inspector *inspector;
    cronq_status status;

    if (!uri)
        return cq_fail(err, CRONQ_EINVAL, "the URI of the store is NULL");
    inspector = calloc(1, sizeof *inspector);
    if (!inspector)
        return cq_fail_nomem(err);
    status = cq_broker_open(&options, &inspector->broker, err);
    if (status) {
        free(inspector);
        return status;
    }
    *out = inspector;
    return CRONQ_OK;
}

void cronq_inspector_free(cronq_inspector *inspector)
{
    if (!inspector)
        return;
    inspector->broker->ops->free(inspector->broker);
    free(inspector);
}

/* ---- queues ---- */

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* One block: the pointers, then the names. Queue names have no NUL. */
static cronq_status keep_names(const cq_str *names, size_t count, char ***out,
                               cronq_error *err)
{
    size_t bytes = (count + 1) * sizeof(char *);
    char **kept, *to;

    for (size_t i = 0; i < count; i++)
        bytes += names[i].len + 1;
    kept = malloc(bytes);
    if (!kept)
        return cq_fail_nomem(err);
    to = (char *)(kept + count + 1);
    for (size_t i = 0; i < count; i++) {
        kept[i] = to;
        memcpy(to, names[i].data, names[i].len);
        to[names[i].len] = '\0';
        to += names[i].len + 1;
    }
    kept[count] = NULL;
    qsort(kept, count, sizeof(char *), by_name);
    *out = kept;
    return CRONQ_OK;
}

/* Other programs may write names that cronq refuses. Nothing can be asked about them, and
 * they must not keep anybody from the others. */
static size_t keep_good(cq_str *names, size_t count)
{
    size_t good = 0;

    for (size_t i = 0; i < count; i++)
        if (cq_check_queue(names[i], NULL) == CRONQ_OK)
            names[good++] = names[i];
    return good;
}

cronq_status cronq_inspector_queues(cronq_inspector *inspector, char ***names,
                                    size_t *count, cronq_error *err)
{
    cq_broker *broker = inspector->broker;
    cq_str *found = NULL;
    size_t found_count = 0;
    cq_arena arena;
    cronq_status status;

    cq_arena_init(&arena, NAMES_LIMIT_BYTES);
    status = broker->inspect->queues(broker, &arena, &found, &found_count, err);
    found_count = keep_good(found, found_count);
    if (!status)
        status = keep_names(found, found_count, names, err);
    if (!status)
        *count = found_count;
    cq_arena_release(&arena);
    return status;
}

/* ---- one queue ---- */

static void fill_info(cronq_queue_info *info, const char *queue,
                      const cq_queue_counts *counts)
{
    *info = (cronq_queue_info){
        .struct_size = sizeof *info,
        .paused = counts->paused,
        .paused_at_ms = counts->paused_at_s * CQ_MS_PER_S,
        .pending_count = counts->pending,
        .active_count = counts->active,
        .scheduled_count = counts->scheduled,
        .retry_count = counts->retry,
        .archived_count = counts->archived,
        .completed_count = counts->completed,
        .aggregating_count = counts->aggregating,
        .group_count = counts->groups,
        .processed_today_count = counts->processed_today,
        .failed_today_count = counts->failed_today,
        .processed_count = counts->processed,
        .failed_count = counts->failed,
        .latency_ms = counts->latency_ns / CQ_NS_PER_MS,
        .memory_bytes = counts->memory_bytes,
    };
    memcpy(info->name, queue, strlen(queue));
}

/* Which struct the caller has; a newer one keeps zeros in what we do not know. */
static cronq_status check_info(const cronq_queue_info *info, cronq_error *err)
{
    if (!info)
        return cq_fail(err, CRONQ_EINVAL, "info is NULL");
    if (info->struct_size < sizeof info->struct_size)
        return cq_fail(err, CRONQ_EINVAL,
                       "cronq_queue_info: struct_size is not set; it is the size of the "
                       "struct");
    return CRONQ_OK;
}

static void give_info(cronq_queue_info *info, const cronq_queue_info *filled)
{
    size_t size = info->struct_size;

    if (size > sizeof *filled)
        memset((char *)info + sizeof *filled, 0, size - sizeof *filled);
    memcpy(info, filled, size < sizeof *filled ? size : sizeof *filled);
    info->struct_size = size;
}

cronq_status cq_inspect_check_queue(const char *queue, cronq_error *err)
{
    if (!queue)
        return cq_fail(err, CRONQ_EINVAL, "queue is NULL");
    return cq_check_queue(cq_str_of(queue), err);
}

cronq_status cq_inspect_now(cronq_inspector *inspector, int64_t *now_ns, cronq_error *err)
{
    cq_broker *broker = inspector->broker;
    cronq_status status = broker->ops->sync_clock(broker, err);

    if (!status)
        *now_ns = broker->ops->now_ns(broker);
    return status;
}

cronq_status cronq_inspector_queue_info(cronq_inspector *inspector, const char *queue,
                                        cronq_queue_info *info, cronq_error *err)
{
    cq_broker *broker = inspector->broker;
    cronq_queue_info filled;
    cq_queue_counts counts = { 0 };
    cronq_status status;

    status = cq_inspect_check_queue(queue, err);
    if (!status)
        status = check_info(info, err);
    if (!status)
        status = broker->ops->sync_clock(broker, err);
    if (!status)
        status = broker->inspect->counts(broker, cq_str_of(queue),
                                         broker->ops->now_ns(broker), &counts, err);
    if (status)
        return status;
    fill_info(&filled, queue, &counts);
    give_info(info, &filled);
    return CRONQ_OK;
}

static cronq_status set_paused(cronq_inspector *inspector, const char *queue, bool paused,
                               cronq_error *err)
{
    cq_broker *broker = inspector->broker;
    cronq_status status;

    status = cq_inspect_check_queue(queue, err);
    if (!status)
        status = broker->ops->sync_clock(broker, err);
    if (status)
        return status;
    return broker->inspect->pause(broker, cq_str_of(queue), paused,
                                  broker->ops->now_ns(broker), err);
}

cronq_status cronq_inspector_pause(cronq_inspector *inspector, const char *queue,
                                   cronq_error *err)
{
    return set_paused(inspector, queue, true, err);
}

cronq_status cronq_inspector_resume(cronq_inspector *inspector, const char *queue,
                                    cronq_error *err)
{
    return set_paused(inspector, queue, false, err);
}

/* ---- checking ---- */

#define TEXT_LIMIT_BYTES 4096

typedef struct check {
    cronq_finding_fn *on_finding;
    void *arg;
    const char *queue;
} check;

/* Ids and details may be anything that somebody wrote into the store. */
static void pass_on(const cq_finding *found, void *arg)
{
    const check *c = arg;
    cronq_finding finding = { .struct_size = sizeof finding,
                              .kind = found->kind,
                              .queue = c->queue,
                              .repaired = found->repaired };
    cq_buf id, text;

    cq_buf_init(&id, TEXT_LIMIT_BYTES);
    cq_buf_init(&text, TEXT_LIMIT_BYTES);
    cq_utf8_repair(&id, found->id.data, found->id.len, TEXT_LIMIT_BYTES - 1);
    cq_buf_append_text(&text, cq_finding_sentence(found->kind));
    if (found->detail.len) {
        char room[CQ_QUOTED_ROOM];

        cq_buf_printf(&text, ": %s", cq_quoted(found->detail, room));
    }
    finding.id = cq_buf_text(&id);
    finding.text = cq_buf_text(&text);
    finding.id = finding.id ? finding.id : "";
    finding.text = finding.text ? finding.text : "";
    c->on_finding(&finding, c->arg);
    cq_buf_release(&id);
    cq_buf_release(&text);
}

cronq_status cronq_inspector_check(cronq_inspector *inspector, const char *queue,
                                   bool repair, cronq_finding_fn *on_finding, void *arg,
                                   cronq_error *err)
{
    cq_broker *broker = inspector->broker;
    check c = { .on_finding = on_finding, .arg = arg, .queue = queue };
    cronq_status status = cq_inspect_check_queue(queue, err);

    if (!status && !on_finding)
        status = cq_fail(err, CRONQ_EINVAL, "on_finding is NULL");
    if (!status)
        status = broker->ops->sync_clock(broker, err);
    if (status)
        return status;
    return broker->inspect->check(broker, cq_str_of(queue), repair,
                                  broker->ops->now_ns(broker), pass_on, &c, err);
}

/* ---- diagnosing ---- */

#define ADVICE_NAMES_MAX 10

typedef struct diagnosis {
    cronq_advice_fn *on_advice;
    void *arg;
} diagnosis;

static void pass_advice(const char *kind, const char *text, void *arg)
{
    const diagnosis *d = arg;
    cronq_error clean = { .code = CRONQ_OK };

    /* An error's text is valid UTF-8, whatever the store has said. */
    cq_fail(&clean, CRONQ_EPROTO, "%s", text);
    d->on_advice(&(cronq_advice){ .struct_size = sizeof(cronq_advice),
                                  .kind = kind,
                                  .text = clean.text },
                 d->arg);
}

/* The names that cronq_inspector_queues leaves out. Who may not read them is told so by
 * the store's part of the diagnosis. */
static void advise_of_names(cq_broker *broker, diagnosis *d)
{
    size_t count = 0, told = 0;
    cq_str *names = NULL;
    cq_arena arena;

    cq_arena_init(&arena, NAMES_LIMIT_BYTES);
    if (broker->inspect->queues(broker, &arena, &names, &count, NULL))
        count = 0;
    for (size_t i = 0; i < count && told < ADVICE_NAMES_MAX; i++) {
        cronq_error why;

        if (cq_check_queue(names[i], &why) == CRONQ_OK)
            continue;
        pass_advice("name", why.text, d);
        told++;
    }
    cq_arena_release(&arena);
}

cronq_status cronq_inspector_diagnose(cronq_inspector *inspector,
                                      cronq_advice_fn *on_advice, void *arg,
                                      cronq_error *err)
{
    diagnosis d = { on_advice, arg };
    cq_broker *broker = inspector->broker;
    cronq_status status;

    if (!on_advice)
        return cq_fail(err, CRONQ_EINVAL, "on_advice is NULL");
    status = broker->ops->sync_clock(broker, err);
    if (!status && broker->inspect->diagnose)
        status = broker->inspect->diagnose(broker, pass_advice, &d, err);
    else if (!status)
        status = broker->ops->ping(broker, err);
    if (!status)
        advise_of_names(broker, &d);
    return status;
}
