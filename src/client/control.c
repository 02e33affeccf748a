/* SPDX-License-Identifier: MIT */
/* control.c - what a client does to tasks that are stored: withdraw them, give them
 * another time, wait for them. */
#include "client/internal.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/quote.h"
#include "codec/key.h"
#include "codec/message.h"
#include "codec/task_info.h"

#define ARENA_BYTES   ((size_t)1 << 30)
#define TRIES         20 /* while others change the same task */
#define LOOK_FIRST_MS 10
#define LOOK_LIMIT_MS 500

static cronq_status check_names(const cronq_client *client, const char *queue,
                                const char *id, cronq_error *err)
{
    cronq_status status;

    if (!client || !queue || !id)
        return cq_fail(err, CRONQ_EINVAL, "client, queue or id is NULL");
    status = cq_check_queue(cq_str_of(queue), err);
    return status ? status : cq_check_task_id(cq_str_of(id), err);
}

static cronq_status being_changed(const char *id, cronq_error *err)
{
    char room[CQ_QUOTED_ROOM];

    return cq_fail(err, CRONQ_ESTATE, "task %s is being changed by others all the time",
                   cq_quoted(cq_str_of(id), room));
}

/* ---- withdrawing ---- */

static cronq_status refuse(const cq_move *item, cronq_error *err)
{
    char room[CQ_QUOTED_ROOM];

    if (item->status == CRONQ_ENOENT)
        return cq_fail(err, CRONQ_ENOENT, "there is no task %s",
                       cq_quoted(item->id, room));
    if (item->status != CRONQ_ESTATE)
        return cq_fail(err, item->status, "task %s can not be read",
                       cq_quoted(item->id, room));
    return cq_fail(err, CRONQ_ESTATE, "task %s can not be withdrawn: it is %s",
                   cq_quoted(item->id, room),
                   item->state == CRONQ_STATE_AGGREGATING
                       ? "being merged"
                       : cronq_state_name(item->state));
}

/* *again: it ended running between the two looks, and waits once more perhaps. */
static cronq_status cancel_once(cq_broker *broker, cq_str queue, cq_str id,
                                cronq_cancel_mode mode, bool *again, cronq_error *err)
{
    int64_t now_ns = broker->ops->now_ns(broker);
    cq_move item = { .id = id };
    cronq_status status;

    *again = false;
    status = broker->inspect->act(broker, queue, CQ_ACT_WITHDRAW, &item, 1, CQ_NOWHERE,
                                  now_ns, err);
    if (status || !item.status)
        return status;
    if (item.status != CRONQ_ESTATE || item.state != CRONQ_STATE_ACTIVE ||
        mode != CRONQ_CANCEL_RUNNING)
        return refuse(&item, err);
    status = broker->inspect->cancel(broker, queue, id, now_ns, err);
    *again = status == CRONQ_ESTATE;
    return status;
}

cronq_status cronq_client_cancel_task(cronq_client *client, const char *queue,
                                      const char *id, cronq_cancel_mode mode,
                                      cronq_error *err)
{
    cronq_status status = check_names(client, queue, id, err);
    bool again = true;

    if (status)
        return status;
    for (int i = 0; i < TRIES && again; i++) {
        cronq_error why = { 0 };

        status = cancel_once(client->broker, cq_str_of(queue), cq_str_of(id), mode,
                             &again, &why);
        if (status && !again)
            return cq_fail(err, status, "%s", why.text);
    }
    return again ? being_changed(id, err) : CRONQ_OK;
}

/* ---- another time ---- */

/* The stored message with another payload, in buf. */
static cronq_status rewrite(cq_broker *broker, cq_reschedule *item,
                            const cronq_bytes *payload, cq_arena *arena, cq_buf *buf,
                            cronq_error *err)
{
    cq_message message;
    cq_record record;
    cronq_status status;

    status = broker->inspect->task(broker, item->queue, item->id, arena, &record, err);
    if (!status)
        status = cq_message_decode(record.message, arena, &message, err);
    if (status)
        return status;
    message.payload = *payload;
    status = cq_message_encode(&message, buf, err);
    item->before = record.message;
    item->message = (cronq_bytes){ buf->data, buf->len };
    return status;
}

static cronq_status reschedule_once(cq_broker *broker, cq_reschedule *item,
                                    const cronq_bytes *payload, bool *same,
                                    cronq_error *err)
{
    cronq_status status = CRONQ_OK;
    cq_arena arena;
    cq_buf buf;

    cq_arena_init(&arena, ARENA_BYTES);
    cq_buf_init(&buf, CQ_MESSAGE_LIMIT_BYTES);
    if (payload)
        status = rewrite(broker, item, payload, &arena, &buf, err);
    if (!status)
        status = broker->inspect->reschedule(broker, item, broker->ops->now_ns(broker),
                                             same, err);
    cq_buf_release(&buf);
    cq_arena_release(&arena);
    return status;
}

