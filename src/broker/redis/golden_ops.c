/* SPDX-License-Identifier: MIT */
/* broker/redis/golden_ops.c - what clients, workers and schedulers did in the recording.
 */
#include "broker/redis/golden_run.h"

#include "base/clock.h"
#include "support/golden.h"

#include <fnmatch.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

golden_run t;

const char *golden_text(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text ? text : "";
}

int64_t golden_int(const json_t *object, const char *name)
{
    return json_integer_value(json_object_get(object, name));
}

cq_str golden_str(const json_t *object, const char *name)
{
    return cq_str_of(golden_text(object, name));
}

bool golden_failed(void)
{
    return json_is_string(json_object_get(t.line, "error"));
}

json_t *golden_value(const char *pattern, const char **name)
{
    json_t *keys = json_object_get(t.line, "keys"), *entry;
    const char *key;

    json_object_foreach(keys, key, entry)
    {
        if (fnmatch(pattern, key, 0) != 0)
            continue;
        if (name)
            *name = key;
        return json_object_get(entry, "value");
    }
    return NULL;
}

void golden_expect(bool ok, const char *what)
{
    if (!ok)
        fail_msg("%s, step %lld: %s", t.scenario, (long long)golden_int(t.line, "step"),
                 what);
}

/* ---- messages ---- */

cq_message golden_message(const json_t *msg)
{
    size_t len;
    unsigned char *payload = golden_unhex(golden_text(msg, "payload"), &len);
    cq_message m = { .type = golden_str(msg, "type"),
                     .id = golden_str(msg, "id"),
                     .queue = golden_str(msg, "queue"),
                     .max_retry = (int32_t)golden_int(msg, "retry"),
                     .retried = (int32_t)golden_int(msg, "retried"),
                     .error_msg = golden_str(msg, "error_msg"),
                     .timeout_s = golden_int(msg, "timeout"),
                     .deadline_at_s = golden_int(msg, "deadline"),
                     .unique_key = golden_str(msg, "unique_key"),
                     .last_failed_at_s = golden_int(msg, "last_failed_at"),
                     .retention_s = golden_int(msg, "retention"),
                     .completed_at_s = golden_int(msg, "completed_at"),
                     .group = golden_str(msg, "group_key") };

    if (!json_is_true(json_object_get(msg, "payload_nil")))
        m.payload = (cronq_bytes){ cq_arena_dup(&t.arena, payload, len), len };
    free(payload);
    return m;
}

cronq_bytes golden_encoded(const cq_message *m)
{
    cronq_bytes out;
    cq_buf buf;

    cq_buf_init(&buf, 1 << 20);
    assert_int_equal(cq_message_encode(m, &buf, NULL), CRONQ_OK);
    out = (cronq_bytes){ cq_arena_dup(&t.arena, buf.data, buf.len), buf.len };
    cq_buf_release(&buf);
    return out;
}

/* Seconds of "1m30s", "105s", "1.999s", rounded up. */
int64_t golden_seconds(const char *text)
{
    double total = 0, value;
    char *end;

    for (; *text; text = end + 1) {
        value = strtod(text, &end);
        total += value * (*end == 'h' ? 3600 : *end == 'm' ? 60 : 1);
    }
    return (int64_t)ceil(total);
}

/* ---- operations ---- */

static void push_message(const cq_message *m, cq_push item)
{
    const char *ttl = golden_text(t.input, "ttl");
    bool refused;

    item.queue = m->queue;
    item.id = m->id;
    item.message = golden_encoded(m);
    item.unique_key = m->unique_key;
    item.unique_ttl_s = golden_seconds(ttl);
    assert_int_equal(t.broker->ops->push(t.broker, &item, 1, t.now_ns, NULL), CRONQ_OK);
    refused = item.status == CRONQ_EEXIST || item.status == CRONQ_EDUP;
    golden_expect(refused == golden_failed() && (refused || !item.status), "push");
}

static void op_enqueue(void)
{
    cq_message m = golden_message(json_object_get(t.input, "msg"));

    push_message(&m, (cq_push){ .kind = CQ_PUSH_NOW });
}

static void op_schedule(void)
{
    cq_message m = golden_message(json_object_get(t.input, "msg"));

    push_message(
        &m, (cq_push){ .kind = CQ_PUSH_LATER,
                       .run_at_ms = golden_int(t.input, "process_at") * CQ_MS_PER_S });
}

static void op_add_to_group(void)
{
    cq_message m = golden_message(json_object_get(t.input, "msg"));

    push_message(
        &m, (cq_push){ .kind = CQ_PUSH_GROUP, .group = golden_str(t.input, "group") });
}

