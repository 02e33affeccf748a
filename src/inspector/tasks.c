/* SPDX-License-Identifier: MIT */
/* tasks.c - looking at tasks, and moving single ones. */
#include "inspector/internal.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/quote.h"
#include "codec/key.h"
#include "codec/task_info.h"

#include <stdlib.h>

#define LIST_LIMIT    10000
#define REPLACE_TRIES 10
#define PAYLOAD_LIMIT ((size_t)512 << 20)

/* ---- what fits ---- */

/* When what its age is counted from happened; 0: it has none. */
static int64_t since_ms(const cq_record *record, const cq_message *message)
{
    switch (record->state) {
    case CRONQ_STATE_PENDING:
        return record->pending_since_ns / CQ_NS_PER_MS;
    case CRONQ_STATE_ARCHIVED:
    case CRONQ_STATE_AGGREGATING:
        return record->at_ms;
    case CRONQ_STATE_RETRY:
        return message ? message->last_failed_at_s * CQ_MS_PER_S : 0;
    case CRONQ_STATE_COMPLETED:
        return message ? message->completed_at_s * CQ_MS_PER_S : 0;
    default:
        return 0;
    }
}

static bool contains(cronq_bytes in, cronq_bytes part)
{
    if (part.len == 0)
        return true;
    return in.len >= part.len && memmem(in.data, in.len, part.data, part.len);
}

bool cq_filter_selects(const cronq_filter *filter)
{
    return filter && (filter->type_prefix || filter->id_prefix ||
                      filter->payload_part.len || filter->older_than_ms);
}

bool cq_filter_fits(const cronq_filter *filter, const cq_record *record,
                    const cq_message *message, int64_t now_ns)
{
    int64_t since;

    if (!cq_filter_selects(filter))
        return true;
    if (filter->id_prefix && !cq_str_starts(record->id, cq_str_of(filter->id_prefix)))
        return false;
    since = since_ms(record, message);
    if (filter->older_than_ms &&
        (!since || now_ns / CQ_NS_PER_MS - since < filter->older_than_ms))
        return false;
    if (!filter->type_prefix && !filter->payload_part.len)
        return true;
    return message && cq_str_starts(message->type, cq_str_of(filter->type_prefix)) &&
           contains(message->payload, filter->payload_part);
}

/* ---- making infos ---- */

static cq_task_facts facts_of(const cq_record *record)
{
    int64_t at_ms = record->at_ms;
    cq_task_facts facts = { .state = record->state,
                            .result = record->result,
                            .orphaned = record->orphaned,
                            .failures = record->failures,
                            .cancelled = record->cancelled,
                            .merging = record->merging };

    if (record->state == CRONQ_STATE_PENDING)
        facts.pending_since_ms = record->pending_since_ns / CQ_NS_PER_MS;
    else if (record->state == CRONQ_STATE_SCHEDULED || record->state == CRONQ_STATE_RETRY)
        facts.next_at_ms = at_ms;
    else if (record->state == CRONQ_STATE_ARCHIVED)
        facts.archived_at_ms = at_ms;
    else if (record->state == CRONQ_STATE_COMPLETED)
        facts.kept_until_ms = at_ms;
    return facts;
}

static cronq_status info_of(const cq_record *record, const cq_message *decoded,
                            cq_str queue, cronq_task_info **out, cronq_error *err)
{
    cq_message message = { .id = record->id, .queue = queue };
    const cq_task_facts facts = facts_of(record);

    if (decoded)
        message = *decoded;
    message.id = record->id;
    if (record->group.len)
        message.group = record->group;
    return cq_task_info_make(&message, &facts, out, err);
}

static const cq_message *decode(const cq_record *record, cq_arena *arena,
                                cq_message *room)
{
    if (!record->message.data || cq_message_decode(record->message, arena, room, NULL))
        return NULL;
    return room;
}

static cronq_status check_names(const char *queue, const char *id, cronq_error *err)
{
    cronq_status status = cq_inspect_check_queue(queue, err);

    if (status)
        return status;
    if (!id)
        return cq_fail(err, CRONQ_EINVAL, "the task's id is NULL");
    return cq_check_task_id(cq_str_of(id), err);
}

