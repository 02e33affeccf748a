/* SPDX-License-Identifier: MIT */
/* broker/sqlite/push.c - pushing tasks: a transaction for each batch. */
#include "broker/sqlite/sqlite.h"

#include "base/error.h"
#include "codec/key.h"
#include "codec/message.h"

#define TICK_TTL_MS  ((int64_t)3600 * CQ_MS_PER_S)
#define LAST_TTL_MS  ((int64_t)90 * 24 * 3600 * CQ_MS_PER_S)
#define TARGET_COUNT 32
#define ARENA_BYTES  ((size_t)1 << 30)

/* A queue that this transaction pushes to. */
typedef struct push_target {
    cq_str name;
    int64_t queue;
    int64_t back; /* the place of the next task; 0: not known yet */
} push_target;

typedef struct push_batch {
    cq_push *items;
    size_t count;
    int64_t now_ns, now_ms;
    cronq_status before[CQ_SQLITE_CHUNK]; /* the statuses that the items came with */
    push_target targets[TARGET_COUNT];    /* the latest ones */
    size_t target_count;
    bool doubtful; /* the commit failed */
    cq_arena arena;
} push_batch;

static push_target *target_of(cq_sqlite *store, push_batch *batch, cq_str name)
{
    size_t known =
        batch->target_count < TARGET_COUNT ? batch->target_count : TARGET_COUNT;
    push_target *target;

    for (size_t i = 0; i < known; i++)
        if (cq_str_eq(batch->targets[i].name, name))
            return &batch->targets[i];
    target = &batch->targets[batch->target_count++ % TARGET_COUNT];
    *target = (push_target){ name, cq_sqlite_queue_or_new(store, name), 0 };
    return target;
}

/* ---- locks ---- */

/* Who holds it, in the arena; data is NULL when nobody does. */
static cq_str holder_of(cq_sqlite *store, push_batch *batch, cq_str lock)
{
    cq_sql sql = cq_sql_of(store, CQ_SQL_lock_get);
    cq_str holder = { NULL, 0 };

    cq_sql_str(&sql, lock);
    cq_sql_int(&sql, batch->now_ms);
    if (!cq_sql_step(&sql))
        return holder;
    holder = cq_sql_copy_str(&sql, 0, &batch->arena);
    if (!holder.data)
        cq_sqlite_note(store, SQLITE_NOMEM);
    cq_sql_end(&sql);
    return holder;
}

static void hold(cq_sqlite *store, cq_str lock, cq_str holder, int64_t until_ms)
{
    cq_sql sql = cq_sql_of(store, CQ_SQL_lock_set);

    cq_sql_str(&sql, lock);
    cq_sql_str(&sql, holder);
    cq_sql_int(&sql, until_ms);
    cq_sql_run(&sql);
}

/* The names that the Redis broker uses, too. */
static cq_str tick_name(cq_sqlite *store, push_batch *batch, const cq_push *item,
                        bool last)
{
    cq_str name = { "", 0 };
    cq_buf buf;

    cq_buf_init(&buf, 4096);
    cq_key_of(&buf, item->queue, last ? "cronq:last:" : "cronq:tick:");
    cq_buf_append_str(&buf, item->tick_entry);
    if (!last)
        cq_buf_printf(&buf, ":%lld", (long long)item->tick_at_s);
    if (!buf.status) {
        name.data = cq_arena_dup(&batch->arena, buf.data, buf.len);
        name.len = buf.len;
    }
    if (buf.status || !name.data)
        cq_sqlite_note(store, buf.status == CRONQ_ETOOBIG ? SQLITE_TOOBIG : SQLITE_NOMEM);
    cq_buf_release(&buf);
    return name;
}

/* ---- one task ---- */

/* The state of a task, or -1. */
static int64_t state_of(cq_sqlite *store, int64_t queue, cq_str id)
{
    cq_sql sql = cq_sql_of(store, CQ_SQL_task_state);

    cq_sql_int(&sql, queue);
    cq_sql_str(&sql, id);
    return cq_sql_value(&sql, -1);
}

/* There is such an id. Is it what this very push stored before? */
static cronq_status judge_conflict(cq_sqlite *store, push_batch *batch,
                                   const cq_push *item, int64_t queue)
{
    cq_sql sql = cq_sql_of(store, CQ_SQL_task_message);
    bool same = false;

    if (item->id_is_ours)
        return CRONQ_OK;
    if (!item->again)
        return CRONQ_EEXIST;
    cq_sql_int(&sql, queue);
    cq_sql_str(&sql, item->id);
    if (cq_sql_step(&sql)) {
        same =
            cq_message_is_echo(cq_sql_get_bytes(&sql, 0), item->message, &batch->arena);
        cq_sql_end(&sql);
    }
    return same ? CRONQ_OK : CRONQ_EEXIST;
}

