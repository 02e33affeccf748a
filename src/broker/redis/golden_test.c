/* SPDX-License-Identifier: MIT */
/* broker/redis/golden_test.c - what the reference did to its store, recorded step by step
 * in tests/golden/states.jsonl, done by this broker: the same keyspace after each step,
 * but for the deviations below, which docs/compatibility.md explains.
 *
 * A step that this broker has no operation for (an inspector's, aggregation) is loaded
 * from the recording, and the scenario goes on from there. */
#include "support/golden_keys.h"

#include "base/clock.h"
#include "broker/broker.h"
#include "codec/message.h"
#include "support/golden.h"

#include <fnmatch.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define RUN_LIMIT 64

/* ---- the closed table of deviations ---- */

typedef enum deviation_kind {
    FLOOR,     /* scores are compared by their floor */
    MAY_HAVE,  /* a hash field that only ours has */
    ONLY_OURS, /* a key that only ours has */
    ONLY_REF,  /* a key that only the reference has */
    DIFFERS,   /* a value that differs */
} deviation_kind;

static const struct deviation {
    const char *scenario, *key, *field;
    deviation_kind kind;
    int from_step;
    const char *row; /* of docs/compatibility.md */
} deviations[] = {
    { "*", "asynq:{*}:lease", NULL, FLOOR, 1, "lease" },
    { "*", "asynq:{*}:t:*", "pending_since", MAY_HAVE, 1, "pending_since" },
    { "enqueue_unique", "*:unique:*:795f3202*", NULL, ONLY_REF, 3, "lock-leak" },
    { "dequeue_missing_task_hash", "*:active", NULL, ONLY_REF, 3, "no-hash" },
    { "dequeue_missing_task_hash", "*:lease", NULL, ONLY_REF, 3, "no-hash" },
    { "dequeue_missing_task_hash", "*:t:t1", NULL, ONLY_REF, 3, "no-hash" },
    { "schedule_grouped_forward", "*:groups", NULL, ONLY_OURS, 5, "group-names" },
    { "group", "*:groups", NULL, ONLY_OURS, 18, "group-names" },
    { "group", "*:unique:*", NULL, ONLY_REF, 15, "lock-leak" },
    { "inspect_bulk", "asynq:{default}:*", NULL, ONLY_REF, 31, "removed-queue" },
    { "remove_queue_variants", "asynq:{other}:*", NULL, ONLY_REF, 7, "removed-queue" },
    { "stats_above_2_53", "asynq:{default}:processed", NULL, DIFFERS, 3, "totals" },
};

#define DEVIATIONS (sizeof deviations / sizeof deviations[0])

/* ---- state of a run ---- */

typedef struct taken {
    char queue[64], id[64];
    uint32_t fence;
    int64_t at_ns;
    char unique_key[256];
} taken;

static struct {
    redis_server *server;
    cq_broker *broker;
    bool as_before_7;
    char scenario[64];
    json_t *line, *input, *previous; /* keys recorded before this step */
    int64_t now_ns;
    taken taken[RUN_LIMIT];
    size_t taken_count;
    uint32_t fence;
    size_t run, loaded, looked;
    cq_arena arena;
} t;

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text ? text : "";
}

static int64_t int_of(const json_t *object, const char *name)
{
    return json_integer_value(json_object_get(object, name));
}

static cq_str str_of(const json_t *object, const char *name)
{
    return cq_str_of(text_of(object, name));
}

static bool recorded_error(void)
{
    return json_is_string(json_object_get(t.line, "error"));
}

static json_t *recorded_key(const char *pattern, const char **name)
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

static void expect(bool ok, const char *what)
{
    if (!ok)
        fail_msg("%s, step %lld: %s", t.scenario, (long long)int_of(t.line, "step"),
                 what);
}

/* ---- messages ---- */

static cq_message message_of(const json_t *msg)
{
    size_t len;
    unsigned char *payload = golden_unhex(text_of(msg, "payload"), &len);
    cq_message m = { .type = str_of(msg, "type"),
                     .id = str_of(msg, "id"),
                     .queue = str_of(msg, "queue"),
                     .max_retry = (int32_t)int_of(msg, "retry"),
                     .retried = (int32_t)int_of(msg, "retried"),
                     .error_msg = str_of(msg, "error_msg"),
                     .timeout_s = int_of(msg, "timeout"),
                     .deadline_at_s = int_of(msg, "deadline"),
                     .unique_key = str_of(msg, "unique_key"),
                     .last_failed_at_s = int_of(msg, "last_failed_at"),
                     .retention_s = int_of(msg, "retention"),
                     .completed_at_s = int_of(msg, "completed_at"),
                     .group = str_of(msg, "group_key") };

    if (!json_is_true(json_object_get(msg, "payload_nil")))
        m.payload = (cronq_bytes){ cq_arena_dup(&t.arena, payload, len), len };
    free(payload);
    return m;
}

