/* SPDX-License-Identifier: MIT */
/* broker/redis/golden_hand.c - what the inspector did in the recording, and what became
 * of groups. */
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

/* ---- by hand ---- */

static void act_on_one(cq_action action)
{
    cq_move item = { .id = golden_str(t.input, "id") };
    cronq_status status =
        t.broker->inspect->act(t.broker, golden_str(t.input, "queue"), action, &item, 1,
                               CQ_NOWHERE, t.now_ns, NULL);

    golden_expect(golden_failed() == (status || item.status), "a task moved by hand");
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
    cq_str queue = golden_str(t.input, "queue"), id = golden_str(t.input, "id");
    const char *payload = golden_text(t.input, "payload");
    cronq_status status;
    cq_record record;
    cq_message m;
    bool same;

    assert_int_equal(
        t.broker->inspect->task(t.broker, queue, id, &t.arena, &record, NULL), CRONQ_OK);
    assert_int_equal(cq_message_decode(record.message, &t.arena, &m, NULL), CRONQ_OK);
    m.payload = (cronq_bytes){ payload, strlen(payload) };
    status = t.broker->inspect->replace(t.broker, queue, id, record.message,
                                        golden_encoded(&m), &same, NULL);
    golden_expect(golden_failed() == (status != CRONQ_OK), "a payload updated");
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
        assert_int_equal(
            t.broker->inspect->act_all(t.broker, golden_str(t.input, "queue"), state,
                                       group, action, 2, t.now_ns, &seen, &done, NULL),
            CRONQ_OK);
        all += done;
    }
    return all;
}

static void op_act_all(void)
{
    const char *name = golden_text(t.line, "op");
    cq_action action = strncmp(name, "Run", 3) == 0      ? CQ_ACT_RUN
                       : strncmp(name, "Delete", 6) == 0 ? CQ_ACT_DELETE
                                                         : CQ_ACT_ARCHIVE;

    golden_expect((int64_t)sweep(state_in(name), golden_str(t.input, "group"), action) ==
                      golden_int(t.line, "result"),
                  "the number of tasks moved");
}

/* With force: what it holds first. */
static void op_remove_queue(void)
{
    cq_str queue = golden_str(t.input, "queue");
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
    golden_expect(golden_failed() == (status != CRONQ_OK), "a queue removed");
}

/* ---- looking ---- */

static void op_list(void)
{
    json_t *result = json_object_get(t.line, "result"), *one;
    cq_listing listing = { .queue = golden_str(t.input, "queue"),
                           .state = state_in(golden_text(t.line, "op")),
                           .group = CQ_STR("G"),
                           .limit = (size_t)golden_int(t.input, "size") };
    cq_record *found;
    size_t count, i;

    assert_int_equal(
        t.broker->inspect->list(t.broker, &listing, &t.arena, &found, &count, NULL),
        CRONQ_OK);
    golden_expect(count == json_array_size(result), "the number of tasks listed");
    json_array_foreach(result, i, one)
    {
        golden_expect(cq_str_eq(found[i].id, golden_str(one, "id")), "a task listed");
        golden_expect(found[i].state == listing.state, "its state");
        if (listing.state == CRONQ_STATE_SCHEDULED)
            golden_expect(found[i].at_ms / CQ_MS_PER_S ==
                              golden_int(one, "next_process_at"),
                          "its time");
    }
}

static void op_task_info(void)
{
    json_t *result = json_object_get(t.line, "result");
    cq_message m = golden_message(json_object_get(result, "msg"));
    cronq_bytes message = golden_encoded(&m);
    cq_record found;

    assert_int_equal(t.broker->inspect->task(t.broker, golden_str(t.input, "queue"),
                                             golden_str(t.input, "id"), &t.arena, &found,
                                             NULL),
                     CRONQ_OK);
    golden_expect(found.message.len == message.len &&
                      memcmp(found.message.data, message.data, message.len) == 0,
                  "its message");
    golden_expect(found.at_ms / CQ_MS_PER_S == golden_int(result, "next_process_at"),
                  "its time");
    golden_expect(!found.result.data &&
                      found.state == state_in(golden_text(result, "state")),
                  "its state");
}

static void op_counts(void)
{
    json_t *result = json_object_get(t.line, "result");
    cq_queue_counts counts;

    /* What is recorded with a step is its clock before a pause. */
    assert_int_equal(t.broker->inspect->counts(t.broker, golden_str(t.input, "queue"),
                                               t.now_ns + 2500000000, &counts, NULL),
                     CRONQ_OK);
    golden_expect((int64_t)counts.pending == golden_int(result, "Pending") &&
                      (int64_t)counts.scheduled == golden_int(result, "Scheduled") &&
                      (int64_t)counts.aggregating == golden_int(result, "Aggregating") &&
                      (int64_t)counts.groups == golden_int(result, "Groups") &&
                      counts.latency_ns == golden_int(result, "Latency"),
                  "the counts");
}