static bool add_task(cq_sqlite *store, push_batch *batch, push_target *target,
                     const cq_push *item)
{
    static const int64_t states[] = { [CQ_PUSH_NOW] = CQ_SQLITE_PENDING,
                                      [CQ_PUSH_LATER] = CQ_SQLITE_SCHEDULED,
                                      [CQ_PUSH_GROUP] = CQ_SQLITE_AGGREGATING };
    cq_sql sql;
    int64_t at = batch->now_ms;

    if (item->kind == CQ_PUSH_NOW) {
        if (!target->back)
            target->back = cq_sqlite_back(store, target->queue);
        at = target->back++;
    } else if (item->kind == CQ_PUSH_LATER) {
        at = item->run_at_ms;
    }
    sql = cq_sql_of(store, CQ_SQL_task_add);
    cq_sql_int(&sql, target->queue);
    cq_sql_int(&sql, states[item->kind]);
    cq_sql_int(&sql, at);
    if (item->kind == CQ_PUSH_NOW)
        cq_sql_int(&sql, batch->now_ns);
    else
        cq_sql_null(&sql);
    cq_sql_str(&sql, item->id);
    cq_sql_bytes(&sql, item->message);
    cq_sql_str_or_null(&sql, item->kind == CQ_PUSH_NOW ? CQ_STR("") : item->group);
    cq_sql_str_or_null(&sql, item->unique_key);
    return cq_sql_run(&sql) > 0;
}

/* Someone holds a lock that the task needs: ourselves, before the answer was lost? */
static cronq_status judge_holder(const cq_push *item, cq_str holder)
{
    return item->again && cq_str_eq(holder, item->id) ? CRONQ_OK : CRONQ_EDUP;
}

/* With an entry that does not overlap: is its last run over? */
static bool last_is_unfinished(cq_sqlite *store, push_batch *batch, int64_t queue,
                               cq_str last)
{
    cq_str holder = holder_of(store, batch, last);
    int64_t state = holder.data ? state_of(store, queue, holder) : -1;

    return state >= 0 && state != CQ_SQLITE_ARCHIVED && state != CQ_SQLITE_COMPLETED;
}

static cronq_status push_one(cq_sqlite *store, push_batch *batch, const cq_push *item)
{
    push_target *target = target_of(store, batch, item->queue);
    bool has_tick = item->tick_entry.len > 0;
    cq_str tick = { NULL, 0 }, last = { NULL, 0 }, holder = { NULL, 0 };

    if (has_tick) {
        tick = tick_name(store, batch, item, false);
        holder = holder_of(store, batch, tick);
    }
    if (!holder.data && item->unique_key.len)
        holder = holder_of(store, batch, item->unique_key);
    if (holder.data)
        return judge_holder(item, holder);
    if (has_tick && item->skip_overlap) {
        last = tick_name(store, batch, item, true);
        if (state_of(store, target->queue, item->id) >= 0)
            return judge_conflict(store, batch, item, target->queue);
        if (last_is_unfinished(store, batch, target->queue, last)) {
            hold(store, tick, CQ_STR(""), batch->now_ms + TICK_TTL_MS);
            return CRONQ_ESTATE;
        }
    }
    if (!add_task(store, batch, target, item))
        return judge_conflict(store, batch, item, target->queue);
    if (item->unique_key.len)
        hold(store, item->unique_key, item->id,
             batch->now_ms + item->unique_ttl_s * CQ_MS_PER_S);
    if (has_tick)
        hold(store, tick, item->id, batch->now_ms + TICK_TTL_MS);
    if (last.data)
        hold(store, last, item->id, batch->now_ms + LAST_TTL_MS);
    store->ring = true;
    return CRONQ_OK;
}

static cronq_status push_batch_work(cq_sqlite *store, void *arg, cronq_error *err)
{
    push_batch *batch = arg;

    (void)err;
    batch->target_count = 0;
    cq_arena_reset(&batch->arena);
    for (size_t i = 0; i < batch->count && !store->code; i++)
        batch->items[i].status = push_one(store, batch, &batch->items[i]);
    return CRONQ_OK;
}

void cq_sqlite_push_in(cq_sqlite *store, cq_push *item, int64_t now_ns)
{
    push_batch batch = {
        .items = item, .count = 1, .now_ns = now_ns, .now_ms = cq_ns_to_ms(now_ns)
    };

    cq_arena_init(&batch.arena, ARENA_BYTES);
    push_batch_work(store, &batch, NULL);
    cq_arena_release(&batch.arena);
}

/* What was rolled back keeps the status that it came with; after a failed commit nobody
 * knows. */
static void push_failed(push_batch *batch, cronq_status status)
{
    for (size_t i = 0; i < batch->count; i++)
        batch->items[i].status = status == CRONQ_EFULL ? CRONQ_EFULL
                                 : batch->doubtful     ? CRONQ_EIO
                                                       : batch->before[i];
}

cronq_status cq_sqlite_push(cq_broker *broker, cq_push *items, size_t count,
                            int64_t now_ns, cronq_error *err)
{
    cq_sqlite *store = cq_sqlite_of(broker);
    cronq_status status = CRONQ_OK;
    push_batch batch;

    cq_arena_init(&batch.arena, ARENA_BYTES);
    batch.now_ns = now_ns;
    batch.now_ms = cq_ns_to_ms(now_ns);
    for (size_t at = 0; at < count && !status; at += batch.count) {
        batch.items = items + at;
        batch.count = count - at < CQ_SQLITE_CHUNK ? count - at : CQ_SQLITE_CHUNK;
        for (size_t i = 0; i < batch.count; i++)
            batch.before[i] = batch.items[i].status;
        status = cq_sqlite_try(store, CQ_SQLITE_ADDS, push_batch_work, &batch,
                               &batch.doubtful, err);
        if (status)
            push_failed(&batch, status);
        if (status == CRONQ_EFULL)
            status = CRONQ_OK;
    }
    cq_arena_release(&batch.arena);
    return status;
}
