/* SPDX-License-Identifier: MIT */
/* inspector/migrate.c - moving queues from one store to another.
 *
 * A page is stored there first, and deleted here when it is: killed in between, both have
 * it, and the next run finds the same task there and deletes it here. That holds because
 * both queues are paused until all is moved. */
#include <cronq/inspector.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/options.h"
#include "base/quote.h"
#include "base/random.h"
#include "broker/broker.h"
#include "codec/message.h"

#define PAGE             250
#define PAGE_BYTES_LIMIT ((size_t)2 << 30)
#define GROUPS_AT_ONCE   256
#define ROUNDS_LIMIT     1000
#define ACTIVE_POLL_MS   200

typedef struct migration {
    cq_broker *from, *to;
    const cronq_migrate_options *options;
    const char *name;
    cq_str queue;
    uint64_t moved, conflicts;
    cq_arena arena; /* of a page */
} migration;

static int64_t now_of(cq_broker *broker)
{
    return broker->ops->now_ns(broker);
}

static cronq_status count_left(migration *m, uint64_t *left, uint64_t *active,
                               bool *paused, cronq_error *err)
{
    cq_queue_counts counts = { 0 };
    cronq_status status =
        m->from->inspect->counts(m->from, m->queue, now_of(m->from), &counts, err);

    if (status)
        return status;
    *active = counts.active;
    *paused = counts.paused;
    *left = counts.pending + counts.active + counts.scheduled + counts.retry +
            counts.archived + counts.completed + counts.aggregating;
    return CRONQ_OK;
}

static void tell(migration *m, uint64_t left)
{
    if (m->options->on_progress)
        m->options->on_progress(m->name, m->moved, left, m->options->arg);
}

/* ---- a page ---- */

/* The lock that a task names, and for how long it still holds it. */
static cronq_status read_lock(migration *m, cq_implant *item, cronq_error *err)
{
    cq_message message;

    if (cq_message_decode(item->record.message, &m->arena, &message, NULL) ||
        !message.unique_key.len)
        return CRONQ_OK;
    item->unique_key = message.unique_key;
    return m->from->inspect->lock_left(m->from, message.unique_key, item->record.id,
                                       now_of(m->from), &item->lock_left_s, err);
}

static cronq_status store_page(migration *m, const cq_record *records, size_t count,
                               cq_move *moves, size_t *stored, cronq_error *err)
{
    cq_implant *items = cq_arena_calloc(&m->arena, count, sizeof *items);
    cronq_status status = CRONQ_OK;
    size_t kept = 0, n = 0;

    if (!items)
        return cq_fail_nomem(err);
    for (size_t i = 0; i < count && !status; i++) {
        if (!records[i].message.data)
            continue; /* an id without a task: fsck's */
        items[kept].record = records[i];
        status = read_lock(m, &items[kept++], err);
    }
    if (!status && kept)
        status = m->to->inspect->implant(m->to, m->queue, items, kept, err);
    for (size_t i = 0; i < kept && !status; i++)
        if (!items[i].status)
            moves[n++].id = items[i].record.id;
    if (!status)
        *stored = n;
    return status;
}

/* *offset grows by what stays here. */
static cronq_status move_page(migration *m, cq_listing *listing, size_t *seen,
                              cronq_error *err)
{
    cq_move moves[PAGE] = { { .status = CRONQ_OK } };
    size_t stored = 0, gone = 0;
    cq_record *records = NULL;
    cronq_status status;

    *seen = 0;
    cq_arena_reset(&m->arena);
    status = m->from->inspect->list(m->from, listing, &m->arena, &records, seen, err);
    if (status || !*seen)
        return status;
    status = store_page(m, records, *seen, moves, &stored, err);
    if (!status && stored)
        status = m->from->inspect->act(m->from, m->queue, CQ_ACT_DELETE, moves, stored,
                                       listing->offset, now_of(m->from), err);
    if (status)
        return status;
    for (size_t i = 0; i < stored; i++)
        gone += moves[i].status == CRONQ_OK;
    m->moved += gone;
    listing->offset += *seen - stored;
    return CRONQ_OK;
}

static cronq_status move_all_of(migration *m, cronq_state state, cq_str group,
                                cronq_error *err)
{
    cq_listing listing = { m->queue, state, group, 0, PAGE, true };
    cronq_status status;
    size_t seen;

    do {
        uint64_t left = 0, active;
        bool paused;

        status = move_page(m, &listing, &seen, err);
        if (!status && seen && m->options->on_progress &&
            !count_left(m, &left, &active, &paused, NULL))
            tell(m, left);
    } while (!status && seen == PAGE);
    m->conflicts += listing.offset;
    return status;
}

/* ---- groups ---- */