cronq_status cronq_inspector_task(cronq_inspector *inspector, const char *queue,
                                  const char *id, cronq_task_info **out, cronq_error *err)
{
    cq_broker *broker = inspector->broker;
    cronq_status status = check_names(queue, id, err);
    cq_message room;
    cq_record record;
    cq_arena arena;

    if (status)
        return status;
    cq_arena_init(&arena, CQ_INSPECT_LIMIT_BYTES);
    status = broker->inspect->task(broker, cq_str_of(queue), cq_str_of(id), &arena,
                                   &record, err);
    if (!status)
        status =
            info_of(&record, decode(&record, &arena, &room), cq_str_of(queue), out, err);
    cq_arena_release(&arena);
    return status;
}

/* ---- lists ---- */

static int by_name(const void *a, const void *b)
{
    const cq_group_count *x = a, *y = b;
    size_t len = x->name.len < y->name.len ? x->name.len : y->name.len;
    int order = memcmp(x->name.data, y->name.data, len);

    return order ? order : (x->name.len > y->name.len) - (x->name.len < y->name.len);
}

cronq_status cq_inspect_groups(cronq_inspector *inspector, cq_str queue,
                               cronq_state state, const cronq_filter *filter,
                               cq_arena *arena, cq_group_count **out, size_t *count,
                               cronq_error *err)
{
    cq_broker *broker = inspector->broker;
    cronq_status status;

    if (state != CRONQ_STATE_AGGREGATING || (filter && filter->group)) {
        *out = cq_arena_calloc(arena, 1, sizeof **out);
        if (!*out)
            return cq_fail_nomem(err);
        (*out)->name = cq_str_of(filter ? filter->group : NULL);
        *count = 1;
        return CRONQ_OK;
    }
    status = broker->inspect->groups(broker, queue, 100000, arena, out, count, err);
    if (!status && *count)
        qsort(*out, *count, sizeof **out, by_name);
    return status;
}

typedef struct walk {
    cronq_inspector *inspector;
    const cronq_filter *filter;
    cq_listing listing;
    int64_t now_ns;
    size_t skip, limit, count, room; /* skip: of those that fit */
    cronq_task_info **infos;
    cronq_task_fn *on_task; /* else they are kept */
    void *arg;
} walk;

static cronq_status show(walk *w, const cq_record *record, const cq_message *message,
                         cronq_error *err)
{
    cronq_task_info *info = NULL;
    cronq_status status = info_of(record, message, w->listing.queue, &info, err);

    if (!status && !w->on_task(info, w->arg))
        status = cq_fail(err, CRONQ_ECANCELED, "interrupted");
    cronq_task_info_free(info);
    return status;
}

static cronq_status keep(walk *w, const cq_record *record, cq_arena *arena,
                         cronq_error *err)
{
    cq_message room;
    const cq_message *message = decode(record, arena, &room);
    cronq_status status;

    if (record->state != w->listing.state ||
        !cq_filter_fits(w->filter, record, message, w->now_ns))
        return CRONQ_OK;
    if (w->skip) {
        w->skip--;
        return CRONQ_OK;
    }
    if (w->on_task)
        return show(w, record, message, err);
    if (w->count == w->room) {
        size_t more = 2 * w->room + 32;
        cronq_task_info **grown = realloc(w->infos, more * sizeof(cronq_task_info *));

        if (!grown)
            return cq_fail_nomem(err);
        w->infos = grown;
        w->room = more;
    }
    status = info_of(record, message, w->listing.queue, &w->infos[w->count], err);
    w->count += !status;
    return status;
}

/* *got: how many the page had. */
static cronq_status walk_page(walk *w, size_t *got, cronq_error *err)
{
    cq_broker *broker = w->inspector->broker;
    cq_record *records;
    cronq_status status;
    cq_arena arena;

    cq_arena_init(&arena, CQ_INSPECT_LIMIT_BYTES);
    status = broker->inspect->list(broker, &w->listing, &arena, &records, got, err);
    for (size_t i = 0; !status && i < *got && w->count < w->limit; i++)
        status = keep(w, &records[i], &arena, err);
    cq_arena_release(&arena);
    return status;
}

