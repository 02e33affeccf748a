/* SPDX-License-Identifier: MIT */
/* run.c - the scheduler's thread: learn the time, push what is due, tell the store about
 * the entries, sleep until the next of these.
 *
 * The mutex is held but for calls of the broker and the client. An entry that such a call
 * is about is marked in_use meanwhile. A store that does not answer ends the pass, and
 * the next one begins after a delay that doubles. */
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/thread.h"
#include "codec/info.h"
#include "scheduler/internal.h"

#include <stdlib.h>

#define SYNC_PERIOD_NS         (60 * CQ_NS_PER_S)
#define FIRST_DELAY_MS         50
#define LONGEST_DELAY_MS       2000
#define ENTRY_RETRY_NS         CQ_NS_PER_S
#define CLOCK_BACK_LIMIT_NS    (60 * CQ_NS_PER_S)
#define ENTRY_INFO_LIMIT_BYTES ((size_t)1 << 30)

static int64_t store_now_ns(cronq_scheduler *scheduler)
{
    return scheduler->broker->ops->now_ns(scheduler->broker);
}

static int64_t store_now_s(cronq_scheduler *scheduler)
{
    return store_now_ns(scheduler) / CQ_NS_PER_S;
}

/* ---- a store that does not answer ---- */

static void store_failed(cronq_scheduler *scheduler, const cronq_error *why)
{
    int64_t delay_ms = scheduler->failed_delay_ms * 2;

    if (delay_ms < FIRST_DELAY_MS)
        delay_ms = FIRST_DELAY_MS;
    if (delay_ms > LONGEST_DELAY_MS)
        delay_ms = LONGEST_DELAY_MS;
    scheduler->failed_delay_ms = delay_ms;
    delay_ms = delay_ms / 2 +
               (int64_t)cq_random_below(&scheduler->random, (uint64_t)delay_ms / 2 + 1);
    scheduler->retry_at_ns = cq_mono_ns() + delay_ms * CQ_NS_PER_MS;
    if (!scheduler->failure.code)
        CQ_WARN(&scheduler->logger, "scheduler: the store does not answer: %s",
                why->text);
    scheduler->failure = *why;
}

static void store_answered(cronq_scheduler *scheduler)
{
    if (scheduler->failure.code)
        CQ_INFO(&scheduler->logger, "scheduler: the store answers again");
    scheduler->failure.code = CRONQ_OK;
    scheduler->failed_delay_ms = 0;
}

/* Something about the store; anything else is about one entry. */
static bool is_store_failure(cronq_status status)
{
    return status == CRONQ_EIO || status == CRONQ_EAUTH || status == CRONQ_EREFUSED;
}

/* Take note of the answer to a call that needs nothing but the store. */
static bool took(cronq_scheduler *scheduler, cronq_status status, const cronq_error *why)
{
    if (status)
        store_failed(scheduler, why);
    else
        store_answered(scheduler);
    return !status;
}

/* ---- the clock ---- */

/* Ticks never move back, so a store whose clock does would stop them all. */
static void watch_clock(cronq_scheduler *scheduler)
{
    int64_t offset_ns = store_now_ns(scheduler) - cq_mono_ns();
    int64_t back_ns = scheduler->clock_offset_ns - offset_ns;

    scheduler->clock_offset_ns = offset_ns;
    if (!scheduler->clock_known || back_ns < CLOCK_BACK_LIMIT_NS)
        return;
    CQ_WARN(
        &scheduler->logger,
        "scheduler: the store's clock went back by %lld s; all entries are timed anew",
        (long long)(back_ns / CQ_NS_PER_S));
    for (cq_entry *entry = scheduler->entries; entry; entry = entry->next)
        entry->next_s = CQ_TICK_UNKNOWN;
}

/* The phase of an @every entry is read again each time: it may have been lost with the
 * store. */
static bool learn_clock(cronq_scheduler *scheduler)
{
    cronq_error why = { 0 };
    cronq_status status;

    if (cq_mono_ns() >= scheduler->sync_at_ns) {
        pthread_mutex_unlock(&scheduler->mutex);
        status = scheduler->broker->ops->sync_clock(scheduler->broker, &why);
        pthread_mutex_lock(&scheduler->mutex);
        if (!took(scheduler, status, &why))
            return false;
        scheduler->sync_at_ns = cq_mono_ns() + SYNC_PERIOD_NS;
        for (cq_entry *entry = scheduler->entries; entry; entry = entry->next)
            entry->phase_known = false;
    }
    watch_clock(scheduler);
    scheduler->clock_known = true;
    return true;
}