/* A set is given back to its group: who merges it finds that out. */
static cronq_status give_back_sets(migration *m, cronq_error *err)
{
    int64_t late_ns = now_of(m->from) + 10 * CQ_SET_AGE_S * CQ_NS_PER_S;
    cronq_status status;
    size_t count = 0;

    do {
        status = m->from->ops->reclaim_sets(m->from, m->queue, late_ns, CQ_PAGE_LIMIT,
                                            &count, err);
    } while (!status && count);
    return status;
}

static cronq_status move_groups(migration *m, cronq_error *err)
{
    cq_group_count *groups = NULL;
    cronq_status status = give_back_sets(m, err);
    size_t count = 0;
    cq_arena names;

    if (status)
        return status;
    cq_arena_init(&names, PAGE_BYTES_LIMIT);
    status = m->from->inspect->groups(m->from, m->queue, GROUPS_AT_ONCE, &names, &groups,
                                      &count, err);
    for (size_t i = 0; i < count && !status; i++)
        status = move_all_of(m, CRONQ_STATE_AGGREGATING, groups[i].name, err);
    cq_arena_release(&names);
    return status;
}

/* ---- active tasks ---- */

/* Tasks whose worker is gone go to pending, from where they are moved. */
static cronq_status put_back_expired(migration *m, cronq_error *err)
{
    cq_recovery items[PAGE] = { { .score = 0 } };
    cq_expired *expired = NULL;
    cq_str *unleased = NULL;
    size_t count = 0;
    cronq_status status;

    cq_arena_reset(&m->arena);
    status = m->from->ops->list_unleased(m->from, m->queue, PAGE, &m->arena, &unleased,
                                         &count, err);
    if (!status && count)
        status =
            m->from->ops->adopt(m->from, m->queue, unleased, count, now_of(m->from), err);
    count = 0;
    if (!status)
        status = m->from->ops->list_expired(m->from, m->queue, now_of(m->from), PAGE,
                                            &m->arena, &expired, &count, err);
    for (size_t i = 0; i < count && !status; i++)
        items[i] = (cq_recovery){
            .kind = expired[i].message.data ? CQ_RECOVER_PUT_BACK : CQ_RECOVER_DROP,
            .id = expired[i].id,
            .score = expired[i].score,
            .message = expired[i].message,
        };
    if (!status && count)
        status =
            m->from->ops->recover(m->from, m->queue, items, count, now_of(m->from), err);
    return status;
}

/* ---- a queue ---- */

/* What becomes due meanwhile goes on to a state that comes later here. */
static cronq_status move_round(migration *m, cronq_error *err)
{
    static const cronq_state states[] = { CRONQ_STATE_PENDING, CRONQ_STATE_ARCHIVED,
                                          CRONQ_STATE_COMPLETED };
    cronq_status status;

    m->conflicts = 0;
    status = put_back_expired(m, err);
    if (!status)
        status = move_all_of(m, CRONQ_STATE_SCHEDULED, CQ_STR(""), err);
    if (!status)
        status = move_all_of(m, CRONQ_STATE_RETRY, CQ_STR(""), err);
    if (!status)
        status = move_groups(m, err);
    for (size_t i = 0; i < sizeof states / sizeof states[0] && !status; i++)
        status = move_all_of(m, states[i], CQ_STR(""), err);
    return status;
}

static cronq_status pause_both(migration *m, cronq_error *err)
{
    cq_broker *both[] = { m->from, m->to };

    for (int i = 0; i < 2; i++) {
        cronq_status status =
            both[i]->inspect->pause(both[i], m->queue, true, now_of(both[i]), err);

        if (status && status != CRONQ_ESTATE)
            return status;
    }
    return CRONQ_OK;
}

static cronq_status say_left(const migration *m, uint64_t left, uint64_t active,
                             cronq_error *err)
{
    char room[CQ_QUOTED_ROOM];

    cq_quoted(m->queue, room);
    if (active)
        return cq_fail(err, CRONQ_ESTATE,
                       "queue %s still has %llu active tasks: move it again when they "
                       "are done; it stays paused in both stores",
                       room, (unsigned long long)active);
    return cq_fail(err, CRONQ_EEXIST,
                   "%llu tasks of queue %s were not moved: other tasks have their ids "
                   "there; it stays paused in both stores",
                   (unsigned long long)left, room);
}

/* Rounds until nothing is left, or what is left does not become less. */
static cronq_status move_rounds(migration *m, cronq_error *err)
{
    int64_t until_ns = cq_mono_ns() + m->options->active_wait_ms * CQ_NS_PER_MS;
    uint64_t left = 0, active = 0;
    bool paused;

    for (int round = 0;; round++) {
        uint64_t before = m->moved;
        cronq_status status = move_round(m, err);

        if (!status)
            status = count_left(m, &left, &active, &paused, err);
        if (status)
            return status;
        tell(m, left);
        if (!left)
            return CRONQ_OK;
        if (m->moved > before && round < ROUNDS_LIMIT)
            continue;
        if (!active || cq_mono_ns() >= until_ns)
            return say_left(m, left, active, err);
        cq_sleep_ms(ACTIVE_POLL_MS);
    }
}

