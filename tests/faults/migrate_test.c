/* SPDX-License-Identifier: MIT */
/* faults/migrate_test.c - queues that are moved between stores: all is as it was, however
 * often the mover is killed. */
#include <cronq/inspector.h>

#include "base/clock.h"
#include "broker/broker.h"
#include "codec/message.h"
#include "support/redis_server.h"
#include "support/scratch.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define QUEUE CQ_STR("q")
#define LOCK  CQ_STR("asynq:{q}:unique:t:1")

enum { KINDS = 7, MANY = 1200, TEXT_ROOM = 1 << 20 };

typedef struct world {
    char folder[SCRATCH_ROOM], uri[192];
    redis_server *redis;
} world;

static void open_world(world *w)
{
    snprintf(w->uri, sizeof w->uri, "sqlite:%s/cronq.db", scratch_new(w->folder));
    w->redis = redis_server_start(NULL);
}

static void close_world(world *w)
{
    redis_server_stop(w->redis);
    scratch_remove(w->folder);
}

static cq_broker *open_broker(const char *uri)
{
    cq_broker_options options = { .uri = uri };
    cronq_error err = { 0 };
    cq_broker *broker;

    if (cq_broker_open(&options, &broker, &err) || broker->ops->sync_clock(broker, &err))
        fail_msg("%s", err.text);
    return broker;
}

/* ---- a queue with tasks in every state ---- */

static cq_implant task_of(cq_arena *arena, int number, int64_t now_s)
{
    static const cronq_state states[KINDS] = {
        CRONQ_STATE_PENDING,   CRONQ_STATE_SCHEDULED, CRONQ_STATE_RETRY,
        CRONQ_STATE_ARCHIVED,  CRONQ_STATE_COMPLETED, CRONQ_STATE_AGGREGATING,
        CRONQ_STATE_SCHEDULED,
    };
    int kind = number % KINDS;
    char id[32];
    cq_buf buf;
    cq_implant item = { .record = { .state = states[kind] } };
    cq_message message = { .type = CQ_STR("t"),
                           .payload = { "\0x", 2 },
                           .queue = QUEUE,
                           .max_retry = 25,
                           .retried = kind == 2 ? 3 : 0,
                           .error_msg = kind == 2 ? CQ_STR("it broke") : CQ_STR(""),
                           .retention_s = kind == 4 ? 900 : 0 };

    snprintf(id, sizeof id, "task-%05d", number);
    item.record.id = (cq_str){ cq_arena_dup(arena, id, strlen(id)), strlen(id) };
    item.record.at_ms = kind ? (now_s + 5000 + number) * CQ_MS_PER_S : 0;
    item.record.pending_since_ns = kind ? 0 : now_s * CQ_NS_PER_S + number;
    if (kind >= 5)
        item.record.group = kind == 5 ? CQ_STR("g1") : CQ_STR("g2");
    if (kind == 2)
        item.record.failures = (cronq_bytes)CRONQ_LIT("2 2 h it broke\n1 1 h x");
    if (kind == 3) /* one that was quarantined, with what it had */
        item.record.raw = (cronq_bytes){ "\xff\0\x01", number % 2 ? 3 : 0 };
    if (kind == 4)
        item.record.result = (cronq_bytes){ "", number % 2 ? 0 : 1 };
    if (number == 1) {
        item.unique_key = LOCK;
        item.lock_left_s = 3600;
    }
    message.id = item.record.id;
    message.group = item.record.group;
    message.unique_key = item.unique_key;
    cq_buf_init(&buf, 4096);
    assert_int_equal(cq_message_encode(&message, &buf, NULL), CRONQ_OK);
    item.record.message =
        (cronq_bytes){ cq_arena_dup(arena, buf.data, buf.len), buf.len };
    cq_buf_release(&buf);
    return item;
}

static void fill(cq_broker *broker, int count)
{
    int64_t now_s = broker->ops->now_ns(broker) / CQ_NS_PER_S;
    cronq_error err = { 0 };
    cq_arena arena;

    cq_arena_init(&arena, (size_t)1 << 28);
    for (int i = 0; i < count; i++) {
        cq_implant item = task_of(&arena, i, now_s);

        if (broker->inspect->implant(broker, QUEUE, &item, 1, &err))
            fail_msg("%s", err.text);
        assert_int_equal(item.status, CRONQ_OK);
    }
    cq_arena_release(&arena);
}

static void append_hex(cq_buf *out, cronq_bytes bytes)
{
    for (size_t i = 0; i < bytes.len; i++)
        cq_buf_printf(out, "%02x", ((const uint8_t *)bytes.data)[i]);
}

