/* SPDX-License-Identifier: MIT */
/* bulk.c - moving many tasks, chunk by chunk, and removing queues. */
#include "inspector/internal.h"

#include "base/error.h"
#include "base/options.h"

#include <stdlib.h>

#define STALE_SETS 1000

/* One operation over all tasks of a state. */
typedef struct bulk {
    cronq_inspector *inspector;
    cq_str queue;
    cronq_state state;
    cq_action action;
    cronq_bulk_options options;
    int64_t now_ns;
    uint64_t looked_at, total, done;
} bulk;

/* By action and state. */
static const bool allowed[][CRONQ_STATE_AGGREGATING + 1] = {
    [CQ_ACT_DELETE] = { [CRONQ_STATE_PENDING] = true,
                        [CRONQ_STATE_SCHEDULED] = true,
                        [CRONQ_STATE_RETRY] = true,
                        [CRONQ_STATE_ARCHIVED] = true,
                        [CRONQ_STATE_COMPLETED] = true,
                        [CRONQ_STATE_AGGREGATING] = true },
    [CQ_ACT_RUN] = { [CRONQ_STATE_SCHEDULED] = true,
                     [CRONQ_STATE_RETRY] = true,
                     [CRONQ_STATE_ARCHIVED] = true,
                     [CRONQ_STATE_COMPLETED] = true,
                     [CRONQ_STATE_AGGREGATING] = true },
    [CQ_ACT_ARCHIVE] = { [CRONQ_STATE_PENDING] = true,
                         [CRONQ_STATE_SCHEDULED] = true,
                         [CRONQ_STATE_RETRY] = true,
                         [CRONQ_STATE_AGGREGATING] = true },
};

static cronq_status tell(const bulk *b, cronq_error *err)
{
    cronq_progress_fn *progress = b->options.progress;
    uint64_t total = b->total > b->looked_at ? b->total : b->looked_at;

    if (!progress || progress(b->looked_at, total, b->options.progress_arg))
        return CRONQ_OK;
    return cq_fail(err, CRONQ_ECANCELED, "interrupted after %llu of %llu tasks",
                   (unsigned long long)b->looked_at, (unsigned long long)total);
}

/* ---- all ---- */

static cronq_status sweep(bulk *b, cq_str group, uint64_t most, cronq_error *err)
{
    cq_broker *broker = b->inspector->broker;
    size_t seen = CQ_PAGE_LIMIT, done;
    cronq_status status = CRONQ_OK;

    while (seen == CQ_PAGE_LIMIT && most && !status) {
        size_t limit = most < CQ_PAGE_LIMIT ? (size_t)most : CQ_PAGE_LIMIT;

        status = broker->inspect->act_all(broker, b->queue, b->state, group, b->action,
                                          limit, b->now_ns, &seen, &done, err);
        if (status)
            return status;
        most -= seen < most ? seen : most;
        b->looked_at += seen;
        b->done += done;
        status = tell(b, err);
    }
    return status;
}

/* ---- those that fit ---- */

static size_t choose(const bulk *b, const cq_record *records, size_t count,
                     cq_arena *arena, cq_move *moves)
{
    size_t n = 0;

    for (size_t i = 0; i < count; i++) {
        cq_message room;
        bool readable = records[i].message.data &&
                        cq_message_decode(records[i].message, arena, &room, NULL) == 0;

        if (cq_filter_fits(b->options.filter, &records[i], readable ? &room : NULL,
                           b->now_ns))
            moves[n++] = (cq_move){ .id = records[i].id };
    }
    return n;
}

/* Those that go make room: the next page begins so much earlier. */
static cronq_status move_page(bulk *b, cq_listing *listing, size_t *got, cronq_error *err)
{
    cq_broker *broker = b->inspector->broker;
    cq_move moves[CQ_PAGE_LIMIT];
    cq_record *records;
    cronq_status status;
    size_t n = 0, gone = 0;
    cq_arena arena;

    cq_arena_init(&arena, CQ_INSPECT_LIMIT_BYTES);
    status = broker->inspect->list(broker, listing, &arena, &records, got, err);
    if (!status)
        n = choose(b, records, *got, &arena, moves);
    if (n)
        status = broker->inspect->act(broker, b->queue, b->action, moves, n,
                                      listing->offset, b->now_ns, err);
    for (size_t i = 0; i < n && !status; i++)
        gone += moves[i].status == CRONQ_OK;
    b->done += gone;
    if (!status)
        listing->offset += *got - gone;
    cq_arena_release(&arena);
    return status;
}

static cronq_status pick(bulk *b, cq_str group, uint64_t most, cronq_error *err)
{
    cq_listing listing = {
        .queue = b->queue, .state = b->state, .group = group, .limit = CQ_PAGE_LIMIT
    };
    size_t got = CQ_PAGE_LIMIT;
    cronq_status status = CRONQ_OK;

    while (got == CQ_PAGE_LIMIT && most && !status) {
        status = move_page(b, &listing, &got, err);
        if (status)
            return status;
        most -= got < most ? got : most;
        b->looked_at += got;
        status = tell(b, err);
    }
    return status;
}

/* ---- a state ---- */

static uint64_t count_of(const cq_queue_counts *counts, cronq_state state)
{
    const uint64_t by_state[] = {
        [CRONQ_STATE_ACTIVE] = counts->active,
        [CRONQ_STATE_PENDING] = counts->pending,
        [CRONQ_STATE_SCHEDULED] = counts->scheduled,
        [CRONQ_STATE_RETRY] = counts->retry,
        [CRONQ_STATE_ARCHIVED] = counts->archived,
        [CRONQ_STATE_COMPLETED] = counts->completed,
        [CRONQ_STATE_AGGREGATING] = counts->aggregating,
    };

    return by_state[state];
}