/* Without a filter what comes before the page is not read. */
static cronq_status walk_group(walk *w, const cq_group_count *group, cronq_error *err)
{
    bool selects = cq_filter_selects(w->filter);
    size_t got = CQ_PAGE_LIMIT, asked = got;
    cronq_status status = CRONQ_OK;

    w->listing.group = group->name;
    w->listing.offset = 0;
    if (!selects && (w->listing.state != CRONQ_STATE_AGGREGATING || group->count == 0)) {
        w->listing.offset = w->skip;
        w->skip = 0;
    } else if (!selects && group->count <= w->skip) {
        w->skip -= group->count;
        return CRONQ_OK;
    }
    while (got == asked && w->count < w->limit && !status) {
        asked = selects || w->skip || w->limit - w->count > CQ_PAGE_LIMIT
                    ? CQ_PAGE_LIMIT
                    : w->limit - w->count;
        w->listing.limit = asked;
        status = walk_page(w, &got, err);
        w->listing.offset += got;
    }
    return status;
}

static cronq_status walk_all(walk *w, cronq_error *err)
{
    cq_group_count *groups = NULL;
    size_t count = 0;
    cronq_status status;
    cq_arena arena;

    cq_arena_init(&arena, CQ_INSPECT_LIMIT_BYTES);
    status = cq_inspect_groups(w->inspector, w->listing.queue, w->listing.state,
                               w->filter, &arena, &groups, &count, err);
    for (size_t i = 0; i < count && !status && w->count < w->limit; i++)
        status = walk_group(w, &groups[i], err);
    cq_arena_release(&arena);
    return status;
}

static cronq_status must_exist(cronq_inspector *inspector, const char *queue,
                               int64_t now_ns, cronq_error *err)
{
    cq_broker *broker = inspector->broker;
    cq_queue_counts counts;

    return broker->inspect->counts(broker, cq_str_of(queue), now_ns, &counts, err);
}

static cronq_status begin_walk(walk *w, const char *queue, cronq_error *err)
{
    cronq_status status = cq_inspect_check_queue(queue, err);
    cronq_state state = w->listing.state;

    if (status)
        return status;
    if (!state || !cronq_state_name(state))
        return cq_fail(err, CRONQ_EINVAL, "%d is no state of a task", (int)state);
    w->listing.queue = cq_str_of(queue);
    status = cq_inspect_now(w->inspector, &w->now_ns, err);
    return status ? status : must_exist(w->inspector, queue, w->now_ns, err);
}

cronq_status cronq_inspector_list(cronq_inspector *inspector, const char *queue,
                                  cronq_state state, const cronq_filter *filter,
                                  size_t offset, size_t limit, cronq_task_info ***infos,
                                  size_t *count, cronq_error *err)
{
    walk w = { .inspector = inspector,
               .filter = filter,
               .listing = { .state = state },
               .skip = offset,
               .limit = limit };
    cronq_status status;

    if (limit < 1 || limit > LIST_LIMIT)
        return cq_fail(err, CRONQ_EINVAL, "limit is %zu: not between 1 and %d", limit,
                       LIST_LIMIT);
    status = begin_walk(&w, queue, err);
    if (!status)
        status = walk_all(&w, err);
    if (status) {
        cronq_task_infos_free(w.infos, w.count);
        return status;
    }
    *infos = w.infos;
    *count = w.count;
    return CRONQ_OK;
}

cronq_status cronq_inspector_each(cronq_inspector *inspector, const char *queue,
                                  cronq_state state, const cronq_filter *filter,
                                  cronq_task_fn *on_task, void *arg, cronq_error *err)
{
    walk w = { .inspector = inspector,
               .filter = filter,
               .listing = { .state = state },
               .limit = SIZE_MAX,
               .on_task = on_task,
               .arg = arg };
    cronq_status status = begin_walk(&w, queue, err);

    return status ? status : walk_all(&w, err);
}

void cronq_task_infos_free(cronq_task_info **infos, size_t count)
{
    for (size_t i = 0; i < count; i++)
        cronq_task_info_free(infos[i]);
    free(infos);
}

/* ---- single tasks ---- */