/* The recorded items are named only; the rest is as everywhere. */
static void op_batch_enqueue(void)
{
    json_t *items = json_object_get(t.input, "items"), *one;
    cq_push pushes[8] = { { .kind = CQ_PUSH_NOW } };
    size_t i, count = json_array_size(items);

    json_array_foreach(items, i, one)
    {
        cq_message m = { .type = CQ_STR("email:send"),
                         .payload = CRONQ_LIT("{\"n\":1}"),
                         .id = golden_str(one, "id"),
                         .queue = CQ_STR("default"),
                         .max_retry = 3,
                         .timeout_s = 1800 };

        if (*golden_text(one, "queue"))
            m.queue = golden_str(one, "queue");
        pushes[i] = (cq_push){ .queue = m.queue,
                               .id = m.id,
                               .run_at_ms = golden_int(one, "process_at") * CQ_MS_PER_S,
                               .message = golden_encoded(&m) };
        pushes[i].kind = pushes[i].run_at_ms ? CQ_PUSH_LATER : CQ_PUSH_NOW;
    }
    assert_int_equal(t.broker->ops->push(t.broker, pushes, count, t.now_ns, NULL),
                     CRONQ_OK);
    golden_expect(pushes[0].status == CRONQ_EEXIST, "the first of the batch exists");
    for (i = 1; i < count; i++)
        golden_expect(pushes[i].status == CRONQ_OK, "an item of the batch");
}

static void remember(const cq_delivery *got, cq_str queue)
{
    golden_taken *one = &t.taken[t.taken_count++];
    cq_message m;

    assert_true(t.taken_count < GOLDEN_TAKEN_LIMIT);
    *one = (golden_taken){ .fence = t.fence, .at_ns = t.now_ns };
    snprintf(one->queue, sizeof one->queue, "%.*s", CQ_FMT(queue));
    snprintf(one->id, sizeof one->id, "%.*s", CQ_FMT(got->id));
    assert_int_equal(cq_message_decode(got->message, &t.arena, &m, NULL), CRONQ_OK);
    snprintf(one->unique_key, sizeof one->unique_key, "%.*s", CQ_FMT(m.unique_key));
}

const golden_taken *golden_latest(const char *id)
{
    for (size_t i = t.taken_count; i-- > 0;)
        if (strcmp(t.taken[i].id, id) == 0)
            return &t.taken[i];
    return NULL;
}

/* An intake of these queues, one exchange, and the end of it. */
static void exchange_once(const cq_str *queues, size_t count, cq_exchange *x)
{
    cq_intake *intake;
    cronq_error err = { 0 };

    x->arena = &t.arena;
    x->now_ns = t.now_ns;
    assert_int_equal(t.broker->ops->intake_open(t.broker, queues, count, &intake, &err),
                     CRONQ_OK);
    if (intake->ops->exchange_send(intake, x, &err) ||
        intake->ops->exchange_recv(intake, x, &err))
        golden_expect(false, err.text);
    intake->ops->intake_close(intake);
}

static void op_dequeue(void)
{
    json_t *names = json_object_get(t.input, "queues"), *name;
    json_t *msg = json_object_get(json_object_get(t.line, "result"), "msg");
    cq_str queues[8];
    cq_want wants[8];
    cq_exchange x = { .fence = ++t.fence, .wants = wants, .budget = 1 };
    size_t i;

    json_array_foreach(names, i, name)
    {
        queues[i] = cq_str_of(json_string_value(name));
        wants[i] = (cq_want){ .queue = (uint32_t)i };
    }
    x.want_count = i;
    exchange_once(queues, i, &x);
    golden_expect((x.delivery_count == 0) == golden_failed(), "something to take");
    if (!x.delivery_count)
        return;
    golden_expect(cq_str_eq(x.deliveries[0].id, golden_str(msg, "id")), "the right task");
    remember(&x.deliveries[0], queues[x.deliveries[0].queue]);
}

static void settle(cq_outcome_kind kind, const char *id, const cq_message *m)
{
    const golden_taken *from = golden_latest(id);
    cq_outcome outcome = { .kind = kind };
    cq_str queue;
    cq_exchange x = { .outcomes = &outcome, .outcome_count = 1 };

    assert_non_null(from);
    queue = cq_str_of(from->queue);
    outcome.fence = from->fence;
    outcome.taken_at_ns = from->at_ns;
    outcome.id = cq_str_of(id);
    outcome.unique_key = cq_str_of(from->unique_key);
    outcome.failure = json_is_true(json_object_get(t.input, "is_failure"));
    outcome.at_ms = kind == CQ_RETRY ? golden_int(t.input, "process_at")
                                     : t.now_ns / CQ_NS_PER_S + (m ? m->retention_s : 0);
    outcome.at_ms *= CQ_MS_PER_S;
    if (m)
        outcome.message = golden_encoded(m);
    exchange_once(&queue, 1, &x);
    golden_expect(outcome.status == (golden_failed() ? CRONQ_ESTATE : CRONQ_OK),
                  "outcome");
}