static cronq_status move_queue(migration *m, cronq_error *err)
{
    uint64_t left, active;
    cronq_status status;
    bool paused;
    char room[CQ_QUOTED_ROOM];

    status = count_left(m, &left, &active, &paused, err);
    if (!status && active && !paused)
        return cq_fail(err, CRONQ_ESTATE,
                       "queue %s has %llu active tasks and is not paused: pause it, or "
                       "let it run dry",
                       cq_quoted(m->queue, room), (unsigned long long)active);
    if (!status)
        status = pause_both(m, err);
    if (!status)
        status = move_rounds(m, err);
    if (status || m->options->keep_paused)
        return status;
    status = m->to->inspect->pause(m->to, m->queue, false, now_of(m->to), err);
    return status == CRONQ_ESTATE ? CRONQ_OK : status;
}

/* ---- two stores ---- */

/* To move a queue to itself would delete it. A mark that is made here must not be there.
 */
static cronq_status check_apart(cq_broker *from, cq_broker *to, cronq_error *err)
{
    char mark[CQ_UUID_LEN + 1];
    cq_beat beat = { .host = CQ_STR("migrate"), .pid = 1, .ttl_s = 60 };
    cronq_status status;
    cronq_bytes *servers = NULL;
    size_t count = 0;
    cq_random random;
    cq_arena arena;
    bool same = false;

    cq_random_init(&random);
    cq_uuid4(&random, mark);
    beat.server_id = (cq_str){ mark, CQ_UUID_LEN };
    beat.info = (cronq_bytes){ mark, CQ_UUID_LEN };
    beat.now_ns = now_of(from);
    status = from->ops->beat(from, &beat, err);
    if (status)
        return status;
    cq_arena_init(&arena, PAGE_BYTES_LIMIT);
    status = to->inspect->servers(to, now_of(to), &arena, &servers, &count, err);
    for (size_t i = 0; i < count && !status; i++)
        same |= servers[i].len == CQ_UUID_LEN &&
                memcmp(servers[i].data, mark, CQ_UUID_LEN) == 0;
    cq_arena_release(&arena);
    if (status)
        from->ops->beat_clear(from, &beat, NULL);
    else
        status = from->ops->beat_clear(from, &beat, err);
    if (same)
        return cq_fail(err, CRONQ_EINVAL, "both URIs name the same store");
    return status;
}

static cronq_status open_store(const char *uri, const cronq_store_options *how,
                               bool must_exist, cq_broker **out, cronq_error *err)
{
    cronq_store_options copy;
    cq_broker_options options = { .uri = uri, .store = &copy, .by_hand = true };
    cronq_status status;

    if (!uri)
        return cq_fail(err, CRONQ_EINVAL, "the URI of a store is NULL");
    status = cq_options_copy(&copy, sizeof copy, how, "cronq_store_options", err);
    if (status)
        return status;
    copy.must_exist |= must_exist;
    status = cq_broker_open(&options, out, err);
    return status ? status : (*out)->ops->sync_clock(*out, err);
}

static cronq_status migrate(cq_broker *from, cq_broker *to, const char *const *queues,
                            size_t queue_count, const cronq_migrate_options *options,
                            cronq_error *err)
{
    cronq_status status = check_apart(from, to, err);

    for (size_t i = 0; i < queue_count && !status; i++) {
        migration m = { .from = from, .to = to, .options = options, .name = queues[i] };

        m.queue = cq_str_of(queues[i]);
        cq_arena_init(&m.arena, PAGE_BYTES_LIMIT);
        status = move_queue(&m, err);
        cq_arena_release(&m.arena);
    }
    return status;
}

cronq_status cronq_migrate(const char *from_uri, const char *to_uri,
                           const char *const *queues, size_t queue_count,
                           const cronq_migrate_options *options, cronq_error *err)
{
    cq_broker *from = NULL, *to = NULL;
    cronq_migrate_options copy;
    cronq_status status;

    status = cq_options_copy(&copy, sizeof copy, options, "cronq_migrate_options", err);
    if (!status && !queues && queue_count)
        status = cq_fail(err, CRONQ_EINVAL, "queues is NULL");
    if (!status)
        status = open_store(from_uri, copy.from_store, true, &from, err);
    if (!status)
        status = open_store(to_uri, copy.to_store, false, &to, err);
    if (!status)
        status = migrate(from, to, queues, queue_count, &copy, err);
    if (from)
        from->ops->free(from);
    if (to)
        to->ops->free(to);
    return status;
}