static cronq_status refuse(const cq_move *item, const char *what, cronq_error *err)
{
    char room[CQ_QUOTED_ROOM];

    if (item->status == CRONQ_ENOENT)
        return cq_fail(err, CRONQ_ENOENT, "there is no task %s",
                       cq_quoted(item->id, room));
    if (item->status != CRONQ_ESTATE)
        return cq_fail(err, item->status, "task %s can not be read",
                       cq_quoted(item->id, room));
    return cq_fail(err, CRONQ_ESTATE, "task %s can not be %s: it is %s%s",
                   cq_quoted(item->id, room), what, cronq_state_name(item->state),
                   item->state == CRONQ_STATE_AGGREGATING ? ", and being merged" : "");
}

static cronq_status act(cronq_inspector *inspector, cq_action action, const char *what,
                        const char *queue, const char *id, cronq_error *err)
{
    cq_broker *broker = inspector->broker;
    cq_move item = { .id = cq_str_of(id) };
    cronq_status status = check_names(queue, id, err);
    int64_t now_ns;

    if (!status)
        status = cq_inspect_now(inspector, &now_ns, err);
    if (!status)
        status = broker->inspect->act(broker, cq_str_of(queue), action, &item, 1,
                                      CQ_NOWHERE, now_ns, err);
    if (!status && item.status)
        status = refuse(&item, what, err);
    return status;
}

cronq_status cronq_inspector_delete(cronq_inspector *inspector, const char *queue,
                                    const char *id, cronq_error *err)
{
    return act(inspector, CQ_ACT_DELETE, "deleted", queue, id, err);
}

cronq_status cronq_inspector_run(cronq_inspector *inspector, const char *queue,
                                 const char *id, cronq_error *err)
{
    return act(inspector, CQ_ACT_RUN, "run", queue, id, err);
}

cronq_status cronq_inspector_archive(cronq_inspector *inspector, const char *queue,
                                     const char *id, cronq_error *err)
{
    return act(inspector, CQ_ACT_ARCHIVE, "archived", queue, id, err);
}

cronq_status cronq_inspector_cancel(cronq_inspector *inspector, const char *queue,
                                    const char *id, cronq_error *err)
{
    cq_broker *broker = inspector->broker;
    cronq_status status = check_names(queue, id, err);
    int64_t now_ns;

    if (!status)
        status = cq_inspect_now(inspector, &now_ns, err);
    if (status)
        return status;
    return broker->inspect->cancel(broker, cq_str_of(queue), cq_str_of(id), now_ns, err);
}

/* *same: what was read was still there when it was written. */
static cronq_status update_once(cronq_inspector *inspector, cq_str queue, cq_str id,
                                cronq_bytes payload, bool *same, cronq_error *err)
{
    cq_broker *broker = inspector->broker;
    cq_message message;
    cronq_status status;
    cq_record record;
    cq_arena arena;
    cq_buf buf;

    cq_arena_init(&arena, CQ_INSPECT_LIMIT_BYTES);
    cq_buf_init(&buf, PAYLOAD_LIMIT);
    status = broker->inspect->task(broker, queue, id, &arena, &record, err);
    if (!status)
        status = cq_message_decode(record.message, &arena, &message, err);
    if (!status) {
        message.payload = payload;
        status = cq_message_encode(&message, &buf, err);
    }
    if (!status)
        status = broker->inspect->replace(broker, queue, id, record.message,
                                          (cronq_bytes){ buf.data, buf.len }, same, err);
    cq_buf_release(&buf);
    cq_arena_release(&arena);
    return status;
}

cronq_status cronq_inspector_update_payload(cronq_inspector *inspector, const char *queue,
                                            const char *id, cronq_bytes payload,
                                            cronq_error *err)
{
    cronq_status status = check_names(queue, id, err);
    bool same = false;

    if (!status && !payload.data && payload.len)
        status = cq_fail(err, CRONQ_EINVAL, "payload.data is NULL, payload.len is not 0");
    for (int i = 0; i < REPLACE_TRIES && !status && !same; i++)
        status =
            update_once(inspector, cq_str_of(queue), cq_str_of(id), payload, &same, err);
    if (!status && !same)
        status = cq_fail(err, CRONQ_ESTATE, "task %s is being changed by others", id);
    return status;
}