static void op_done(void)
{
    settle(CQ_DONE, golden_text(t.input, "id"), NULL);
}

static void op_requeue(void)
{
    settle(CQ_GIVE_BACK, golden_text(t.input, "id"), NULL);
}

static void op_complete(void)
{
    cq_message m = golden_message(json_object_get(t.input, "msg"));

    m.completed_at_s = t.now_ns / CQ_NS_PER_S;
    settle(CQ_COMPLETE, golden_text(json_object_get(t.input, "msg"), "id"), &m);
}

static cq_message failed_message(void)
{
    cq_message m = golden_message(json_object_get(t.input, "msg"));

    m.error_msg = golden_str(t.input, "err");
    m.last_failed_at_s = t.now_ns / CQ_NS_PER_S;
    return m;
}

static void op_retry(void)
{
    cq_message m = failed_message();

    if (json_is_true(json_object_get(t.input, "is_failure")))
        m.retried++;
    settle(CQ_RETRY, golden_text(json_object_get(t.input, "msg"), "id"), &m);
}

static void op_archive(void)
{
    cq_message m = failed_message();

    settle(CQ_ARCHIVE, golden_text(json_object_get(t.input, "msg"), "id"), &m);
}

static void op_forward(void)
{
    json_t *names = json_object_get(t.input, "queues"), *name;
    size_t i, moved;

    json_array_foreach(names, i, name) assert_int_equal(
        t.broker->ops->forward(t.broker, cq_str_of(json_string_value(name)), t.now_ns,
                               100, &moved, NULL),
        CRONQ_OK);
}

static void op_extend(void)
{
    json_t *ids = json_object_get(t.input, "ids"), *id;
    cq_lease leases[8] = { { .fence = 0 } };
    size_t i;

    json_array_foreach(ids, i, id)
    {
        const golden_taken *from = golden_latest(json_string_value(id));

        leases[i] = (cq_lease){ .queue = golden_str(t.input, "queue"),
                                .id = cq_str_of(json_string_value(id)),
                                .fence = from ? from->fence : 99 };
    }
    assert_int_equal(t.broker->ops->extend(t.broker, leases, i, t.now_ns, NULL),
                     CRONQ_OK);
    while (i-- > 0)
        golden_expect(
            (leases[i].status == CRONQ_OK) ==
                (golden_latest(json_string_value(json_array_get(ids, i))) != NULL),
            "extended");
}

/* Ours are over 2 s after their end; the recorded cut-off is the end itself. */
static void op_list_expired(void)
{
    json_t *result = json_object_get(t.line, "result");
    int64_t at_ns = (golden_int(t.input, "cutoff") + 2) * CQ_NS_PER_S;
    cq_expired *found;
    size_t count;

    assert_int_equal(t.broker->ops->list_expired(t.broker, CQ_STR("default"), at_ns, 10,
                                                 &t.arena, &found, &count, NULL),
                     CRONQ_OK);
    golden_expect(count == json_array_size(result), "number of expired leases");
    for (size_t i = 0; i < count; i++) {
        golden_expect(cq_str_eq(found[i].id,
                                cq_str_of(json_string_value(json_array_get(result, i)))),
                      "expired lease");
        golden_expect(found[i].message.len > 0 && !found[i].started && !found[i].marked,
                      "expired task");
    }
}

static void op_write_result(void)
{
    json_t *value = json_object_get(golden_value("asynq:{default}:t:c1", NULL), "result");
    cronq_bytes bytes;
    char *data = golden_bytes_of(value, &bytes.len);

    bytes.data = data;
    assert_int_equal(t.broker->ops->write_result(
                         t.broker, golden_str(t.input, "queue"),
                         golden_str(t.input, "id"),
                         golden_latest(golden_text(t.input, "id"))->fence, bytes, NULL),
                     CRONQ_OK);
    free(data);
}

static void op_purge(void)
{
    size_t deleted;

    assert_int_equal(t.broker->ops->purge(t.broker, golden_str(t.input, "queue"),
                                          t.now_ns, (size_t)golden_int(t.input, "batch"),
                                          &deleted, NULL),
                     CRONQ_OK);
    golden_expect(deleted == 1, "purged");
}

static void pause_or_not(bool paused)
{
    cronq_status status = t.broker->inspect->pause(t.broker, golden_str(t.input, "queue"),
                                                   paused, t.now_ns, NULL);

    golden_expect(status == (golden_failed() ? CRONQ_ESTATE : CRONQ_OK), "pause");
}

static void op_pause(void)
{
    pause_or_not(true);
}

static void op_unpause(void)
{
    pause_or_not(false);
}