static void op_history(void)
{
    json_t *result = json_object_get(t.line, "result"), *one;
    cq_day days[3];
    size_t i;

    assert_int_equal(t.broker->inspect->history(t.broker, golden_str(t.input, "queue"), 3,
                                                t.now_ns, days, NULL),
                     CRONQ_OK);
    json_array_foreach(result, i, one)
        golden_expect((int64_t)days[i].processed == golden_int(one, "Processed") &&
                          (int64_t)days[i].failed == golden_int(one, "Failed"),
                      "a day");
}

static void op_groups(void)
{
    json_t *result = json_object_get(t.line, "result");
    cq_group_count *found;
    size_t count;

    assert_int_equal(t.broker->inspect->groups(t.broker, golden_str(t.input, "queue"),
                                               100, &t.arena, &found, &count, NULL),
                     CRONQ_OK);
    golden_expect(count == json_array_size(result), "the number of groups");
}

/* ---- groups ---- */

static int64_t optional_s(const char *name)
{
    return golden_seconds(golden_text(t.input, name));
}

/* The id of the set is recorded where one was made. */
static void op_check_group(void)
{
    const char *id = json_string_value(json_object_get(t.line, "result"));
    cq_set set = { golden_str(t.input, "queue"), golden_str(t.input, "group"),
                   cq_str_of(*id ? id : "00000000-0000-4000-8000-0000000000ff") };
    cq_group_rules rules = { optional_s("grace"), optional_s("max_delay"),
                             (size_t)golden_int(t.input, "max_size") };
    cq_str *due;
    size_t moved, count, n = 0;

    assert_int_equal(t.broker->ops->due_groups(t.broker, set.queue, &rules, t.now_ns, 9,
                                               &t.arena, &due, &count, NULL),
                     CRONQ_OK);
    for (size_t i = 0; i < count; i++)
        n += cq_str_eq(due[i], set.group);
    golden_expect(n == (*id != '\0'), "whether the group is due");
    assert_int_equal(
        t.broker->ops->take_group(t.broker, &set, &rules, t.now_ns, &moved, NULL),
        CRONQ_OK);
    golden_expect((moved > 0) == (*id != '\0'), "whether a set was made");
}

static cq_set set_of(void)
{
    return (cq_set){ golden_str(t.input, "queue"), golden_str(t.input, "group"),
                     golden_str(t.input, "set") };
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
    golden_expect(count == json_array_size(ids), "the size of the set");
    json_array_foreach(ids, i, id) golden_expect(
        cq_str_eq(found[i].id, cq_str_of(json_string_value(id))), "a task of it");
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

    assert_int_equal(t.broker->ops->reclaim_sets(t.broker, golden_str(t.input, "queue"),
                                                 t.now_ns, 10, &reclaimed, NULL),
                     CRONQ_OK);
}

const golden_operation golden_inspector_operations[] = {
    { "AggregationCheck", op_check_group },
    { "ArchiveAllAggregatingTasks", op_act_all },
    { "ArchiveAllPendingTasks", op_act_all },
    { "ArchiveAllScheduledTasks", op_act_all },
    { "ArchiveTask", op_archive_task },
    { "CurrentStats", op_counts },
    { "DeleteAggregationSet", op_delete_set },
    { "DeleteAllAggregatingTasks", op_act_all },
    { "DeleteAllArchivedTasks", op_act_all },
    { "DeleteAllPendingTasks", op_act_all },
    { "DeleteAllScheduledTasks", op_act_all },
    { "DeleteTask", op_delete_task },
    { "GetTaskInfo", op_task_info },
    { "GroupStats", op_groups },
    { "HistoricalStats", op_history },
    { "ListActive", op_list },
    { "ListAggregating", op_list },
    { "ListArchived", op_list },
    { "ListCompleted", op_list },
    { "ListGroups", op_groups },
    { "ListPending", op_list },
    { "ListRetry", op_list },
    { "ListScheduled", op_list },
    { "ReadAggregationSet", op_read_set },
    { "ReclaimStaleAggregationSets", op_reclaim },
    { "RemoveQueue", op_remove_queue },
    { "RunAllAggregatingTasks", op_act_all },
    { "RunAllArchivedTasks", op_act_all },
    { "RunAllScheduledTasks", op_act_all },
    { "RunTask", op_run_task },
    { "UpdateTaskPayload", op_update_payload },
    { NULL, NULL },
};