static cronq_bytes encoded(const cq_message *m)
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
static int64_t duration_s(const char *text)
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
    const char *ttl = text_of(t.input, "ttl");
    bool refused;

    item.queue = m->queue;
    item.id = m->id;
    item.message = encoded(m);
    item.unique_key = m->unique_key;
    item.unique_ttl_s = duration_s(ttl);
    assert_int_equal(t.broker->ops->push(t.broker, &item, 1, t.now_ns, NULL), CRONQ_OK);
    refused = item.status == CRONQ_EEXIST || item.status == CRONQ_EDUP;
    expect(refused == recorded_error() && (refused || !item.status), "push");
}

static void op_enqueue(void)
{
    cq_message m = message_of(json_object_get(t.input, "msg"));

    push_message(&m, (cq_push){ .kind = CQ_PUSH_NOW });
}

static void op_schedule(void)
{
    cq_message m = message_of(json_object_get(t.input, "msg"));

    push_message(&m, (cq_push){ .kind = CQ_PUSH_LATER,
                                .run_at_s = int_of(t.input, "process_at") });
}

static void op_add_to_group(void)
{
    cq_message m = message_of(json_object_get(t.input, "msg"));

    push_message(&m,
                 (cq_push){ .kind = CQ_PUSH_GROUP, .group = str_of(t.input, "group") });
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
                         .id = str_of(one, "id"),
                         .queue = CQ_STR("default"),
                         .max_retry = 3,
                         .timeout_s = 1800 };

        if (*text_of(one, "queue"))
            m.queue = str_of(one, "queue");
        pushes[i] = (cq_push){ .queue = m.queue,
                               .id = m.id,
                               .run_at_s = int_of(one, "process_at"),
                               .message = encoded(&m) };
        pushes[i].kind = pushes[i].run_at_s ? CQ_PUSH_LATER : CQ_PUSH_NOW;
    }
    assert_int_equal(t.broker->ops->push(t.broker, pushes, count, t.now_ns, NULL),
                     CRONQ_OK);
    expect(pushes[0].status == CRONQ_EEXIST, "the first of the batch exists");
    for (i = 1; i < count; i++)
        expect(pushes[i].status == CRONQ_OK, "an item of the batch");
}

static void remember(const cq_delivery *got, cq_str queue)
{
    taken *one = &t.taken[t.taken_count++];
    cq_message m;

    assert_true(t.taken_count < RUN_LIMIT);
    *one = (taken){ .fence = t.fence, .at_ns = t.now_ns };
    snprintf(one->queue, sizeof one->queue, "%.*s", CQ_FMT(queue));
    snprintf(one->id, sizeof one->id, "%.*s", CQ_FMT(got->id));
    assert_int_equal(cq_message_decode(got->message, &t.arena, &m, NULL), CRONQ_OK);
    snprintf(one->unique_key, sizeof one->unique_key, "%.*s", CQ_FMT(m.unique_key));
}

static const taken *latest(const char *id)
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
        expect(false, err.text);
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
    expect((x.delivery_count == 0) == recorded_error(), "something to take");
    if (!x.delivery_count)
        return;
    expect(cq_str_eq(x.deliveries[0].id, str_of(msg, "id")), "the right task");
    remember(&x.deliveries[0], queues[x.deliveries[0].queue]);
}

static void settle(cq_outcome_kind kind, const char *id, const cq_message *m)
{
    const taken *from = latest(id);
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
    outcome.at_s = kind == CQ_RETRY ? int_of(t.input, "process_at")
                                    : t.now_ns / CQ_NS_PER_S + (m ? m->retention_s : 0);
    if (m)
        outcome.message = encoded(m);
    exchange_once(&queue, 1, &x);
    expect(outcome.status == (recorded_error() ? CRONQ_ESTATE : CRONQ_OK), "outcome");
}

static void op_done(void)
{
    settle(CQ_DONE, text_of(t.input, "id"), NULL);
}