static cronq_status check_new_payload(const cronq_client *client,
                                      const cronq_bytes *payload, cronq_error *err)
{
    if (!payload)
        return CRONQ_OK;
    if (!payload->data && payload->len)
        return cq_fail(err, CRONQ_EINVAL, "payload.data is NULL but payload.len is %zu",
                       payload->len);
    if (payload->len > client->payload_limit_bytes)
        return cq_fail(err, CRONQ_ETOOBIG, "payload has %zu bytes; at most %zu",
                       payload->len, client->payload_limit_bytes);
    return CRONQ_OK;
}

cronq_status cronq_client_reschedule_task(cronq_client *client, const char *queue,
                                          const char *id, int64_t at_ms,
                                          const cronq_bytes *payload, cronq_error *err)
{
    cq_reschedule item = { .queue = cq_str_of(queue), .id = cq_str_of(id) };
    cronq_status status = check_names(client, queue, id, err);
    bool same = false;

    if (!status && (at_ms < 0 || at_ms > CQ_INSTANT_LIMIT_MS))
        status = cq_fail(err, CRONQ_EINVAL, "at_ms is %lld: not between 0 and %lld",
                         (long long)at_ms, (long long)CQ_INSTANT_LIMIT_MS);
    if (!status)
        status = check_new_payload(client, payload, err);
    if (!status)
        status = client->broker->ops->sync_clock(client->broker, err);
    if (status)
        return status;
    if (at_ms > client->broker->ops->now_ns(client->broker) / CQ_NS_PER_MS)
        item.run_at_ms = at_ms;
    for (int i = 0; i < TRIES && !same && !status; i++)
        status = reschedule_once(client->broker, &item, payload, &same, err);
    if (!status && !same)
        status = being_changed(id, err);
    return status;
}

/* ---- waiting ---- */

static cronq_status tell(const cq_record *record, cq_str queue, cq_arena *arena,
                         cronq_task_info **info, cronq_error *err)
{
    cq_task_facts facts = { .state = record->state,
                            .result = record->result,
                            .failures = record->failures };
    cq_message message = { 0 };
    cronq_status status;

    if (record->state == CRONQ_STATE_ARCHIVED)
        facts.archived_at_ms = record->at_ms;
    else
        facts.kept_until_ms = record->at_ms;
    status = cq_message_decode(record->message, arena, &message, err);
    if (status)
        return status;
    message.id = record->id;
    message.queue = queue;
    return cq_task_info_make(&message, &facts, info, err);
}

/* OK with *info NULL: not yet. */
static cronq_status look(cronq_client *client, const char *queue, const char *id,
                         cronq_task_info **info, cronq_error *err)
{
    cq_broker *broker = client->broker;
    cronq_status status;
    cq_record record;
    cq_arena arena;

    *info = NULL;
    cq_arena_init(&arena, ARENA_BYTES);
    status = broker->inspect->task(broker, cq_str_of(queue), cq_str_of(id), &arena,
                                   &record, err);
    if (!status &&
        (record.state == CRONQ_STATE_ARCHIVED || record.state == CRONQ_STATE_COMPLETED))
        status = tell(&record, cq_str_of(queue), &arena, info, err);
    cq_arena_release(&arena);
    return status;
}

cronq_status cronq_client_wait(cronq_client *client, const char *queue, const char *id,
                               int64_t timeout_ms, cronq_task_info **info,
                               cronq_error *err)
{
    int64_t pause_ms = LOOK_FIRST_MS, until_ms = cq_mono_ms() + timeout_ms, left_ms;
    cronq_status status = check_names(client, queue, id, err);
    cronq_task_info *found = NULL;

    if (!status && timeout_ms < 0)
        status = cq_fail(err, CRONQ_EINVAL, "timeout_ms is %lld, which is negative",
                         (long long)timeout_ms);
    while (!status && !found) {
        status = look(client, queue, id, &found, err);
        left_ms = until_ms - cq_mono_ms();
        if (status || found)
            break;
        if (left_ms <= 0)
            return cq_fail(err, CRONQ_ETIMEDOUT, "the task has not ended after %lld ms",
                           (long long)timeout_ms);
        cq_sleep_ms(pause_ms < left_ms ? pause_ms : left_ms);
        pause_ms = 2 * pause_ms < LOOK_LIMIT_MS ? 2 * pause_ms : LOOK_LIMIT_MS;
    }
    if (!status && info)
        *info = found;
    else
        cronq_task_info_free(found);
    return status;
}
