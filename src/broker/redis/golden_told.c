/* SPDX-License-Identifier: MIT */
/* broker/redis/golden_told.c - what servers and schedulers had told in the recording, as
 * the inspector lists it. */
#include "broker/redis/golden_run.h"

#include "base/rfc3339.h"
#include "codec/info.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

typedef cronq_status tell_fn(cq_broker *, int64_t now_ns, cq_arena *arena,
                             cronq_bytes **out, size_t *count, cronq_error *err);

static json_t *result(void)
{
    return json_object_get(t.line, "result");
}

/* The recorded ones are as many; null is none. */
static cronq_bytes *told(tell_fn *tell)
{
    cronq_bytes *found;
    size_t count;

    assert_int_equal(tell(t.broker, t.now_ns, &t.arena, &found, &count, NULL), CRONQ_OK);
    golden_expect(count == json_array_size(result()), "how many were told of");
    return found;
}

static void expect_text(const json_t *object, const char *name, cq_str ours)
{
    golden_expect(cq_str_eq(golden_str(object, name), ours), name);
}

static void expect_time(const json_t *object, const char *name, cq_timestamp ours)
{
    int64_t seconds;
    int32_t ns;

    assert_int_equal(cq_rfc3339_parse_s(golden_str(object, name), &seconds, &ns, NULL),
                     CRONQ_OK);
    golden_expect(seconds == ours.seconds && ns == ours.nanos, name);
}

static void op_servers(void)
{
    cronq_bytes *found = told(t.broker->inspect->servers);
    json_t *server;
    size_t i;

    json_array_foreach(result(), i, server)
    {
        json_t *queues = json_object_get(server, "Queues");
        cq_server_info info;

        assert_int_equal(cq_server_info_decode(found[i], &t.arena, &info, NULL),
                         CRONQ_OK);
        expect_text(server, "Host", info.host);
        expect_text(server, "ServerID", info.server_id);
        expect_text(server, "Status", info.status);
        expect_time(server, "Started", info.start_time);
        golden_expect(golden_int(server, "PID") == info.pid, "PID");
        golden_expect(golden_int(server, "Concurrency") == info.concurrency,
                      "Concurrency");
        golden_expect(golden_int(server, "ActiveWorkerCount") == info.active_worker_count,
                      "ActiveWorkerCount");
        golden_expect(json_object_size(queues) == info.queue_count, "Queues");
    }
}

static void op_workers(void)
{
    cronq_bytes *found = told(t.broker->inspect->workers);
    json_t *worker;
    size_t i;

    json_array_foreach(result(), i, worker)
    {
        cq_worker_info info;

        assert_int_equal(cq_worker_info_decode(found[i], &t.arena, &info, NULL),
                         CRONQ_OK);
        expect_text(worker, "ID", info.task_id);
    }
}

static void op_entries(void)
{
    cronq_bytes *found = told(t.broker->inspect->entries);
    json_t *entry;
    size_t i;

    json_array_foreach(result(), i, entry)
    {
        json_t *options = json_object_get(entry, "Opts"), *option;
        cq_entry_info info;
        size_t o;

        assert_int_equal(cq_entry_info_decode(found[i], &t.arena, &info, NULL), CRONQ_OK);
        expect_text(entry, "ID", info.id);
        expect_text(entry, "Spec", info.spec);
        expect_text(entry, "Type", info.task_type);
        expect_time(entry, "Next", info.next);
        expect_time(entry, "Prev", info.previous);
        golden_expect(json_array_size(options) == info.option_count, "Opts");
        json_array_foreach(options, o, option) golden_expect(
            cq_str_eq(cq_str_of(json_string_value(option)), info.options[o]), "Opts");
    }
}

static void op_events(void)
{
    cronq_bytes *found;
    size_t count, i;
    json_t *event;

    assert_int_equal(t.broker->inspect->events(t.broker, golden_str(t.input, "entry"), 0,
                                               30, &t.arena, &found, &count, NULL),
                     CRONQ_OK);
    golden_expect(count == json_array_size(result()), "how many pushes");
    json_array_foreach(result(), i, event)
    {
        cq_enqueue_event info;

        assert_int_equal(cq_enqueue_event_decode(found[i], &t.arena, &info, NULL),
                         CRONQ_OK);
        expect_text(event, "TaskID", info.task_id);
        expect_time(event, "EnqueuedAt", info.enqueued_at);
    }
}

const golden_operation golden_told_operations[] = {
    { "ListServers", op_servers },
    { "ListWorkers", op_workers },
    { "ListSchedulerEntries", op_entries },
    { "ListSchedulerEnqueueEvents", op_events },
    { NULL, NULL },
};