static void op_requeue(void)
{
    settle(CQ_GIVE_BACK, text_of(t.input, "id"), NULL);
}

static void op_complete(void)
{
    cq_message m = message_of(json_object_get(t.input, "msg"));

    m.completed_at_s = t.now_ns / CQ_NS_PER_S;
    settle(CQ_COMPLETE, text_of(json_object_get(t.input, "msg"), "id"), &m);
}

static cq_message failed_message(void)
{
    cq_message m = message_of(json_object_get(t.input, "msg"));

    m.error_msg = str_of(t.input, "err");
    m.last_failed_at_s = t.now_ns / CQ_NS_PER_S;
    return m;
}

static void op_retry(void)
{
    cq_message m = failed_message();

    if (json_is_true(json_object_get(t.input, "is_failure")))
        m.retried++;
    settle(CQ_RETRY, text_of(json_object_get(t.input, "msg"), "id"), &m);
}

static void op_archive(void)
{
    cq_message m = failed_message();

    settle(CQ_ARCHIVE, text_of(json_object_get(t.input, "msg"), "id"), &m);
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
        const taken *from = latest(json_string_value(id));

        leases[i] = (cq_lease){ .queue = str_of(t.input, "queue"),
                                .id = cq_str_of(json_string_value(id)),
                                .fence = from ? from->fence : 99 };
    }
    assert_int_equal(t.broker->ops->extend(t.broker, leases, i, t.now_ns, NULL),
                     CRONQ_OK);
    while (i-- > 0)
        expect((leases[i].status == CRONQ_OK) ==
                   (latest(json_string_value(json_array_get(ids, i))) != NULL),
               "extended");
}

/* Ours are over 2 s after their end; the recorded cut-off is the end itself. */
static void op_list_expired(void)
{
    json_t *result = json_object_get(t.line, "result");
    int64_t at_ns = (int_of(t.input, "cutoff") + 2) * CQ_NS_PER_S;
    cq_expired *found;
    size_t count;

    assert_int_equal(t.broker->ops->list_expired(t.broker, CQ_STR("default"), at_ns, 10,
                                                 &t.arena, &found, &count, NULL),
                     CRONQ_OK);
    expect(count == json_array_size(result), "number of expired leases");
    for (size_t i = 0; i < count; i++) {
        expect(cq_str_eq(found[i].id,
                         cq_str_of(json_string_value(json_array_get(result, i)))),
               "expired lease");
        expect(found[i].message.len > 0 && !found[i].started && !found[i].marked,
               "expired task");
    }
}

static void op_write_result(void)
{
    json_t *value = json_object_get(recorded_key("asynq:{default}:t:c1", NULL), "result");
    cronq_bytes bytes;
    char *data = golden_bytes_of(value, &bytes.len);

    bytes.data = data;
    assert_int_equal(t.broker->ops->write_result(
                         t.broker, str_of(t.input, "queue"), str_of(t.input, "id"),
                         latest(text_of(t.input, "id"))->fence, bytes, NULL),
                     CRONQ_OK);
    free(data);
}

static void op_purge(void)
{
    size_t deleted;

    assert_int_equal(t.broker->ops->purge(t.broker, str_of(t.input, "queue"), t.now_ns,
                                          (size_t)int_of(t.input, "batch"), &deleted,
                                          NULL),
                     CRONQ_OK);
    expect(deleted == 1, "purged");
}

static void pause_or_not(bool paused)
{
    cronq_status status = t.broker->inspect->pause(t.broker, str_of(t.input, "queue"),
                                                   paused, t.now_ns, NULL);

    expect(status == (recorded_error() ? CRONQ_ESTATE : CRONQ_OK), "pause");
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
                    .ttl_s = duration_s(text_of(t.input, "ttl")) };
    json_t *workers = recorded_key("asynq:workers:*", NULL), *info;
    cq_beat_worker list[4];
    const char *task;
    char *data;

    if (clear) {
        assert_int_equal(t.broker->ops->beat_clear(t.broker, &one, NULL), CRONQ_OK);
        return;
    }
    data = golden_bytes_of(recorded_key("asynq:servers:*", NULL), &one.info.len);
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

    snprintf(key, sizeof key, "asynq:schedulers:{%s}", text_of(t.input, "scheduler"));
    list = recorded_key(key, NULL);
    count = json_array_size(list);
    for (size_t i = 0; i < count; i++) {
        char *data =
            golden_bytes_of(json_array_get(list, count - 1 - i), &entries[i].len);

        entries[i].data = cq_arena_dup(&t.arena, data, entries[i].len);
        free(data);
    }
    assert_int_equal(t.broker->ops->write_entries(
                         t.broker, str_of(t.input, "scheduler"), entries, count, t.now_ns,
                         duration_s(text_of(t.input, "ttl")), NULL),
                     CRONQ_OK);
}