static void append_records(cq_broker *broker, cronq_state state, cq_str group,
                           cq_buf *out)
{
    cq_listing listing = { QUEUE, state, group, 0, CQ_PAGE_LIMIT, true };
    cronq_error err = { 0 };
    cq_record *found;
    size_t count;

    do {
        cq_arena arena;

        cq_arena_init(&arena, (size_t)1 << 28);
        if (broker->inspect->list(broker, &listing, &arena, &found, &count, &err))
            fail_msg("%s", err.text);
        for (size_t i = 0; i < count; i++) {
            cq_buf_printf(out, "%.*s %d %lld %lld %.*s %d:%zu ", CQ_FMT(found[i].id),
                          (int)found[i].state, (long long)found[i].at_ms,
                          (long long)found[i].pending_since_ns, CQ_FMT(found[i].group),
                          found[i].result.data != NULL, found[i].result.len);
            cq_buf_printf(out, "%.*s ", (int)found[i].failures.len,
                          found[i].failures.data ? (const char *)found[i].failures.data
                                                 : "");
            append_hex(out, found[i].message);
            cq_buf_append_text(out, found[i].raw.data ? " raw " : " ");
            append_hex(out, found[i].raw);
            cq_buf_append_char(out, '\n');
        }
        listing.offset += count;
        cq_arena_release(&arena);
    } while (count == CQ_PAGE_LIMIT);
}

/* All that is known of a queue, as a text. */
static void describe(cq_broker *broker, cq_buf *out)
{
    static const cronq_state states[] = { CRONQ_STATE_PENDING, CRONQ_STATE_SCHEDULED,
                                          CRONQ_STATE_RETRY, CRONQ_STATE_ARCHIVED,
                                          CRONQ_STATE_COMPLETED };
    cronq_error err = { 0 };
    int64_t left_s = -1;

    cq_buf_init(out, TEXT_ROOM);
    for (size_t i = 0; i < sizeof states / sizeof states[0]; i++)
        append_records(broker, states[i], CQ_STR(""), out);
    append_records(broker, CRONQ_STATE_AGGREGATING, CQ_STR("g1"), out);
    if (broker->inspect->lock_left(broker, LOCK, CQ_STR("task-00001"),
                                   broker->ops->now_ns(broker), &left_s, &err))
        fail_msg("%s", err.text);
    cq_buf_printf(out, "lock %d\n", left_s > 3500 && left_s <= 3601);
    assert_int_equal(out->status, CRONQ_OK);
}

static uint64_t count_all(cq_broker *broker)
{
    cq_queue_counts c = { 0 };

    assert_int_equal(
        broker->inspect->counts(broker, QUEUE, broker->ops->now_ns(broker), &c, NULL),
        CRONQ_OK);
    return c.pending + c.active + c.scheduled + c.retry + c.archived + c.completed +
           c.aggregating;
}

static cronq_status move(const char *from, const char *to, cronq_error *err)
{
    const char *queue = "q";

    return cronq_migrate(from, to, &queue, 1, NULL, err);
}

static void must_move(const char *from, const char *to)
{
    cronq_error err = { 0 };

    if (move(from, to, &err))
        fail_msg("%s", err.text);
}

static void must_equal(const cq_buf *before, cq_buf *after)
{
    if (before->len != after->len || memcmp(before->data, after->data, before->len) != 0)
        fail_msg("before:\n%.*s\nafter:\n%.*s", (int)before->len, before->data,
                 (int)after->len, after->data);
    cq_buf_release(after);
}

/* ---- cases ---- */

static void a_round_trip_leaves_every_task_as_it_was(void **state)
{
    cq_broker *redis, *file;
    cq_buf before, after;
    const char *uri;
    world w;

    (void)state;
    open_world(&w);
    uri = redis_server_uri(w.redis);
    redis = open_broker(uri);
    file = open_broker(w.uri);
    fill(redis, 70);
    describe(redis, &before);
    must_move(uri, w.uri);
    assert_int_equal(count_all(redis), 0);
    assert_int_equal(redis_server_int(w.redis, "EXISTS asynq:{q}:unique:t:1"), 0);
    describe(file, &after);
    assert_non_null(strstr(cq_buf_text(&after), " raw ff0001\n"));
    must_equal(&before, &after);
    must_move(w.uri, uri);
    assert_int_equal(count_all(file), 0);
    describe(redis, &after);
    must_equal(&before, &after);
    cq_buf_release(&before);
    file->ops->free(file);
    redis->ops->free(redis);
    close_world(&w);
}

static void die(const char *queue, uint64_t moved, uint64_t left, void *arg)
{
    (void)queue;
    (void)moved;
    (void)left;
    (void)arg;
    raise(SIGKILL);
}

/* Moves until it is killed: by itself after a page, or at any point. */
static void move_and_die(const char *from, const char *to, bool by_itself)
{
    const char *queue = "q";

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    _exit(cronq_migrate(from, to, &queue, 1,
                        CRONQ_MIGRATE_OPTIONS(.on_progress = by_itself ? die : NULL),
                        NULL)
              ? 1
              : 0);
}

