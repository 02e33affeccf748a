/* SPDX-License-Identifier: MIT */
/* notices.c - a bounded queue of archived tasks, and the thread that tells of them. */
#include "worker/notices.h"

#include "base/clock.h"
#include "base/error.h"
#include "codec/task_info.h"
#include "worker/internal.h"

#include <stdlib.h>

#define DECODE_BYTES ((size_t)4 << 30)

/* ---- telling ---- */

static void tell(cq_worker *worker, const cronq_task_info *task)
{
    const cronq_server_options *options = worker->options;
    cronq_error why = { .text = "" };
    cronq_status status = options->on_archive(task, options->on_archive_arg, &why);

    if (!status) {
        CQ_METRICS_ADD(worker->metrics, notices[CQ_NOTICE_TOLD], 1);
        return;
    }
    CQ_METRICS_ADD(worker->metrics, notices[CQ_NOTICE_FAILED], 1);
    CQ_ERROR(&worker->logger, "nobody was told that task %s of %s is archived: %s",
             cronq_task_info_id(task), cronq_task_info_queue(task),
             why.text[0] ? why.text : cronq_status_text(status));
}

/* Under the mutex. */
static cq_notice take(cq_notices *notices)
{
    cq_notice notice = notices->ring[notices->first];

    notices->first = (notices->first + 1) % CQ_NOTICES_LIMIT;
    notices->count--;
    notices->bytes -= notice.bytes;
    return notice;
}

static void *run(void *arg)
{
    cq_notices *notices = arg;

    pthread_mutex_lock(&notices->mutex);
    while (notices->count > 0 || !notices->ending) {
        cq_notice notice;

        if (notices->count == 0) {
            pthread_cond_wait(&notices->changed, &notices->mutex);
            continue;
        }
        notice = take(notices);
        notices->busy = true;
        pthread_mutex_unlock(&notices->mutex);
        tell(notices->worker, notice.task);
        cronq_task_info_free(notice.task);
        pthread_mutex_lock(&notices->mutex);
        notices->busy = false;
        pthread_cond_broadcast(&notices->changed);
    }
    pthread_mutex_unlock(&notices->mutex);
    return NULL;
}

/* ---- adding ---- */

static void drop(cq_notices *notices, size_t count, const char *why)
{
    CQ_METRICS_ADD(notices->worker->metrics, notices[CQ_NOTICE_DROPPED], count);
    if (why)
        CQ_ERROR(&notices->worker->logger, "%zu archived tasks are not told of: %s",
                 count, why);
}

static cronq_task_info *info_of(cronq_bytes encoded, cronq_bytes failure_line,
                                int64_t archived_at_ns)
{
    const cq_task_facts facts = { .state = CRONQ_STATE_ARCHIVED,
                                  .archived_at_ms = archived_at_ns / CQ_NS_PER_MS,
                                  .failures = failure_line };
    cronq_task_info *info = NULL;
    cq_message message;
    cq_arena arena;

    cq_arena_init(&arena, DECODE_BYTES);
    if (!cq_message_decode(encoded, &arena, &message, NULL) &&
        cq_task_info_make(&message, &facts, &info, NULL))
        info = NULL;
    cq_arena_release(&arena);
    return info;
}

void cq_notices_add(cq_notices *notices, cronq_bytes message, cronq_bytes failure_line,
                    int64_t archived_at_ns)
{
    cq_notice notice = { NULL, message.len + failure_line.len };
    bool is_full, is_first = false;

    if (!notices->worker)
        return;
    notice.task = info_of(message, failure_line, archived_at_ns);
    if (!notice.task) {
        drop(notices, 1, "no memory");
        return;
    }
    pthread_mutex_lock(&notices->mutex);
    is_full = notices->ending || notices->count == CQ_NOTICES_LIMIT ||
              (notices->count && notices->bytes + notice.bytes > CQ_NOTICES_BYTES);
    if (!is_full) {
        notices->ring[(notices->first + notices->count++) % CQ_NOTICES_LIMIT] = notice;
        notices->bytes += notice.bytes;
        pthread_cond_broadcast(&notices->changed);
    } else {
        is_first = !notices->dropping;
    }
    notices->dropping = is_full;
    pthread_mutex_unlock(&notices->mutex);
    if (!is_full)
        return;
    cronq_task_info_free(notice.task);
    drop(notices, 1, is_first ? "on_archive is too slow, or we stop" : NULL);
}

/* ---- life ---- */

cronq_status cq_notices_start(cq_notices *notices, cq_worker *worker, cronq_error *err)
{
    cronq_status status;

    if (!worker->options->on_archive)
        return CRONQ_OK;
    *notices = (cq_notices){ .ring = calloc(CQ_NOTICES_LIMIT, sizeof *notices->ring) };
    if (!notices->ring)
        return cq_fail_nomem(err);
    pthread_mutex_init(&notices->mutex, NULL);
    cq_cond_init(&notices->changed);
    notices->worker = worker;
    status = cq_thread_start(&notices->thread, "cronq-notices", run, notices, err);
    notices->running = !status;
    return status;
}

void cq_notices_end(cq_notices *notices, int64_t until_mono_ns)
{
    size_t left = 0;

    if (!notices->worker)
        return;
    pthread_mutex_lock(&notices->mutex);
    notices->ending = true;
    pthread_cond_broadcast(&notices->changed);
    while (notices->running && (notices->count || notices->busy))
        if (!cq_cond_wait_until(&notices->changed, &notices->mutex, until_mono_ns))
            break;
    for (; notices->count; left++)
        cronq_task_info_free(take(notices).task);
    pthread_mutex_unlock(&notices->mutex);
    if (left)
        drop(notices, left, "we stop");
}

bool cq_notices_busy(cq_notices *notices)
{
    bool busy;

    if (!notices->worker)
        return false;
    pthread_mutex_lock(&notices->mutex);
    busy = notices->busy;
    pthread_mutex_unlock(&notices->mutex);
    return busy;
}

void cq_notices_join(cq_notices *notices)
{
    if (notices->running)
        pthread_join(notices->thread, NULL);
    notices->running = false;
}

bool cq_notices_has_ended(cq_notices *notices)
{
    if (notices->running && pthread_tryjoin_np(notices->thread, NULL) == 0)
        notices->running = false;
    return !notices->running;
}

void cq_notices_release(cq_notices *notices)
{
    if (!notices->worker)
        return;
    pthread_cond_destroy(&notices->changed);
    pthread_mutex_destroy(&notices->mutex);
    free(notices->ring);
}