/* ---- using one entry without the mutex ---- */

static void use(cronq_scheduler *scheduler, cq_entry *entry)
{
    entry->in_use = true;
    pthread_mutex_unlock(&scheduler->mutex);
}

static void put_down(cronq_scheduler *scheduler, cq_entry *entry)
{
    pthread_mutex_lock(&scheduler->mutex);
    entry->in_use = false;
    pthread_cond_broadcast(&scheduler->calm);
}

/* ---- timing ---- */

static bool lacks_phase(const cq_entry *entry)
{
    return entry->every_s && !entry->phase_known;
}

static bool learn_phase(cronq_scheduler *scheduler, cq_entry *entry)
{
    cq_str queue = entry->task.queue ? cq_str_of(entry->task.queue) : CQ_STR("default");
    int64_t mine_s = entry->phase_s ? entry->phase_s : store_now_s(scheduler);
    int64_t phase_s = 0;
    cronq_error why = { 0 };
    cronq_status status;

    use(scheduler, entry);
    status = scheduler->broker->ops->every_phase(
        scheduler->broker, queue, cq_str_of(entry->id), mine_s, &phase_s, &why);
    put_down(scheduler, entry);
    if (!took(scheduler, status, &why))
        return false;
    if (phase_s != entry->phase_s)
        entry->next_s = CQ_TICK_UNKNOWN;
    entry->phase_s = phase_s;
    entry->phase_known = true;
    return true;
}

/* Entries without a time get one: the first activation from now on. */
static bool time_entries(cronq_scheduler *scheduler)
{
    cq_entry *entry = scheduler->entries;

    while (entry) {
        if (lacks_phase(entry)) {
            if (!learn_phase(scheduler, entry))
                return false;
            entry = scheduler->entries; /* the list may have changed */
            continue;
        }
        if (entry->next_s == CQ_TICK_UNKNOWN)
            entry->next_s = cq_entry_after(entry, store_now_s(scheduler));
        entry = entry->next;
    }
    return true;
}

/* ---- pushing ---- */

static cronq_status record_run(cronq_scheduler *scheduler, const cq_tick *tick,
                               cronq_error *why)
{
    int64_t now_ns = store_now_ns(scheduler);
    cq_enqueue_event event = { .task_id = cq_str_of(cronq_task_info_id(tick->info)),
                               .enqueued_at = cq_timestamp_of_ns(now_ns) };
    cronq_status status;
    cq_buf bytes;

    cq_buf_init(&bytes, 4096);
    status = cq_enqueue_event_encode(&event, &bytes, why);
    if (!status)
        status = scheduler->broker->ops->record_event(
            scheduler->broker, cq_str_of(tick->entry_id),
            (cronq_bytes){ bytes.data, bytes.len }, now_ns, why);
    cq_buf_release(&bytes);
    return status;
}

/* Whatever is due goes first; the history can wait, and may have gaps. */
static void push_and_record(cronq_scheduler *scheduler, cq_tick *ticks, size_t count)
{
    cronq_error why = { 0 };
    cronq_status status = CRONQ_OK;

    cq_client_push_ticks(scheduler->client, ticks, count);
    for (size_t i = 0; i < count; i++) {
        if (ticks[i].info && !status)
            status = record_run(scheduler, &ticks[i], &why);
        cronq_task_info_free(ticks[i].info);
    }
    if (status)
        CQ_WARN(&scheduler->logger, "the history of runs has a gap: %s", why.text);
}

static void move_on(cq_entry *entry, int64_t tick_s)
{
    entry->retry_at_ns = 0;
    entry->next_s = cq_entry_after(entry, tick_s);
}

/* The store is full, out of memory, odd: this entry tries again, until its next tick. */
static void try_later(cronq_scheduler *scheduler, cq_entry *entry, const cq_tick *tick)
{
    if (!entry->retry_at_ns)
        CQ_WARN(&scheduler->logger, "entry \"%s\": tick %lld has to wait: %s", entry->id,
                (long long)tick->at_s, tick->result.text);
    entry->retry_at_ns = cq_mono_ns() + ENTRY_RETRY_NS;
}

static void measure_push(cronq_scheduler *scheduler, const cq_tick *tick)
{
    cronq_metrics *metrics = scheduler->metrics;
    cq_type *type;

    if (!metrics)
        return;
    type = cq_metrics_type(metrics, cq_str_of(tick->task->type));
    cq_cell_add(&cq_type_here(metrics, type)->triggered, 1);
    cq_histogram_add(cq_metrics_common(metrics)->lateness_ns, &cq_wait_bounds,
                     store_now_ns(scheduler) - tick->at_s * CQ_NS_PER_S);
}