/* What comes while it goes on is left alone: else it might never end. */
static cronq_status run_state(bulk *b, cronq_error *err)
{
    bool selects = cq_filter_selects(b->options.filter);
    cq_group_count *groups = NULL;
    cronq_status status;
    size_t count = 0;
    cq_arena arena;

    cq_arena_init(&arena, CQ_INSPECT_LIMIT_BYTES);
    status = cq_inspect_groups(b->inspector, b->queue, b->state, b->options.filter,
                               &arena, &groups, &count, err);
    for (size_t i = 0; i < count && !status; i++) {
        uint64_t most = groups[i].count ? groups[i].count : b->total;

        if (most)
            status = selects ? pick(b, groups[i].name, most, err)
                             : sweep(b, groups[i].name, most, err);
    }
    cq_arena_release(&arena);
    return status;
}

static cronq_status begin(bulk *b, cronq_inspector *inspector, const char *queue,
                          const cronq_bulk_options *options, cq_queue_counts *counts,
                          cronq_error *err)
{
    cq_broker *broker = inspector->broker;
    cronq_status status = cq_inspect_check_queue(queue, err);

    if (!status)
        status = cq_options_copy(&b->options, sizeof b->options, options,
                                 "cronq_bulk_options", err);
    b->inspector = inspector;
    b->queue = cq_str_of(queue);
    if (!status)
        status = cq_inspect_now(inspector, &b->now_ns, err);
    if (!status)
        status = broker->inspect->counts(broker, b->queue, b->now_ns, counts, err);
    return status;
}

static cronq_status act_all(cronq_inspector *inspector, cq_action action,
                            const char *queue, cronq_state state,
                            const cronq_bulk_options *options, uint64_t *done,
                            cronq_error *err)
{
    bulk b = { .state = state, .action = action };
    cq_queue_counts counts;
    cronq_status status;

    if (done)
        *done = 0;
    if (!state || !cronq_state_name(state) || !allowed[action][state])
        return cq_fail(err, CRONQ_EINVAL, "%s is no state for this operation",
                       state && cronq_state_name(state) ? cronq_state_name(state) : "0");
    status = begin(&b, inspector, queue, options, &counts, err);
    if (status)
        return status;
    b.total = count_of(&counts, state);
    status = run_state(&b, err);
    if (done)
        *done = b.done;
    return status;
}

cronq_status cronq_inspector_delete_all(cronq_inspector *inspector, const char *queue,
                                        cronq_state state,
                                        const cronq_bulk_options *options, uint64_t *done,
                                        cronq_error *err)
{
    return act_all(inspector, CQ_ACT_DELETE, queue, state, options, done, err);
}

cronq_status cronq_inspector_run_all(cronq_inspector *inspector, const char *queue,
                                     cronq_state state, const cronq_bulk_options *options,
                                     uint64_t *done, cronq_error *err)
{
    return act_all(inspector, CQ_ACT_RUN, queue, state, options, done, err);
}

cronq_status cronq_inspector_archive_all(cronq_inspector *inspector, const char *queue,
                                         cronq_state state,
                                         const cronq_bulk_options *options,
                                         uint64_t *done, cronq_error *err)
{
    return act_all(inspector, CQ_ACT_ARCHIVE, queue, state, options, done, err);
}

/* ---- a queue ---- */

/* Sets that are being merged go back to their groups first, and those who merge them come
 * too late. */
static cronq_status empty_queue(bulk *b, const cq_queue_counts *counts, cronq_error *err)
{
    static const cronq_state states[] = {
        CRONQ_STATE_PENDING,  CRONQ_STATE_SCHEDULED, CRONQ_STATE_RETRY,
        CRONQ_STATE_ARCHIVED, CRONQ_STATE_COMPLETED, CRONQ_STATE_AGGREGATING,
    };
    cq_broker *broker = b->inspector->broker;
    int64_t far_ns = b->now_ns + (CQ_SET_AGE_S + 1) * 1000000000LL;
    size_t reclaimed;
    cronq_status status;

    status = broker->ops->repair_groups(broker, b->queue, b->now_ns, err);
    if (!status)
        status = broker->ops->reclaim_sets(broker, b->queue, far_ns, STALE_SETS,
                                           &reclaimed, err);
    b->action = CQ_ACT_DELETE;
    b->options.filter = NULL;
    for (size_t i = 0; i < sizeof states / sizeof states[0]; i++)
        b->total += count_of(counts, states[i]);
    for (size_t i = 0; i < sizeof states / sizeof states[0] && !status; i++) {
        b->state = states[i];
        status = run_state(b, err);
    }
    return status;
}

cronq_status cronq_inspector_remove_queue(cronq_inspector *inspector, const char *queue,
                                          bool force, const cronq_bulk_options *options,
                                          cronq_error *err)
{
    cq_broker *broker = inspector->broker;
    cq_queue_counts counts;
    bulk b = { .action = CQ_ACT_DELETE };
    cronq_status status = begin(&b, inspector, queue, options, &counts, err);

    if (!status && force && counts.active == 0)
        status = empty_queue(&b, &counts, err);
    if (status)
        return status;
    return broker->inspect->remove_queue(broker, b.queue, b.now_ns, err);
}