/* Server, pid and what they tell are those of the recording. */
static void beat(bool clear)
{
    static const char id[] = "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee";
    cq_beat one = { .host = CQ_STR("host-1"),
                    .pid = 4242,
                    .server_id = cq_str_of(id),
                    .now_ns = t.now_ns,
                    .ttl_s = golden_seconds(golden_text(t.input, "ttl")) };
    json_t *workers = golden_value("asynq:workers:*", NULL), *info;
    cq_beat_worker list[4];
    const char *task;
    char *data;

    if (clear) {
        assert_int_equal(t.broker->ops->beat_clear(t.broker, &one, NULL), CRONQ_OK);
        return;
    }
    data = golden_bytes_of(golden_value("asynq:servers:*", NULL), &one.info.len);
    one.info.data = cq_arena_dup(&t.arena, data, one.info.len);
    free(data);
    json_object_foreach(workers, task, info)
    {
        cq_beat_worker *worker = &list[one.worker_count++];

        data = golden_bytes_of(info, &worker->info.len);
        worker->info.data = cq_arena_dup(&t.arena, data, worker->info.len);
        worker->task_id = cq_str_of(task);
        free(data);
    }
    one.workers = list;
    assert_int_equal(t.broker->ops->beat(t.broker, &one, NULL), CRONQ_OK);
}

static void op_beat(void)
{
    beat(false);
}

static void op_beat_clear(void)
{
    beat(true);
}

/* The entries are in the recording, last first. */
static void op_write_entries(void)
{
    char key[128];
    cronq_bytes entries[8];
    json_t *list;
    size_t count;

    snprintf(key, sizeof key, "asynq:schedulers:{%s}", golden_text(t.input, "scheduler"));
    list = golden_value(key, NULL);
    count = json_array_size(list);
    for (size_t i = 0; i < count; i++) {
        char *data =
            golden_bytes_of(json_array_get(list, count - 1 - i), &entries[i].len);

        entries[i].data = cq_arena_dup(&t.arena, data, entries[i].len);
        free(data);
    }
    assert_int_equal(t.broker->ops->write_entries(
                         t.broker, golden_str(t.input, "scheduler"), entries, count,
                         t.now_ns, golden_seconds(golden_text(t.input, "ttl")), NULL),
                     CRONQ_OK);
}

static void op_clear_entries(void)
{
    assert_int_equal(
        t.broker->ops->clear_entries(t.broker, golden_str(t.input, "scheduler"), NULL),
        CRONQ_OK);
}

/* The event is the newest of the recording; it has no step's clock but its own. */
static void op_record_event(void)
{
    json_t *history = golden_value("asynq:scheduler_history:*", NULL);
    json_t *newest = json_array_get(history, json_array_size(history) - 1);
    int64_t at_s = strtoll(json_string_value(json_array_get(newest, 1)), NULL, 10);
    cronq_bytes event;
    char *data = golden_bytes_of(json_array_get(newest, 0), &event.len);

    event.data = data;
    assert_int_equal(t.broker->ops->record_event(t.broker, golden_str(t.input, "entry"),
                                                 event, at_s * CQ_NS_PER_S, NULL),
                     CRONQ_OK);
    free(data);
}

static void op_del_task(void)
{
    redis_server_do(t.server, "DEL asynq:{default}:t:t1");
}

static void op_take_lock(void)
{
    const char *key = NULL;

    assert_non_null(golden_value("asynq:{default}:unique:*", &key));
    redis_server_do(t.server, "SET %s someone-else KEEPTTL", key);
}

const golden_operation golden_worker_operations[] = {
    { "AddToGroup", op_add_to_group },
    { "AddToGroupUnique", op_add_to_group },
    { "Archive", op_archive },
    { "BatchEnqueue", op_batch_enqueue },
    { "ClearSchedulerEntries", op_clear_entries },
    { "ClearServerState", op_beat_clear },
    { "DeleteExpiredCompletedTasks", op_purge },
    { "Dequeue", op_dequeue },
    { "Done", op_done },
    { "Enqueue", op_enqueue },
    { "EnqueueUnique", op_enqueue },
    { "ExtendLease", op_extend },
    { "ForwardIfReady", op_forward },
    { "ListLeaseExpired", op_list_expired },
    { "MarkAsComplete", op_complete },
    { "Pause", op_pause },
    { "RecordSchedulerEnqueueEvent", op_record_event },
    { "Requeue", op_requeue },
    { "Retry", op_retry },
    { "Schedule", op_schedule },
    { "ScheduleUnique", op_schedule },
    { "Unpause", op_unpause },
    { "WriteResult", op_write_result },
    { "WriteSchedulerEntries", op_write_entries },
    { "WriteServerState", op_beat },
    { "raw DEL task key", op_del_task },
    { "raw SET unique key to another id", op_take_lock },
    { NULL, NULL },
};