static void op_clear_entries(void)
{
    assert_int_equal(
        t.broker->ops->clear_entries(t.broker, str_of(t.input, "scheduler"), NULL),
        CRONQ_OK);
}

/* The event is the newest of the recording; it has no step's clock but its own. */
static void op_record_event(void)
{
    json_t *history = recorded_key("asynq:scheduler_history:*", NULL);
    json_t *newest = json_array_get(history, json_array_size(history) - 1);
    int64_t at_s = strtoll(json_string_value(json_array_get(newest, 1)), NULL, 10);
    cronq_bytes event;
    char *data = golden_bytes_of(json_array_get(newest, 0), &event.len);

    event.data = data;
    assert_int_equal(t.broker->ops->record_event(t.broker, str_of(t.input, "entry"),
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

    assert_non_null(recorded_key("asynq:{default}:unique:*", &key));
    redis_server_do(t.server, "SET %s someone-else KEEPTTL", key);
}

/* ---- by hand ---- */

static void act_on_one(cq_action action)
{
    cq_move item = { .id = str_of(t.input, "id") };
    cronq_status status = t.broker->inspect->act(
        t.broker, str_of(t.input, "queue"), action, &item, 1, CQ_NOWHERE, t.now_ns, NULL);

    expect(recorded_error() == (status || item.status), "a task moved by hand");
}

static void op_delete_task(void)
{
    act_on_one(CQ_ACT_DELETE);
}

static void op_run_task(void)
{
    act_on_one(CQ_ACT_RUN);
}

static void op_archive_task(void)
{
    act_on_one(CQ_ACT_ARCHIVE);
}

static void op_update_payload(void)
{
    cq_str queue = str_of(t.input, "queue"), id = str_of(t.input, "id");
    const char *payload = text_of(t.input, "payload");
    cronq_status status;
    cq_record record;
    cq_message m;
    bool same;

    assert_int_equal(
        t.broker->inspect->task(t.broker, queue, id, &t.arena, &record, NULL), CRONQ_OK);
    assert_int_equal(cq_message_decode(record.message, &t.arena, &m, NULL), CRONQ_OK);
    m.payload = (cronq_bytes){ payload, strlen(payload) };
    status = t.broker->inspect->replace(t.broker, queue, id, record.message, encoded(&m),
                                        &same, NULL);
    expect(recorded_error() == (status != CRONQ_OK), "a payload updated");
}

/* "RunAllScheduledTasks": what, and of which state. */
static cronq_state state_in(const char *name)
{
    for (int i = CRONQ_STATE_ACTIVE; i <= CRONQ_STATE_AGGREGATING; i++)
        if (strcasestr(name, cronq_state_name((cronq_state)i)))
            return (cronq_state)i;
    return (cronq_state)0;
}

static size_t sweep(cronq_state state, cq_str group, cq_action action)
{
    size_t seen = 1, done = 0, all = 0;

    while (seen) {
        assert_int_equal(t.broker->inspect->act_all(t.broker, str_of(t.input, "queue"),
                                                    state, group, action, 2, t.now_ns,
                                                    &seen, &done, NULL),
                         CRONQ_OK);
        all += done;
    }
    return all;
}

static void op_act_all(void)
{
    const char *name = text_of(t.line, "op");
    cq_action action = strncmp(name, "Run", 3) == 0      ? CQ_ACT_RUN
                       : strncmp(name, "Delete", 6) == 0 ? CQ_ACT_DELETE
                                                         : CQ_ACT_ARCHIVE;

    expect((int64_t)sweep(state_in(name), str_of(t.input, "group"), action) ==
               int_of(t.line, "result"),
           "the number of tasks moved");
}

/* With force: what it holds first. */
static void op_remove_queue(void)
{
    cq_str queue = str_of(t.input, "queue");
    cronq_status status =
        t.broker->inspect->remove_queue(t.broker, queue, t.now_ns, NULL);
    cq_queue_counts counts = { 0 };

    t.broker->inspect->counts(t.broker, queue, t.now_ns, &counts, NULL);
    if (status == CRONQ_ESTATE && json_is_true(json_object_get(t.input, "force")) &&
        !counts.active) {
        sweep(CRONQ_STATE_PENDING, CQ_STR(""), CQ_ACT_DELETE);
        sweep(CRONQ_STATE_SCHEDULED, CQ_STR(""), CQ_ACT_DELETE);
        sweep(CRONQ_STATE_AGGREGATING, CQ_STR("G"), CQ_ACT_DELETE);
        status = t.broker->inspect->remove_queue(t.broker, queue, t.now_ns, NULL);
    }
    expect(recorded_error() == (status != CRONQ_OK), "a queue removed");
}

/* ---- looking ---- */

static void op_list(void)
{
    json_t *result = json_object_get(t.line, "result"), *one;
    cq_listing listing = { .queue = str_of(t.input, "queue"),
                           .state = state_in(text_of(t.line, "op")),
                           .group = CQ_STR("G"),
                           .limit = (size_t)int_of(t.input, "size") };
    cq_record *found;
    size_t count, i;

    assert_int_equal(
        t.broker->inspect->list(t.broker, &listing, &t.arena, &found, &count, NULL),
        CRONQ_OK);
    expect(count == json_array_size(result), "the number of tasks listed");
    json_array_foreach(result, i, one)
    {
        expect(cq_str_eq(found[i].id, str_of(one, "id")), "a task listed");
        expect(found[i].state == listing.state, "its state");
        if (listing.state == CRONQ_STATE_SCHEDULED)
            expect(found[i].at_s == int_of(one, "next_process_at"), "its time");
    }
}

static void op_task_info(void)
{
    json_t *result = json_object_get(t.line, "result");
    cq_message m = message_of(json_object_get(result, "msg"));
    cronq_bytes message = encoded(&m);
    cq_record found;

    assert_int_equal(t.broker->inspect->task(t.broker, str_of(t.input, "queue"),
                                             str_of(t.input, "id"), &t.arena, &found,
                                             NULL),
                     CRONQ_OK);
    expect(found.message.len == message.len &&
               memcmp(found.message.data, message.data, message.len) == 0,
           "its message");
    expect(found.at_s == int_of(result, "next_process_at"), "its time");
    expect(!found.result.data && found.state == state_in(text_of(result, "state")),
           "its state");
}

static void op_counts(void)
{
    json_t *result = json_object_get(t.line, "result");
    cq_queue_counts counts;

    /* What is recorded with a step is its clock before a pause. */
    assert_int_equal(t.broker->inspect->counts(t.broker, str_of(t.input, "queue"),
                                               t.now_ns + 2500000000, &counts, NULL),
                     CRONQ_OK);
    expect((int64_t)counts.pending == int_of(result, "Pending") &&
               (int64_t)counts.scheduled == int_of(result, "Scheduled") &&
               (int64_t)counts.aggregating == int_of(result, "Aggregating") &&
               (int64_t)counts.groups == int_of(result, "Groups") &&
               counts.latency_ns == int_of(result, "Latency"),
           "the counts");
}

static void op_history(void)
{
    json_t *result = json_object_get(t.line, "result"), *one;
    cq_day days[3];
    size_t i;

    assert_int_equal(t.broker->inspect->history(t.broker, str_of(t.input, "queue"), 3,
                                                t.now_ns, days, NULL),
                     CRONQ_OK);
    json_array_foreach(result, i, one)
        expect((int64_t)days[i].processed == int_of(one, "Processed") &&
                   (int64_t)days[i].failed == int_of(one, "Failed"),
               "a day");
}

static void op_groups(void)
{
    json_t *result = json_object_get(t.line, "result");
    cq_group_count *found;
    size_t count;

    assert_int_equal(t.broker->inspect->groups(t.broker, str_of(t.input, "queue"), 100,
                                               &t.arena, &found, &count, NULL),
                     CRONQ_OK);
    expect(count == json_array_size(result), "the number of groups");
}

/* ---- groups ---- */

static int64_t optional_s(const char *name)
{
    return duration_s(text_of(t.input, name));
}

/* The id of the set is recorded where one was made. */
static void op_check_group(void)
{
    const char *id = json_string_value(json_object_get(t.line, "result"));
    cq_set set = { str_of(t.input, "queue"), str_of(t.input, "group"),
                   cq_str_of(*id ? id : "00000000-0000-4000-8000-0000000000ff") };
    cq_group_rules rules = { optional_s("grace"), optional_s("max_delay"),
                             (size_t)int_of(t.input, "max_size") };
    cq_str *due;
    size_t moved, count, n = 0;

    assert_int_equal(t.broker->ops->due_groups(t.broker, set.queue, &rules, t.now_ns, 9,
                                               &t.arena, &due, &count, NULL),
                     CRONQ_OK);
    for (size_t i = 0; i < count; i++)
        n += cq_str_eq(due[i], set.group);
    expect(n == (*id != '\0'), "whether the group is due");
    assert_int_equal(
        t.broker->ops->take_group(t.broker, &set, &rules, t.now_ns, &moved, NULL),
        CRONQ_OK);
    expect((moved > 0) == (*id != '\0'), "whether a set was made");
}

static cq_set set_of(void)
{
    return (cq_set){ str_of(t.input, "queue"), str_of(t.input, "group"),
                     str_of(t.input, "set") };
}

static void op_read_set(void)
{
    json_t *ids = json_object_get(json_object_get(t.line, "result"), "ids"), *id;
    cq_set set = set_of();
    cq_record *found;
    size_t count, i;

    assert_int_equal(
        t.broker->ops->read_set(t.broker, &set, &t.arena, &found, &count, NULL),
        CRONQ_OK);
    expect(count == json_array_size(ids), "the size of the set");
    json_array_foreach(ids, i, id)
        expect(cq_str_eq(found[i].id, cq_str_of(json_string_value(id))), "a task of it");
}

static void op_delete_set(void)
{
    cq_set set = set_of();
    cronq_bytes none = { NULL, 0 };

    assert_int_equal(
        t.broker->ops->finish_set(t.broker, &set, none, NULL, 0, t.now_ns, NULL),
        CRONQ_OK);
    assert_int_equal(
        t.broker->ops->finish_set(t.broker, &set, none, NULL, 0, t.now_ns, NULL),
        CRONQ_ESTATE);
}

static void op_reclaim(void)
{
    size_t reclaimed;

    assert_int_equal(t.broker->ops->reclaim_sets(t.broker, str_of(t.input, "queue"),
                                                 t.now_ns, 10, &reclaimed, NULL),
                     CRONQ_OK);
}

static const struct operation {
    const char *name;
    void (*run)(void);
} operations[] = {
    { "AddToGroup", op_add_to_group },
    { "AddToGroupUnique", op_add_to_group },
    { "AggregationCheck", op_check_group },
    { "Archive", op_archive },
    { "ArchiveAllAggregatingTasks", op_act_all },
    { "ArchiveAllPendingTasks", op_act_all },
    { "ArchiveAllScheduledTasks", op_act_all },
    { "ArchiveTask", op_archive_task },
    { "BatchEnqueue", op_batch_enqueue },
    { "ClearSchedulerEntries", op_clear_entries },
    { "ClearServerState", op_beat_clear },
    { "CurrentStats", op_counts },
    { "DeleteAggregationSet", op_delete_set },
    { "DeleteAllAggregatingTasks", op_act_all },
    { "DeleteAllArchivedTasks", op_act_all },
    { "DeleteAllPendingTasks", op_act_all },
    { "DeleteAllScheduledTasks", op_act_all },
    { "DeleteExpiredCompletedTasks", op_purge },
    { "DeleteTask", op_delete_task },
    { "Dequeue", op_dequeue },
    { "Done", op_done },
    { "Enqueue", op_enqueue },
    { "EnqueueUnique", op_enqueue },
    { "ExtendLease", op_extend },
    { "ForwardIfReady", op_forward },
    { "GetTaskInfo", op_task_info },
    { "GroupStats", op_groups },
    { "HistoricalStats", op_history },
    { "ListActive", op_list },
    { "ListAggregating", op_list },
    { "ListArchived", op_list },
    { "ListCompleted", op_list },
    { "ListGroups", op_groups },
    { "ListLeaseExpired", op_list_expired },
    { "ListPending", op_list },
    { "ListRetry", op_list },
    { "ListScheduled", op_list },
    { "MarkAsComplete", op_complete },
    { "Pause", op_pause },
    { "ReadAggregationSet", op_read_set },
    { "ReclaimStaleAggregationSets", op_reclaim },
    { "RecordSchedulerEnqueueEvent", op_record_event },
    { "RemoveQueue", op_remove_queue },
    { "Requeue", op_requeue },
    { "Retry", op_retry },
    { "RunAllAggregatingTasks", op_act_all },
    { "RunAllArchivedTasks", op_act_all },
    { "RunAllScheduledTasks", op_act_all },
    { "RunTask", op_run_task },
    { "Schedule", op_schedule },
    { "ScheduleUnique", op_schedule },
    { "Unpause", op_unpause },
    { "UpdateTaskPayload", op_update_payload },
    { "WriteResult", op_write_result },
    { "WriteSchedulerEntries", op_write_entries },
    { "WriteServerState", op_beat },
    { "raw DEL task key", op_del_task },
    { "raw SET unique key to another id", op_take_lock },
};

/* ---- comparing ---- */

static const struct deviation *deviation_of(const char *key, deviation_kind kind,
                                            const char *field)
{
    for (size_t i = 0; i < DEVIATIONS; i++) {
        const struct deviation *d = &deviations[i];

        if (d->kind == kind && int_of(t.line, "step") >= d->from_step &&
            fnmatch(d->scenario, t.scenario, 0) == 0 && fnmatch(d->key, key, 0) == 0 &&
            (!field || (d->field && strcmp(d->field, field) == 0)))
            return d;
    }
    return NULL;
}

static json_t *floored(json_t *zset)
{
    json_t *out = json_array(), *pair;
    char text[40];
    size_t i;

    json_array_foreach(zset, i, pair)
    {
        snprintf(text, sizeof text, "%.0f",
                 floor(strtod(json_string_value(json_array_get(pair, 1)), NULL)));
        json_array_append_new(out, json_pack("[Os]", json_array_get(pair, 0), text));
    }
    return out;
}

/* Fields that only ours may have: pending_since while the state is active or pending. */
static void forgive_fields(const char *key, const json_t *theirs, json_t *ours)
{
    const char *state = text_of(ours, "state");

    if (deviation_of(key, MAY_HAVE, "pending_since") &&
        !json_object_get(theirs, "pending_since") &&
        (strcmp(state, "active") == 0 || strcmp(state, "pending") == 0))
        json_object_del(ours, "pending_since");
}

static bool same_value(const char *key, json_t *theirs, json_t *ours)
{
    json_t *a, *b;
    bool same;

    if (deviation_of(key, DIFFERS, NULL))
        return !json_equal(theirs, ours); /* else the row is out of date */
    if (json_is_object(ours) && json_is_object(theirs))
        forgive_fields(key, theirs, ours);
    if (!deviation_of(key, FLOOR, NULL))
        return json_equal(theirs, ours);
    a = floored(theirs);
    b = floored(ours);
    same = json_equal(a, b);
    json_decref(a);
    json_decref(b);
    return same;
}

static bool same_life(const json_t *theirs, const json_t *ours)
{
    int64_t ttl = int_of(theirs, "ttl"), mine = int_of(ours, "ttl");

    if (json_object_get(theirs, "expireat"))
        return int_of(theirs, "expireat") == int_of(ours, "expireat");
    return ttl < 0 ? mine == ttl : mine == ttl || mine == ttl - 1;
}

static void complain(const char *what, const char *key, const json_t *theirs,
                     const json_t *ours)
{
    char *a = theirs ? json_dumps(theirs, JSON_ENCODE_ANY) : NULL;
    char *b = ours ? json_dumps(ours, JSON_ENCODE_ANY) : NULL;

    fail_msg("%s, step %lld (%s): %s: %s\n  recorded %s\n  ours     %s", t.scenario,
             (long long)int_of(t.line, "step"), text_of(t.line, "op"), key, what,
             a ? a : "-", b ? b : "-");
}

static void compare(json_t *theirs, json_t *ours)
{
    const char *key;
    json_t *entry, *mine;

    json_object_foreach(theirs, key, entry)
    {
        mine = json_object_get(ours, key);
        if (deviation_of(key, ONLY_REF, NULL)) {
            if (mine)
                complain("is not to be there", key, entry, mine);
        } else if (!mine) {
            complain("is missing", key, entry, mine);
        } else if (!same_value(key, json_object_get(entry, "value"),
                               json_object_get(mine, "value")) ||
                   strcmp(text_of(entry, "type"), text_of(mine, "type")) != 0) {
            complain("differs", key, entry, mine);
        } else if (!same_life(entry, mine)) {
            complain("lives on another time", key, entry, mine);
        }
    }
    json_object_foreach(ours, key, mine) if (!json_object_get(theirs, key) &&
                                             !deviation_of(key, ONLY_OURS, NULL))
        complain("is too much", key, NULL, mine);
}

/* ---- driving ---- */

/* A lease that we gave keeps its fence when its recorded end is loaded. */
static double with_fence(const char *key, const char *member, double score)
{
    const taken *from = latest(member);

    (void)key;
    return from ? score + (double)from->fence / CQ_FENCE_LIMIT : score;
}

static void open_broker(void)
{
    cq_broker_options options = { .uri = redis_server_uri(t.server),
                                  .as_before_7 = t.as_before_7 };
    cronq_error err = { 0 };

    if (t.broker)
        t.broker->ops->free(t.broker);
    if (cq_broker_open(&options, &t.broker, &err))
        fail_msg("cq_broker_open: %s", err.text);
}

static void begin_scenario(const char *name)
{
    snprintf(t.scenario, sizeof t.scenario, "%s", name);
    redis_server_do(t.server, "FLUSHALL");
    open_broker(); /* it has told nobody yet which queues there are */
    t.taken_count = 0;
    json_decref(t.previous);
    t.previous = json_object();
}

/* Counters that were set by hand before a step. */
static void preset(const char *name)
{
    char key[64];
    json_t *value;

    snprintf(key, sizeof key, "asynq:{default}:%s", name);
    value = recorded_key(key, NULL);
    if (fnmatch("stats_*", t.scenario, 0) == 0 && value &&
        strlen(json_string_value(value)) > 1)
        redis_server_do(t.server, "SET %s %s", key, json_string_value(value));
    else if (fnmatch("stats_wrap*", t.scenario, 0) == 0 && int_of(t.line, "step") == 1)
        redis_server_do(t.server, "SET %s %s", key, "5");
}

static const struct operation *operation_of(const char *name)
{
    for (size_t i = 0; i < sizeof operations / sizeof operations[0]; i++)
        if (strcmp(operations[i].name, name) == 0)
            return &operations[i];
    return NULL;
}

/* The reference failed in the middle of this step: a whole TTL is all we know. */
static bool is_half_done(void)
{
    return strcmp(t.scenario, "scheduler") == 0 && recorded_error();
}

static void run_step(json_t *line, size_t number)
{
    json_t *keys = json_object_get(line, "keys"), *ours;
    const struct operation *operation;
    const char *scenario = text_of(line, "scenario");

    (void)number;
    if (strcmp(scenario, "client_defaults") == 0)
        return; /* the client's test */
    if (strcmp(t.scenario, scenario) != 0)
        begin_scenario(scenario);
    t.line = line;
    t.input = json_object_get(line, "input");
    t.now_ns = strtoll(text_of(line, "clock_nanos"), NULL, 10);
    cq_arena_reset(&t.arena);
    operation = operation_of(text_of(line, "op"));
    if (operation && !is_half_done()) {
        preset("processed");
        preset("failed");
        operation->run();
        t.run++;
        ours = golden_keys_dump(t.server);
        compare(keys, ours);
        json_decref(ours);
    } else if (json_equal(keys, t.previous)) {
        t.looked++;
    } else {
        golden_keys_load(t.server, keys, with_fence);
        t.loaded++;
    }
    json_decref(t.previous);
    t.previous = json_deep_copy(keys);
}

static void run_all(bool as_before_7)
{
    t.as_before_7 = as_before_7;
    t.run = t.loaded = t.looked = 0;
    t.scenario[0] = '\0';
    golden_each("states.jsonl", run_step);
    print_message("states: %zu steps run, %zu loaded, %zu only looked\n", t.run, t.loaded,
                  t.looked);
    assert_in_range(t.run, 100, 1000);
    json_decref(t.previous);
    t.previous = NULL;
    t.broker->ops->free(t.broker);
    t.broker = NULL;
}

static void the_keyspace_is_the_recorded_one(void **state)
{
    (void)state;
    run_all(false);
}

static void the_keyspace_is_the_recorded_one_before_7(void **state)
{
    (void)state;
    run_all(true);
}

static int start_server(void **state)
{
    (void)state;
    t.server = redis_server_start(NULL);
    cq_arena_init(&t.arena, 1 << 26);
    return 0;
}

static int stop_server(void **state)
{
    (void)state;
    redis_server_stop(t.server);
    cq_arena_release(&t.arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_keyspace_is_the_recorded_one),
        cmocka_unit_test(the_keyspace_is_the_recorded_one_before_7),
    };

    return cmocka_run_group_tests(tests, start_server, stop_server);
}