/* What became of a tick that the store has answered for. */
static void take_answer(cronq_scheduler *scheduler, cq_entry *entry, const cq_tick *tick)
{
    cronq_logger *logger = &scheduler->logger;
    cronq_status status = tick->result.code;

    if (!status)
        measure_push(scheduler, tick);
    switch (status) {
    case CRONQ_OK:
    case CRONQ_EDUP:
        CQ_DEBUG(logger, "entry \"%s\": tick %lld %s", entry->id, (long long)tick->at_s,
                 status ? "was pushed already" : "pushed");
        entry->previous_s = tick->at_s;
        break;
    case CRONQ_ESTATE:
        CQ_INFO(logger, "entry \"%s\": tick %lld skipped, the last run is not over",
                entry->id, (long long)tick->at_s);
        break;
    case CRONQ_EINVAL:
    case CRONQ_ETOOBIG:
    case CRONQ_EEXIST:
    case CRONQ_EUNSUPPORTED:
        CQ_ERROR(logger, "entry \"%s\": tick %lld not pushed: %s", entry->id,
                 (long long)tick->at_s, tick->result.text);
        break;
    default:
        try_later(scheduler, entry, tick);
        return;
    }
    move_on(entry, tick->at_s);
}

/* Ticks that were missed: by a stall of this process, or without the store. */
static void tell_missed(cronq_scheduler *scheduler, const cq_entry *entry, int64_t tick_s)
{
    if (tick_s == entry->next_s)
        return;
    CQ_METRICS_ADD(scheduler->metrics, ticks_missed, 1);
    CQ_WARN(&scheduler->logger, "entry \"%s\": ticks from %lld on were missed%s%s",
            entry->id, (long long)entry->next_s, scheduler->failure.code ? ": " : "",
            scheduler->failure.code ? scheduler->failure.text : "");
}

static bool is_due(const cq_entry *entry, int64_t now_s, int64_t mono_ns)
{
    return entry->next_s != CQ_TICK_UNKNOWN && entry->next_s <= now_s &&
           entry->retry_at_ns <= mono_ns;
}

/* The due ticks, at most CQ_TICKS_AT_ONCE; their entries are in use. */
static size_t take_due(cronq_scheduler *scheduler, cq_entry **entries, cq_tick *ticks)
{
    int64_t now_s = store_now_s(scheduler), mono_ns = cq_mono_ns();
    cq_entry *entry = scheduler->entries;
    size_t count = 0;

    for (; entry && count < CQ_TICKS_AT_ONCE; entry = entry->next) {
        int64_t tick_s;

        if (!is_due(entry, now_s, mono_ns))
            continue;
        tick_s = cq_entry_newest(entry, now_s);
        tell_missed(scheduler, entry, tick_s);
        if (tick_s == CQ_TICK_UNKNOWN) {
            move_on(entry, now_s);
            continue;
        }
        entry->next_s = tick_s;
        entry->in_use = true;
        entries[count] = entry;
        ticks[count++] = (cq_tick){ .task = &entry->task,
                                    .entry_id = entry->id,
                                    .at_s = tick_s,
                                    .skip_overlap = entry->skip_overlap };
    }
    return count;
}

/* False when the store does not answer: what is due stays due. */
static bool take_answers(cronq_scheduler *scheduler, cq_entry **entries,
                         const cq_tick *ticks, size_t count)
{
    const cronq_error *why = NULL;

    for (size_t i = 0; i < count; i++) {
        entries[i]->in_use = false;
        if (is_store_failure(ticks[i].result.code))
            why = &ticks[i].result;
        else
            take_answer(scheduler, entries[i], &ticks[i]);
    }
    pthread_cond_broadcast(&scheduler->calm);
    return took(scheduler, why ? why->code : CRONQ_OK, why);
}

static bool push_due(cronq_scheduler *scheduler)
{
    cq_entry *entries[CQ_TICKS_AT_ONCE];
    cq_tick *ticks = scheduler->ticks;
    size_t count;

    do {
        count = take_due(scheduler, entries, ticks);
        if (count == 0)
            return true;
        pthread_mutex_unlock(&scheduler->mutex);
        push_and_record(scheduler, ticks, count);
        pthread_mutex_lock(&scheduler->mutex);
        if (!take_answers(scheduler, entries, ticks, count))
            return false;
    } while (count == CQ_TICKS_AT_ONCE);
    return true;
}