static void a_mover_that_is_killed_is_resumed(void **state)
{
    cq_broker *redis, *file;
    cq_buf before, after;
    const char *uri;
    int killed = 0;
    world w;

    (void)state;
    open_world(&w);
    uri = redis_server_uri(w.redis);
    redis = open_broker(uri);
    file = open_broker(w.uri);
    fill(redis, MANY);
    describe(redis, &before);
    for (int round = 0; round < 12; round++) {
        pid_t pid = fork();
        int code;

        uint64_t left;

        if (pid == 0)
            move_and_die(uri, w.uri, round % 4 == 3);
        if (round % 4 != 3) {
            usleep((useconds_t)(2000 + 2000 * round));
            kill(pid, SIGKILL);
        }
        waitpid(pid, &code, 0);
        left = count_all(redis);
        killed += WIFSIGNALED(code) && left > 0 && left < MANY;
    }
    print_message("%d killed in the middle, %llu were left\n", killed,
                  (unsigned long long)count_all(redis));
    assert_true(killed > 0);
    must_move(uri, w.uri);
    assert_int_equal(count_all(redis), 0);
    assert_int_equal(count_all(file), MANY);
    describe(file, &after);
    must_equal(&before, &after);
    cq_buf_release(&before);
    file->ops->free(file);
    redis->ops->free(redis);
    close_world(&w);
}

/* Take one task, as a worker that is alive. */
static void take_one(cq_broker *broker)
{
    cq_str queue = QUEUE;
    cq_want want = { 0, 1 };
    cq_intake *intake;
    cq_arena arena;
    cq_exchange x = { .now_ns = broker->ops->now_ns(broker),
                      .fence = 7,
                      .wants = &want,
                      .want_count = 1,
                      .budget = 1,
                      .arena = &arena };

    cq_arena_init(&arena, 1 << 20);
    assert_int_equal(broker->ops->intake_open(broker, &queue, 1, &intake, NULL), 0);
    assert_int_equal(broker->ops->exchange_send(intake, &x, NULL), 0);
    assert_int_equal(broker->ops->exchange_recv(intake, &x, NULL), 0);
    assert_int_equal(x.delivery_count, 1);
    broker->ops->intake_close(intake);
    cq_arena_release(&arena);
}

static void a_queue_that_runs_is_not_moved(void **state)
{
    cronq_error err = { 0 };
    cq_broker *file;
    const char *uri;
    world w;

    (void)state;
    open_world(&w);
    uri = redis_server_uri(w.redis);
    file = open_broker(w.uri);
    fill(file, 14);
    take_one(file);
    assert_int_equal(move(w.uri, uri, &err), CRONQ_ESTATE);
    assert_non_null(strstr(err.text, "1 active tasks and is not paused"));
    assert_int_equal(count_all(file), 14);
    assert_int_equal(
        file->inspect->pause(file, QUEUE, true, file->ops->now_ns(file), &err), 0);
    assert_int_equal(move(w.uri, uri, &err), CRONQ_ESTATE);
    assert_non_null(strstr(err.text, "still has 1 active tasks"));
    assert_int_equal(count_all(file), 1);
    assert_int_equal(redis_server_int(w.redis, "EXISTS asynq:{q}:paused"), 1);
    file->ops->free(file);
    close_world(&w);
}

static void the_same_store_by_two_names_is_refused(void **state)
{
    char other[256];
    cronq_error err = { 0 };
    cq_broker *redis, *file;
    world w;

    (void)state;
    open_world(&w);
    redis = open_broker(redis_server_uri(w.redis));
    file = open_broker(w.uri);
    fill(redis, 7);
    fill(file, 7);
    snprintf(other, sizeof other, "unix://%s", redis_server_socket(w.redis));
    assert_int_equal(move(redis_server_uri(w.redis), other, &err), CRONQ_EINVAL);
    assert_non_null(strstr(err.text, "same store"));
    snprintf(other, sizeof other, "%s?synchronous=normal", w.uri);
    assert_int_equal(move(w.uri, other, &err), CRONQ_EINVAL);
    assert_int_equal(count_all(redis), 7);
    assert_int_equal(count_all(file), 7);
    redis->ops->free(redis);
    file->ops->free(file);
    close_world(&w);
}

static void a_task_whose_id_is_taken_stays(void **state)
{
    cronq_error err = { 0 };
    cq_broker *redis, *file;
    cq_push other = { .kind = CQ_PUSH_NOW,
                      .queue = QUEUE,
                      .id = CQ_STR("task-00000"),
                      .message = { "x", 1 } };
    world w;

    (void)state;
    open_world(&w);
    redis = open_broker(redis_server_uri(w.redis));
    file = open_broker(w.uri);
    fill(redis, 14);
    assert_int_equal(file->ops->push(file, &other, 1, file->ops->now_ns(file), &err), 0);
    assert_int_equal(move(redis_server_uri(w.redis), w.uri, &err), CRONQ_EEXIST);
    assert_int_equal(count_all(redis), 1);
    assert_int_equal(count_all(file), 14);
    redis->ops->free(redis);
    file->ops->free(file);
    close_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_round_trip_leaves_every_task_as_it_was),
        cmocka_unit_test(a_mover_that_is_killed_is_resumed),
        cmocka_unit_test(a_queue_that_runs_is_not_moved),
        cmocka_unit_test(the_same_store_by_two_names_is_refused),
        cmocka_unit_test(a_task_whose_id_is_taken_stays),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