/* ---- telling the store about the entries ---- */

static cronq_status encode_entries(cronq_scheduler *scheduler, cq_buf *out, size_t *ends,
                                   cronq_error *why)
{
    cronq_status status = CRONQ_OK;
    size_t count = 0;

    for (cq_entry *entry = scheduler->entries; entry && !status; entry = entry->next) {
        status = cq_entry_encode(entry, out, why);
        ends[count++] = out->len;
    }
    return status;
}

static cronq_status write_entries(cronq_scheduler *scheduler, const cq_buf *all,
                                  const size_t *ends, size_t count, cronq_error *why)
{
    cronq_bytes *entries = calloc(count + 1, sizeof *entries);
    cronq_status status;
    size_t start = 0;

    if (!entries)
        return cq_fail_nomem(why);
    for (size_t i = 0; i < count; i++) {
        entries[i] = (cronq_bytes){ all->data + start, ends[i] - start };
        start = ends[i];
    }
    status = scheduler->broker->ops->write_entries(
        scheduler->broker, scheduler->id, entries, count, store_now_ns(scheduler),
        cq_seconds_up(2 * scheduler->heartbeat_ms), why);
    free(entries);
    return status;
}

static bool beat(cronq_scheduler *scheduler)
{
    size_t count = scheduler->entry_count;
    cronq_error why = { 0 };
    cronq_status status;
    size_t *ends;
    cq_buf all;

    if (!scheduler->beat_soon && cq_mono_ns() < scheduler->beat_at_ns)
        return true;
    scheduler->beat_soon = false;
    scheduler->beat_at_ns = cq_mono_ns() + scheduler->heartbeat_ms * CQ_NS_PER_MS;
    ends = calloc(count + 1, sizeof *ends);
    cq_buf_init(&all, ENTRY_INFO_LIMIT_BYTES);
    status = ends ? encode_entries(scheduler, &all, ends, &why) : cq_fail_nomem(&why);
    pthread_mutex_unlock(&scheduler->mutex);
    if (!status)
        status = write_entries(scheduler, &all, ends, count, &why);
    cq_buf_release(&all);
    free(ends);
    pthread_mutex_lock(&scheduler->mutex);
    if (status)
        scheduler->beat_soon = true;
    return took(scheduler, status, &why);
}

/* ---- the loop ---- */

static void pass(cronq_scheduler *scheduler)
{
    if (cq_mono_ns() < scheduler->retry_at_ns)
        return;
    scheduler->retry_at_ns = 0;
    if (learn_clock(scheduler) && time_entries(scheduler) && push_due(scheduler))
        beat(scheduler);
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* When an entry needs the thread, by the monotonic clock. */
static int64_t entry_at_ns(cronq_scheduler *scheduler, const cq_entry *entry)
{
    int64_t left_ns;

    if (entry->next_s == CQ_TICK_UNKNOWN || lacks_phase(entry))
        return 0;
    if (entry->next_s > INT64_MAX / CQ_NS_PER_S)
        return INT64_MAX;
    left_ns = entry->next_s * CQ_NS_PER_S - store_now_ns(scheduler);
    if (left_ns <= 0)
        return entry->retry_at_ns;
    return cq_mono_ns() + left_ns;
}

static int64_t next_pass_ns(cronq_scheduler *scheduler)
{
    int64_t at_ns = earlier(scheduler->sync_at_ns, scheduler->beat_at_ns);

    if (scheduler->retry_at_ns)
        return scheduler->retry_at_ns;
    if (scheduler->beat_soon)
        return 0;
    for (cq_entry *entry = scheduler->entries; entry; entry = entry->next)
        at_ns = earlier(at_ns, entry_at_ns(scheduler, entry));
    return at_ns;
}

void *cq_scheduler_run(void *arg)
{
    cronq_scheduler *scheduler = arg;

    pthread_mutex_lock(&scheduler->mutex);
    scheduler->beat_soon = true;
    while (scheduler->state == CQ_SCHEDULER_RUNNING) {
        int64_t at_ns;

        pass(scheduler);
        at_ns = next_pass_ns(scheduler);
        if (scheduler->state == CQ_SCHEDULER_RUNNING && at_ns > cq_mono_ns())
            cq_cond_wait_until(&scheduler->changed, &scheduler->mutex, at_ns);
    }
    pthread_mutex_unlock(&scheduler->mutex);
    /* What cannot be cleared now ends by its time to live. */
    if (!scheduler->failure.code)
        scheduler->broker->ops->clear_entries(scheduler->broker, scheduler->id, NULL);
    return NULL;
}
